"""Parity: its targets, its window, what cannot count, and the files of a smoke run."""

import json

import jax
import numpy as np
import pytest
from flax import nnx

from experiments import parity
from experiments.parity import Perceptron, Settings, main, models, sample


def test_the_target_of_each_step_is_the_parity_of_all_signs_up_to_it():
    batch = sample(Settings(), jax.random.key(3), 11, 7)
    signs = np.asarray(batch.inputs)[..., 0]
    for row in range(7):
        ones = 0
        for step in range(11):
            ones += signs[step, row] == 1
            assert int(batch.targets[step, row]) == ones % 2
    assert batch.mask.all() and set(np.unique(signs)) == {-1.0, 1.0}


def test_no_test_begins_another_or_the_validation(monkeypatch):
    seen = []

    def noted(settings, key, length, batch):
        seen.append((np.asarray(jax.random.key_data(key)).tolist(), length))
        return sample(settings, key, length, batch)

    class Fit:
        """Evaluates the start."""

        def fit(self, trainer, state, *rest, evaluate, **how):
            evaluate(state.params)
            return state.params, {}

    small = Settings(hidden_size=2, length=4, tested=(3, 4, 5), samples=8, seeds=1)
    monkeypatch.setattr(parity, "sample", noted)
    with jax.disable_jit():  # so that keys are seen
        parity.train(small, models(small)["Elman"], Fit())
    keys = [str(key) for key, _ in seen]
    assert [length for _, length in seen] == [4, 3, 4, 5] and len(set(keys)) == 4


def test_the_perceptron_sees_its_window_alone():
    model = Perceptron(3, 8, nnx.Rngs(0))
    xs = np.random.default_rng(0).normal(size=(9, 2, 1)).astype(np.float32)
    logits = model(xs)
    assert logits.shape == (9, 2, 2)
    changed = model(np.concatenate([xs[:4] + 1, xs[4:]]))
    np.testing.assert_array_equal(logits[6:], changed[6:])
    assert np.abs(np.asarray(logits - changed))[:6].max(axis=(1, 2)).min() > 1e-3
    short = model(xs[:2])  # zeros before the first step, whatever comes after
    np.testing.assert_allclose(short, logits[:2], rtol=1e-6)


def test_every_network_tells_two_classes_at_each_step():
    small = Settings(hidden_size=4, length=6)
    for make in models(small).values():
        logits = make(rngs=nnx.Rngs(1))(np.ones((5, 3, 1), np.float32))
        assert logits.shape == (5, 3, 2) and logits.dtype == np.float32


@pytest.mark.smoke
def test_smoke_writes_all_files(tmp_path):
    assert main(["--smoke", "--out", str(tmp_path)]) == 0
    assert {"results.json", "table.md", "parity.png", "parity.svg"} <= {path.name for path in tmp_path.iterdir()}
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["data"] == "drawn" and results["finished"]
    assert list(results["parts"]) == ["LSTM", "window MLP"]
    for part in results["parts"].values():
        (accuracy,), (history,) = part["accuracy"], part["history"]
        assert len(accuracy) == 2 and all(0 <= value <= 1 for value in accuracy)
        assert history["training_loss"][-1] < history["training_loss"][0]
    table = (tmp_path / "table.md").read_text()
    assert "guessing gives 0.5" in table and f"| LSTM | {results['parts']['LSTM']['accuracy'][0][0]:.3f} |" in table
    assert len(parity.APPLICATION.rows(results)) == len(results["parts"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--length", "1"], "--length: must be at least 2, got 1"),
        (["--tested", "40", "1"], "--tested: must be at least 2"),
        (["--rate", "nan"], "--rate: must be a finite number above 0, got nan"),
        (["--networks", "GRU", "GRU"], "--networks: must be one or more, each of them once, got GRU GRU"),
        (["--seeds", "0"], "--seeds: must be at least 1"),
    ],
)
def test_bad_settings_write_nothing(tmp_path, capsys, arguments, message):
    assert main([*arguments, "--out", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
