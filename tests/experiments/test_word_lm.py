"""The word language model: perplexity, its twin in PyTorch, and the files of a smoke run."""

import dataclasses
import importlib
import importlib.util
import json
import math
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.command import Failed
from experiments import made, word_lm
from experiments.word_lm import Settings, Stream, main, reader_of
from jaxrnn.train import read_log

HAS_TORCH = importlib.util.find_spec("torch") is not None
SMALL = Settings(hidden_size=5, layers=2, window=6, batch=3, updates=20)
TOKENS = np.random.default_rng(0).integers(1, 30, 300).astype(np.int32)


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
def test_the_twin_trains_and_scores_the_same_model(monkeypatch):
    monkeypatch.setattr(word_lm, "CLIP", 0.3)
    reader, stream = reader_of(SMALL, 30), Stream(TOKENS, 3, 6)
    state = reader.init(jax.random.key(0))
    twin_of = importlib.import_module("experiments.word_lm_torch").Twin
    twin = twin_of(reader.model(state.params), word_lm.schedule(SMALL), word_lm.MOMENTUM, word_lm.CLIP, threads=1)
    norms = []
    for position in range(4):
        state, metrics = reader.trainer.step(state, stream.at(position))
        norms.append(float(metrics.gradient_norm))
        loss, norm = twin.update(stream.at(position))
        np.testing.assert_allclose([loss, norm], [float(metrics.loss), norms[-1]], rtol=1e-5)
    np.testing.assert_allclose(twin.nats(stream), reader.nats(state.params, stream), rtol=1e-5)
    assert min(norms) < word_lm.CLIP < max(norms)  # clipped and not


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
def test_the_twin_clips_large_gradients_by_their_exact_norm():
    torch = importlib.import_module("torch")
    gradient = np.random.default_rng(0).normal(0, 1e-3, 7_000_000).astype(np.float32)
    weights = torch.nn.Parameter(torch.zeros(len(gradient)))
    weights.grad = torch.from_numpy(gradient.copy())
    norm = np.linalg.norm(gradient.astype(np.float64))
    clip = importlib.import_module("experiments.in_torch").clip_gradients
    np.testing.assert_allclose(clip([weights], 0.25), norm, rtol=1e-6)
    np.testing.assert_allclose(weights.grad.numpy(), gradient * (0.25 / norm), rtol=1e-5)


@pytest.mark.smoke
def test_smoke_learns_made_text_and_writes_all_files(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "none"))
    assert main(["--smoke", "--out", str(tmp_path)]) == 0
    assert {"results.json", "table.md", "word_lm.png", "word_lm.svg"} <= {path.name for path in tmp_path.iterdir()}
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["data"] == "made" and list(results["parts"]) == ["jaxrnn"]
    part = results["parts"]["jaxrnn"]
    words = len({*made.articles(0)}) + 4
    assert part["perplexity"] < part["history"]["perplexity"][0] < words
    assert math.isfinite(part["history"]["training_loss"][-1])
    assert f"{part['perplexity']:.2f}" in (tmp_path / "table.md").read_text()


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
def test_both_sides_are_compared(tmp_path):
    text = [made.articles(seed) for seed in range(3)]
    application = dataclasses.replace(word_lm.APPLICATION, read=lambda settings: text)
    small = ["--hidden-size", "6", "--window", "8", "--batch", "4", "--updates", "20", "--every", "10"]
    assert application.main([*small, "--validated", "400", "--out", str(tmp_path)]) == 0
    parts = json.loads((tmp_path / "results.json").read_text())["parts"]
    ratio = parts["jaxrnn"]["perplexity"] / parts["PyTorch"]["perplexity"]
    assert abs(ratio - 1) < 1e-4 and max(parts["PyTorch"]["differences"]) < 1e-5
    losses = [part["history"]["training_loss"] for part in parts.values()]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    logs = [read_log(tmp_path / "logs" / f"{name}.jsonl") for name in ("jaxrnn", "pytorch")]
    for column in ("step", "gradient_norm", "aux.tokens"):
        np.testing.assert_allclose(logs[0][column], logs[1][column], rtol=1e-4)
    assert f"The ratio is {ratio:.4f}" in Path(tmp_path / "table.md").read_text()


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
def test_an_interrupted_twin_goes_on_to_the_same_numbers(tmp_path, monkeypatch, capsys):
    text = [made.articles(seed) for seed in range(3)]
    application = dataclasses.replace(word_lm.APPLICATION, read=lambda settings: text)
    small = ["--hidden-size", "6", "--window", "8", "--batch", "4", "--updates", "20", "--every", "10"]
    small += ["--validated", "400"]
    assert application.main([*small, "--out", str(tmp_path / "whole")]) == 0
    twin = importlib.import_module("experiments.word_lm_torch").Twin
    update = twin.update

    def interrupted(self, placed):
        if self.made == 13:
            raise KeyboardInterrupt
        return update(self, placed)

    monkeypatch.setattr(twin, "update", interrupted)
    assert application.main([*small, "--out", str(tmp_path / "parts")]) == 130
    monkeypatch.setattr(twin, "update", update)
    assert application.main([*small, "--out", str(tmp_path / "parts")]) == 0
    shutil.copytree(tmp_path / "parts", tmp_path / "broken")
    (tmp_path / "broken" / "results.json").unlink()
    (tmp_path / "broken" / "checkpoints" / "pytorch" / "state.pt").write_bytes(b"cut short")
    assert application.main([*small, "--out", str(tmp_path / "broken")]) == 1
    assert "state.pt cannot be read" in capsys.readouterr().err
    whole, parts = (
        json.loads((tmp_path / name / "results.json").read_text())["parts"]["PyTorch"] for name in ("whole", "parts")
    )
    assert whole["perplexity"] == parts["perplexity"] and whole["history"] == parts["history"]
    logs = [read_log(tmp_path / name / "logs" / "pytorch.jsonl") for name in ("whole", "parts")]
    for column in ("step", "loss", "gradient_norm"):
        np.testing.assert_array_equal(logs[0][column], logs[1][column])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "-5"], "--limit: must be at least 1, got -5"),
        (["--layers", "0"], "--layers: must be at least 1"),
        (["--dropout", "0.2"], "--dropout: must be 0 beside PyTorch, got 0.2. Add --no-twin."),
        (["--no-twin", "--dropout", "1.5"], "--dropout: must lie in [0, 1), got 1.5"),
    ],
)
def test_bad_settings_write_nothing(tmp_path, capsys, arguments, message):
    assert main([*arguments, "--out", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_target_is_held():
    parts = {"jaxrnn": {"perplexity": 102.1}, "PyTorch": {"perplexity": 100.0}}
    with pytest.raises(Failed, match="jaxrnn's perplexity, 102.10, is more than 1.02 times PyTorch's, 100.00"):
        word_lm.finish({"parts": parts})
    word_lm.finish({"parts": parts | {"jaxrnn": {"perplexity": 101.9}}})
    word_lm.finish({"parts": {"jaxrnn": {"perplexity": 101.9}}})


def test_without_pytorch_the_comparison_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(importlib.import_module("sys").modules, "torch", None)
    assert main(["--out", str(tmp_path / "new")]) == 2
    assert "pip install torch, or leave the comparison out with --no-twin" in capsys.readouterr().err
