"""Sequential MNIST: the cells in their classifiers, accuracy beside a count by hand, and a run on made digits."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import sequential_mnist
from experiments.made_digits import digits
from experiments.sequential_mnist import RATES, Reader, Settings, main, model_of
from jaxrnn.data import Shuffled, many_to_one, mnist, pixel_sequences
from tests.data.conftest import directory as directory

FILES = {"checkpoints", "logs", "results.json", "sequential_mnist.png", "sequential_mnist.svg", "table.md"}
SMALL = Settings(hidden_size=3, stride=7, updates=2)


def make(images, labels):
    return many_to_one(pixel_sequences(images), labels)


@pytest.mark.parametrize("name", RATES)
def test_every_cell_classifies_and_its_gradients_are_those_of_the_loss(name):
    reader = Reader(SMALL, name)
    images, labels = digits(0, 5)
    batch = make(images[:, ::7, ::7], labels)
    graph, _ = nnx.split(model_of(SMALL, name), nnx.Param)
    model = nnx.merge(graph, reader.params)
    logits = model(batch.inputs)
    assert logits.shape == (5, 10) and len(batch.inputs) == 16
    found = reader.gradients(reader.params, batch)
    assert len(found) == 16
    # dL/dh_T of a cell that puts out its state is the derivative by the last output.
    if name in ("GRU", "IRNN"):
        xs = jnp.asarray(batch.inputs)
        _, ys = model.rnn(xs)

        def loss(last):
            z = model.head(last)
            return -jnp.sum(jax.nn.log_softmax(z)[jnp.arange(5), batch.targets])

        norms = np.linalg.norm(jax.grad(loss)(ys[-1]), axis=-1)
        np.testing.assert_allclose(found[-1], np.log10(np.median(norms)), atol=1e-4)


def test_accuracy_and_loss_are_over_each_image_once():
    reader = Reader(SMALL, "GRU")
    images, labels = digits(1, 13)
    images = images[:, ::7, ::7]
    graph, _ = nnx.split(model_of(SMALL, "GRU"), nnx.Param)
    logits = np.asarray(nnx.merge(graph, reader.params)(make(images, labels).inputs), np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    found = reader.score(reader.params, Shuffled((images, labels), make, 5))  # the last batch is filled up with two
    np.testing.assert_allclose(found["accuracy"], np.mean(logits.argmax(axis=1) == labels), rtol=1e-6)
    np.testing.assert_allclose(found["loss"], -logs[np.arange(13), labels].mean(), rtol=1e-5)


def test_both_orders_read_the_same_pixels(monkeypatch):
    seen = {}

    def train(settings, reader, digits, order, fitting):
        seen[order] = digits["test"]

    monkeypatch.setattr(sequential_mnist, "train", train)
    data = {split: digits(0, 4) for split in sequential_mnist.SPLITS}
    for run in sequential_mnist.runs(Settings(cells=("GRU",), stride=4, limit=3), data).values():
        run(None)
    assert set(seen) == {"in order", "permuted"}
    for images, labels in seen.values():
        np.testing.assert_array_equal(images, data["test"].images[:3, ::4, ::4])
        np.testing.assert_array_equal(labels, data["test"].labels[:3])


def test_made_digits_come_as_the_real_ones(directory):
    real, invented = mnist("validation", directory), digits(0, 20)
    for own, other in zip(invented, real, strict=True):
        assert own.dtype == other.dtype and own.shape[1:] == other.shape[1:]
    assert set(digits(0, 300).labels) == set(range(10))


@pytest.mark.smoke
def test_smoke_writes_all_files(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "empty"))
    assert main(["--smoke", "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["data"] == "made" and results["finished"] and len(results["parts"]) == 2
    for part in results["parts"].values():
        assert part["history"]["training_loss"][-1] < part["history"]["training_loss"][0]
        assert part["tested"] == 500 and len(part["gradients"]["after"]) == 49
    found = sequential_mnist.APPLICATION.rows(results)
    assert found[0].published == "96.2, Bai et al., 2018"
    other = results | {"parts": {"LRU, permuted": results["parts"]["GRU, permuted"]}}
    assert sequential_mnist.APPLICATION.rows(other)[0].published == "none"
    here = 100 * results["parts"]["GRU, in order"]["test"]["accuracy"]
    assert (found[0].here, found[0].gap) == (f"{here:.1f}", f"{here - 96.2:+.1f}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch", "0"], "--batch: must be at least 1, got 0"),
        (["--stride", "15"], "--stride: must be at most 14, got 15"),
        (["--rate", "inf"], "--rate: must be a finite number above 0, got inf"),
        (["--limit", "0"], "--limit: must be at least 1, got 0"),
        (["--cells", "GRU", "GRU"], "--cells: must be one or more, each of them once"),
    ],
)
def test_bad_input_writes_nothing(arguments, words, tmp_path, capsys):
    assert main([*arguments, "--data", str(tmp_path), "--out", str(tmp_path / "new")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_damaged_file_is_told(tmp_path, capsys):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"cut short")
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "new")]) == 2
    assert "must have the SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
