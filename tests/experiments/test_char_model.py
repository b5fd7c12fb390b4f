"""The character model: training beside a loop written by hand, scoring, drawing text, and the twin in PyTorch."""

import importlib.util
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.command import Failed
from experiments import char_model
from experiments.char_model import bits_per_character, main, placed
from experiments.char_model_jax import JaxSide, generate, init
from jaxrnn.data import Alphabet, Segments

HAS_TORCH = importlib.util.find_spec("torch") is not None
FILES = {"char_model.png", "char_model.svg", "results.json", "table.md"}
RATE, CLIP, HIDDEN, CHARACTERS, BATCH, WINDOW = 0.1, 0.2, 3, 5, 2, 3


@pytest.fixture(scope="module")
def start():
    tokens = np.random.default_rng(0).integers(0, CHARACTERS, 4 * BATCH * WINDOW + 1).astype(np.int32)
    source = Segments(tokens, BATCH, WINDOW)
    return source, init(jax.random.key(0), CHARACTERS, HIDDEN)


def by_hand(source, params, updates):
    """Losses and parameters of LSTM, truncated backpropagation, clipping and Adam, each written out."""

    def loss(params, carry, segment):
        (h, c), (cell, readout) = carry, (params["cell"], params["readout"])
        nats = 0.0
        for x, targets in zip(segment.inputs, segment.targets, strict=True):
            z = cell.input[x] + h @ cell.recurrent + cell.bias
            i, f, g, o = jnp.split(z, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            logits = h @ readout["weight"] + readout["bias"]
            nats += -jax.nn.log_softmax(logits)[jnp.arange(BATCH), targets].sum()
        return nats / (BATCH * WINDOW), (h, c)

    gradient_of = jax.jit(jax.value_and_grad(loss, has_aux=True))
    carry = (jnp.zeros((BATCH, HIDDEN), jnp.float32),) * 2
    first = second = jax.tree.map(jnp.zeros_like, params)
    found, norms = [], []
    for n in range(1, updates + 1):
        (value, carry), g = gradient_of(params, carry, source.at(n - 1))
        norms.append(float(jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(g)))))
        g = jax.tree.map(lambda leaf: leaf * min(1.0, CLIP / norms[-1]), g)
        first = jax.tree.map(lambda m, leaf: 0.9 * m + 0.1 * leaf, first, g)
        second = jax.tree.map(lambda v, leaf: 0.999 * v + 0.001 * leaf**2, second, g)
        direction = jax.tree.map(
            lambda m, v, n=n: m / (1 - 0.9**n) / (jnp.sqrt(v / (1 - 0.999**n)) + 1e-8), first, second
        )
        params = jax.tree.map(lambda p, d: p - RATE * d, params, direction)
        found.append(float(value))
    return found, params, norms


def test_two_updates_equal_a_loop_written_by_hand(start):
    source, params = start
    expected, trained, norms = by_hand(source, params, 2)
    assert min(norms) > CLIP  # so that both updates are clipped
    side = JaxSide(params, RATE, CLIP, BATCH, lambda position: placed(source, position))
    np.testing.assert_allclose(side.advance(2), expected, rtol=1e-6)
    for own, other in zip(jax.tree.leaves(side.state.params), jax.tree.leaves(trained), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-6)


def test_the_carry_begins_anew_with_each_epoch(start):
    source, params = start
    side = JaxSide(params, RATE, CLIP, BATCH, lambda position: placed(source, position))
    carry, first = side.score(None, placed(source, 0))
    _, second = side.score(carry, placed(source, 0))  # the first segment, whatever carry stands before it
    assert first == second
    later = source.at(0), np.bool_(False)
    assert abs(side.score(carry, later)[1] - first) > 1e-4


def test_every_character_but_the_first_is_scored_once():
    class Counting:
        def score(self, carry, batch):
            segment, begins = batch
            assert bool(begins) == (carry is None)
            return "carry", segment.targets[segment.mask].mean()

    tokens = np.random.default_rng(1).integers(0, 9, 50).astype(np.int32)
    bits = bits_per_character(Counting(), Segments(tokens, batch=3, window=4))
    np.testing.assert_allclose(bits, tokens[1:].mean() / math.log(2), rtol=1e-12)


