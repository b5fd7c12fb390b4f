"""Sentiment: what a word moved, which sentences are shown, the accuracy, made data, files and bad input."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import made_text
from experiments.everything import HERE
from experiments.sentiment import Settings, chosen, explain, limited, main, models, scores
from experiments.sentiment_figure import draw
from experiments.sentiment_models import Judge, Window
from experiments.sentiment_text import MEAN, RECURRENT
from jaxrnn.data import LabelledSentences, Vocabulary, is_present, sentence_polarity

FILES = {"sentiment.png", "sentiment.svg", "results.json", "table.md"}
ZIP = "sentence-polarity/sentence_polarity.zip"
SENTENCES = [["good", "film", "."], ["bad", "film"], ["a", "very", "good", "film", "."]]


def judge_of(name):
    vocabulary = Vocabulary.of(SENTENCES)
    settings = Settings(embedding_size=3, hidden_size=4, window=2)
    judge = Judge(models(settings, vocabulary.size)[name], vocabulary, rate=0.1, batch=2, longest=7)
    return vocabulary, judge, judge.init(jax.random.key(0)).params


def test_the_accuracy_and_nats_of_known_margins():
    found = scores(np.array([2.0, -1.0, 0.5, -3.0]), np.array([1, 1, 0, 0]))
    nats = [np.log1p(np.exp(-2)), np.log1p(np.exp(1)), np.log1p(np.exp(0.5)), np.log1p(np.exp(-3))]
    assert found["accuracy"] == 0.5
    np.testing.assert_allclose(found["nats"], np.mean(nats), rtol=1e-12)


def test_margins_of_the_mean_perceptron_equal_its_equations():
    vocabulary, judge, params = judge_of(MEAN)
    plain = jax.tree.map(np.asarray, nnx.to_pure_dict(params))
    expected = []
    for sentence in SENTENCES:
        mean = plain["embed"]["embedding"][vocabulary.encode(sentence)].mean(axis=0)
        hidden = np.maximum(mean @ plain["hidden"]["kernel"] + plain["hidden"]["bias"], 0)
        blame, praise = hidden @ plain["head"]["kernel"] + plain["head"]["bias"]
        expected.append(praise - blame)
    np.testing.assert_allclose(judge.margins(params, SENTENCES), expected, rtol=1e-5, atol=1e-6)


def test_a_window_is_the_first_words_side_by_side():
    ys = jnp.arange(12.0).reshape(3, 2, 2).at[1:, 1].set(jnp.nan)  # the second sentence has one word
    lengths = jnp.array([3, 1])
    assert Window(2)(ys, lengths).tolist() == [[0, 1, 4, 5], [2, 3, 0, 0]]
    assert Window(4)(ys, lengths).tolist() == [[0, 1, 4, 5, 8, 9, 0, 0], [2, 3, 0, 0, 0, 0, 0, 0]]


def test_a_word_moves_what_its_absence_changes():
    _, judge, params = judge_of("GRU")
    test = LabelledSentences(SENTENCES, np.array([1, 0, 1], np.int32))
    second, third = explain(judge, params, test, [1, 2])
    without = [["film"], ["bad"]]
    np.testing.assert_allclose(
        second["moved"], judge.margins(params, [SENTENCES[1]]) - judge.margins(params, without), rtol=1e-3, atol=1e-6
    )
    assert (second["label"], third["words"], len(third["moved"])) == (0, SENTENCES[2], 5)
    np.testing.assert_allclose([sum(second["attention"]), sum(third["attention"])], 1, rtol=1e-3)
    assert explain(judge, params, test, []) == []


def test_the_surest_and_the_least_sure_are_shown():
    words = ["word"] * 8
    test = LabelledSentences([words, words, words, words, words, ["short"]], np.array([1, 1, 0, 0, 1, 1], np.int32))
    assert chosen(test, np.array([3.0, 4.0, -1.0, 2.0, -0.5, 9.0])) == [1, 2, 4, 3]


def test_a_limit_leaves_both_classes_in():
    kept = limited(made_text.opinions(0, 100), 10)
    assert len(kept.tokens) == 10 and np.bincount(kept.labels).tolist() == [5, 5]
    assert limited(kept, None).tokens == limited(kept, 99).tokens == kept.tokens


def test_the_picture_shows_sentences_of_the_first_network_that_has_them():
    kept = json.loads((HERE / "results" / "sentiment" / "results.json").read_text())

    def title(*names):
        return draw(kept | {"parts": {name: kept["parts"][name] for name in names}}).texts[0].get_text()

    assert title(MEAN, "GRU", "LSTM").endswith("and what moved the GRU")
    assert title(MEAN) == "Praise or blame: how often told right"


@pytest.mark.smoke
def test_smoke_on_made_data_writes_all_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "empty"))
    out = tmp_path / "out"
    assert main(["--smoke", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir() if path.is_file()} == FILES
    results = json.loads((out / "results.json").read_text())
    assert results["data"] == "made" and list(results["parts"]) == ["GRU", MEAN]
    for name, part in results["parts"].items():
        assert part["history"][0]["training_loss"][-1] < part["history"][0]["training_loss"][0]
        assert np.sum(part["confusion"]) == 400
        np.testing.assert_allclose(np.trace(part["confusion"]) / 400, part["accuracy"][0], rtol=1e-12)
        assert bool(part["examples"]) == (name in RECURRENT)
    assert f"{100 * results['parts']['GRU']['accuracy'][0]:.1f}" in (out / "table.md").read_text()


def test_made_data_have_the_format_of_the_real_ones():
    if not is_present(ZIP):
        pytest.skip(f"{ZIP} is not there; set JAXRNN_DATA")
    real, made = sentence_polarity("test"), made_text.opinions(0, 20)
    for found in (real, made):
        assert isinstance(found, LabelledSentences) and found.labels.dtype == np.int32
        assert set(found.labels) == {0, 1} and (np.diff(found.labels) >= 0).all()
        assert all(isinstance(word, str) for sentence in found.tokens for word in sentence)


def test_bad_input_writes_nothing(tmp_path, capsys, monkeypatch):
    new = ["--smoke", "--out", str(tmp_path / "new")]
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "empty"))
    for bad, words in (
        (["--dropout", "1"], "--dropout: must lie in [0, 1), got 1.0"),
        (["--batch", "0"], "--batch: must be at least 1, got 0"),
    ):
        assert main([*bad, *new]) == 2
        assert words in capsys.readouterr().err
    assert main(["--networks", "GRU", "GRU", *new[1:]]) == 2  # which a smoke run replaces
    assert "--networks: must be one or more, each of them once, got GRU GRU" in capsys.readouterr().err
    small = ["--out", str(tmp_path / "new"), "--limit", "1"]
    assert main(small) == 2
    assert "--limit: must be at least 2, got 1" in capsys.readouterr().err
    wrong = tmp_path / "data" / Path(ZIP)
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"no zip")
    assert main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "new")]) == 2
    assert "it is cut short or another file" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
