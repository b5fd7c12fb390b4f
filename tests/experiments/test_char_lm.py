"""The character language model: its windows, its score, what it draws, and the files of a smoke run."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import char_lm, made
from experiments.char_lm import Settings, gates, main, model_of, runs, samples
from experiments.language import Reader, Stream
from jaxrnn.data import Alphabet
from jaxrnn.models import pure_step

SMALL = Settings(hidden_size=6, embedding_size=5, window=7, batch=3, dropout=0.0, characters=30)


@pytest.fixture
def text(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "none"))
    return made.play(0)


def test_the_score_is_the_mean_over_all_characters_but_the_first(text):
    alphabet = Alphabet.of(text)
    tokens = alphabet.encode(text[:400])
    model = model_of(SMALL, alphabet.size)
    reader = Reader(model, optax.sgd(0.1), clip=1.0, batch=3)
    state = reader.init(jax.random.key(0))
    starts = np.arange(4) * 399 // 3
    nats = 0.0
    for begin, end in zip(starts[:-1], starts[1:], strict=True):  # each row at once, with no windows
        _, logits = model(jnp.asarray(tokens[begin:end])[:, None])
        scores = jax.nn.log_softmax(logits[:, 0])[np.arange(end - begin), tokens[begin + 1 : end + 1]]
        nats -= float(scores.sum())
    np.testing.assert_allclose(reader.nats(state.params, Stream(tokens, 3, 7)), nats / 399, rtol=1e-5)


def test_the_gradient_stops_between_windows_and_the_carry_begins_anew_with_the_text(text):
    tokens = Alphabet.of(text).encode(text[:400])
    stream = Stream(tokens, 3, 7)
    reader = Reader(model_of(SMALL, Alphabet.of(text).size), optax.sgd(0.1), clip=1.0, batch=3)
    params, fresh = (state := reader.init(jax.random.key(0))).params, state.carry
    other = jax.tree.map(lambda c: c + 1, fresh)
    for position, same in ((0, True), (1, False), (len(stream), True)):
        found = [float(reader._loss(params, carry, stream.at(position), None)[0]) for carry in (fresh, other)]
        assert (found[0] == found[1]) == same
    slope = jax.grad(lambda carry: sum(map(jnp.sum, reader._loss(params, carry, stream.at(1), None)[1][0])))(other)
    assert all(not leaf.any() for leaf in jax.tree.leaves(slope))


def test_a_cold_text_is_the_greedy_one(text, monkeypatch):
    alphabet = Alphabet.of(text)
    model = model_of(SMALL, alphabet.size)
    drawn = samples(model, alphabet, SMALL)
    assert list(drawn) == ["0.5", "0.8", "1"] and {len(each) for each in drawn.values()} == {30}
    assert all(set(each) <= set(alphabet.characters) for each in drawn.values())
    monkeypatch.setattr(char_lm, "TEMPERATURES", (1e-4,))
    (cold,) = samples(model, alphabet, SMALL).values()
    carry, letter, greedy = model.init_carry(()), alphabet.encode("\n")[0], ""
    for _ in range(30):
        carry, logits = pure_step(model)(carry, jnp.int32(letter))
        letter = int(jnp.argmax(logits))
        greedy += alphabet.decode(np.array([letter]))
    assert cold == greedy


def test_gates_are_told_over_one_line():
    lines = "a short one\nthis line is neither too short nor too long\nand so on"
    alphabet = Alphabet.of(lines)
    model = model_of(SMALL, alphabet.size)
    found = gates(model, alphabet, alphabet.encode(lines))
    assert found["text"] == "\nthis line is neither too short nor too long"
    assert gates(model, alphabet, alphabet.encode("on one line"))["text"] == "on one line"
    assert list(found["traces"]) == ["input gate", "forget gate", "output gate"]
    for values in found["traces"].values():
        assert np.shape(values) == (6, len(found["text"])) and 0 <= np.min(values) <= np.max(values) <= 1


@pytest.mark.smoke
def test_smoke_learns_made_text_and_writes_all_files(tmp_path, text):
    assert main(["--smoke", "--out", str(tmp_path)]) == 0
    assert {"results.json", "table.md", "char_lm.png", "char_lm.svg"} <= {path.name for path in tmp_path.iterdir()}
    results = json.loads((tmp_path / "results.json").read_text())
    part = results["parts"]["LSTM"]
    assert results["data"] == "made" and part["history"]["step"] == [50, 100]
    assert part["bits"] < part["history"]["bits"][0] < math.log2(len(set(text)))
    np.testing.assert_allclose(part["bits"], part["history"]["bits"][-1], rtol=1e-4)
    assert "Drawn at temperature 0.8" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "-5"], "--limit: must be at least 1, got -5"),
        (["--dropout", "1"], "--dropout: must lie in [0, 1), got 1.0"),
        (["--batch", "0"], "--batch: must be at least 1"),
        (["--rate", "inf"], "--rate: must be a finite number above 0, got inf"),
    ],
)
def test_bad_settings_write_nothing(tmp_path, capsys, arguments, message):
    assert main([*arguments, "--out", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_text_that_is_too_short_is_told(text):
    with pytest.raises(ValueError, match="--batch, --window: a text of 20 tokens is too short"):
        runs(Settings(limit=200, batch=9, window=7), text)