def test_text_follows_the_model():
    alphabet = Alphabet.of("abc")
    params = init(jax.random.key(0), alphabet.size, 4)
    cell = params["cell"]._replace(input=jnp.zeros((3, 16)).at[:, 8:12].set(9 * jnp.array([[1.0], [-1.0], [0.0]])))
    cell = cell._replace(recurrent=0 * cell.recurrent, bias=jnp.zeros(16).at[4:8].set(-99).astype(jnp.float32))
    weight = jnp.full((4, 3), 0.0).at[:, 1].set(99).at[:, 0].set(-99)
    always = {"cell": cell, "readout": {"weight": weight, "bias": params["readout"]["bias"]}}
    always = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), always)
    assert generate(always, alphabet, jax.random.key(3), 6) == "bababa"  # a is answered by b, b by a


def test_smoke_writes_all_files(tmp_path, capsys):
    twin = [] if HAS_TORCH else ["--no-twin"]
    assert main(["--smoke", "--out", str(tmp_path), *twin]) == 0
    assert {path.name for path in tmp_path.iterdir()} == FILES
    results = json.loads((tmp_path / "results.json").read_text())
    part = results["parts"]["seed 0"]
    bits = part["jaxrnn"]["validation_bits"]
    assert len(bits) == 3 and bits[-1] < bits[0]
    assert len(part["jaxrnn"]["updates_per_second"]) == 4 and min(part["jaxrnn"]["updates_per_second"]) > 0
    assert set(part["sample"]) <= set(char_model.SMOKE_TEXT) and len(part["sample"]) == 500
    assert f"{bits[-1]:.4f}" in (tmp_path / "table.md").read_text()


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
def test_the_twin_trains_the_same_model(start):
    source, params = start
    twin = importlib.import_module("experiments.char_model_torch")
    side = twin.TorchSide(params, RATE, CLIP, lambda position: placed(source, position), threads=1)
    expected, _, _ = by_hand(source, params, 4)
    np.testing.assert_allclose(side.advance(4), expected, rtol=1e-5)


def test_models_that_differ_are_not_compared():
    same = {"jaxrnn": np.array([4.0, 3.9]), "PyTorch": np.array([4.0, 3.9001])}
    np.testing.assert_allclose(char_model.check_agreement(same), [0, 0.0001 / 3.9001])
    for wrong in ([4.001, 3.9], [4.0, 3.95], [4.0, math.nan]):
        with pytest.raises(Failed, match="do not train the same model"):
            char_model.check_agreement(same | {"PyTorch": np.array(wrong)})


def test_bad_input_writes_nothing(tmp_path, capsys, monkeypatch):
    new = ["--out", str(tmp_path / "new")]
    monkeypatch.setitem(char_model.sys.modules, "torch", None)
    assert main(["--smoke", *new]) == 2
    assert "pip install torch, or leave the comparison out with --no-twin" in capsys.readouterr().err
    assert main(["--no-twin", "--every", "120", *new]) == 2
    assert "--every: must be a multiple of --block, 50, got 120" in capsys.readouterr().err
    assert main(["--no-twin", "--data", str(tmp_path), "--seeds", "0", *new]) == 2
    assert "--seeds: must be at least 1, got 0" in capsys.readouterr().err
    smoke = ["--no-twin", "--every", "2", "--updates", "2", "--block", "2"]
    monkeypatch.setattr(char_model, "read", lambda settings: 9 * char_model.SMOKE_TEXT)
    assert main([*smoke, "--batch", "100000", *new]) == 2
    assert "--batch, --window: the text of 76,500 characters is too short. Segments:" in capsys.readouterr().err
    assert main([*smoke, "--rate", "inf", *new]) == 2
    assert "--rate: must be a finite number above 0, got inf" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_run_that_diverges_ends_in_one_line(tmp_path, capsys):
    assert main(["--smoke", "--no-twin", "--rate", "1e38", "--out", str(tmp_path)]) == 1
    assert "error: seed 0 with --rate 1e+38: run: 10 updates in a row were not finite" in capsys.readouterr().err
