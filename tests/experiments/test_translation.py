"""Translation: BLEU, free translation, what is left out, and the files of a smoke run."""

import dataclasses
import json
import math
import re

import jax
import numpy as np
import pytest

from experiments import made
from experiments.translating import bleu, heat, translate
from experiments.translation import APPLICATION, MULTI30K, TATOEBA, Settings, main, model_of, runs, train
from experiments.translation_corpus import Corpus, corpus_of
from jaxrnn.data.vocabulary import BOS, EOS

SMALL = Settings(hidden_size=8, embedding_size=5, batch=8, longest=9, beam=3, buckets=2, dropout=0.0)


def read(splits) -> Corpus:
    return corpus_of(splits, jax.random.key(0), limit=None, longest=SMALL.longest, batch=8, buckets=2)


@pytest.fixture(scope="module")
def corpus():
    return read(made.sentence_pairs(3))


def test_bleu_is_that_of_the_paper_by_hand():
    told, true = ["a b c d e f".split(), "x y z".split()], ["a b c d x f".split(), "x y z".split()]
    # Of n words in a row, in both sentences together: 5 + 3 of 9, 3 + 2 of 7, 2 + 1 of 5, 1 of 3; no penalty.
    expected = 100 * math.prod([8 / 9, 5 / 7, 3 / 5, 1 / 3]) ** 0.25
    np.testing.assert_allclose(bleu(told, true), expected, rtol=1e-6)
    short = [["a", "b", "c", "d"]]
    np.testing.assert_allclose(bleu(short, [["a", "b", "c", "d", "e"]]), 100 * math.exp(1 - 5 / 4), rtol=1e-6)


@pytest.mark.parametrize("attention", ["none", "bahdanau", "general"])
def test_the_greedy_translation_is_what_one_sentence_gives_step_by_step(corpus, attention):
    model = model_of(SMALL, corpus, attention)
    told = translate(model, corpus, width=1, longest=SMALL.longest, penalty=0.0)
    assert len(told) == len(corpus.test)
    vocabulary, target = corpus.vocabularies
    for (source, _), words in list(zip(corpus.test, told, strict=True))[:4]:
        numbers = vocabulary.encode(source[: SMALL.longest])
        step, carry = model.decoding(numbers, np.array(len(numbers)))
        token, expected = np.int32(BOS), []
        for _ in range(SMALL.longest + SMALL.longest // 2):
            carry, logits = step(carry, token)
            token = np.int32(np.argmax(logits))
            if token == EOS:
                break
            expected.append(int(token))
        assert words == target.decode(np.array(expected, np.int32))


def test_the_beam_tells_sentences_more_likely_than_the_greedy_ones(corpus):
    model = model_of(SMALL, corpus, "general")
    vocabulary, target = corpus.vocabularies
    most = SMALL.longest + SMALL.longest // 2

    def likelihood(sentences):
        total = 0.0
        for (source, _), words in zip(corpus.test, sentences, strict=True):
            ended = [*words, "<eos>"][:most]
            numbers, tokens = vocabulary.encode(source[: SMALL.longest]), target.encode(ended)
            logits = model(numbers, np.array(len(numbers)), tokens, np.array(len(tokens)))
            total += float(jax.nn.log_softmax(logits)[np.arange(len(tokens)), tokens].sum())
        return total

    how = {"longest": SMALL.longest, "penalty": 0.0}
    greedy, beam = (translate(model, corpus, width=width, **how) for width in (1, 3))
    assert greedy != beam and likelihood(beam) > likelihood(greedy)


def test_a_source_of_the_test_is_not_trained_on():
    train = [("a b", "a b"), ("b a", "b b"), ("b b", "a a"), ("a a", "a b")]
    corpus = read([train, [("b a", "a a")], [("A B", "b b")]])
    kept = [corpus.train.at(position) for position in range(len(corpus.train))]
    assert sum((batch.source_lengths > 0).sum() for batch in kept) == 2


def test_pairs_beyond_the_limit_are_left_out_of_training_and_read_in_part_in_the_test():
    short, other, long = ("a b", "a b"), ("b a", "a b"), ("b " * 12, "a b")
    longer = ("a " * 12, "a b")
    corpus = read([[short, short, longer], [other, long], [long, other]])
    assert max(corpus.train.at(position).source_lengths.max() for position in range(len(corpus.train))) == 2
    assert len(corpus.test) == 2
    model = model_of(SMALL, corpus, "general")
    cut = corpus._replace(test=[(corpus.test[0][0][: SMALL.longest], corpus.test[0][1]), corpus.test[1]])
    how = {"width": 1, "longest": SMALL.longest, "penalty": 0.0}
    assert translate(model, corpus, **how) == translate(model, cut, **how)


def test_attention_is_told_over_a_sentence(corpus):
    model = model_of(SMALL, corpus, "general")
    told = [["to", "be"]] * len(corpus.test)
    found = heat(model, corpus, told, SMALL.longest)
    weights = np.array(found["weights"])
    assert found["told"] == ["to", "be", "<eos>"] and weights.shape == (3, len(found["source"]))
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-4)


def test_own_tokens_are_read_in_training_more_and_more(corpus):
    class Done(Exception):
        """Enough has been seen."""

    class Updates:
        """Makes a first update and a last one, both from the start."""

        def fit(self, trainer, state, batch_at, updates, **how):
            for position in (0, updates - 1):
                batch = corpus.train.at(0), batch_at(position)[1]
                self.losses.append(float(trainer._loss(state.params, None, batch, jax.random.key(1))[0]))
            raise Done

        def __init__(self):
            self.losses: list[float] = []

    found = []
    for own_tokens in (0.0, 0.9):
        fitting = Updates()
        with pytest.raises(Done):
            train(dataclasses.replace(SMALL, own_tokens=own_tokens), corpus, "none", 5, fitting)
        found.append(fitting.losses)
    assert found[0][0] == found[0][1] and abs(found[1][0] - found[0][0]) < 1e-6
    assert abs(found[1][1] - found[1][0]) > 1e-4


@pytest.mark.smoke
def test_smoke_learns_made_sentences_and_writes_all_files(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "none"))
    assert main(["--smoke", "--out", str(tmp_path)]) == 0
    files = {path.name for path in tmp_path.iterdir()}
    assert {"results.json", "table.md", "translation.png", "translation.svg"} <= files
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["data"] == "made" and list(results["parts"]) == [f"{MULTI30K}, general"]
    for name, part in results["parts"].items():
        assert part["history"]["perplexity"][-1] < part["history"]["perplexity"][0]
        assert all(0 <= value <= 100 for value in part["bleu"].values())
        assert (part["attention"] is None) == ("no attention" in name)
        assert len(part["sentences"]) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden-size", "7"], "--hidden-size: must be even, for two directions, got 7"),
        (["--smoke", "--penalty", "-1"], "--penalty: must be a finite number of at least 0, got -1"),
        (["--limit", "-5"], "--limit: must be at least 1, got -5"),
        (["--own-tokens", "1.1"], "--own-tokens: must lie in [0, 1], got 1.1"),
        (["--corpora"], "--corpora: must be one or more, each of them once, got none"),
        (["--attentions", "dot", "dot"], "--attentions: must be one or more, each of them once"),
    ],
)
def test_bad_settings_write_nothing(tmp_path, capsys, arguments, message):
    assert main([*arguments, "--out", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_first_corpus_is_translated_with_every_attention_and_the_others_with_the_last():
    pairs = made.sentence_pairs(0)
    found = runs(dataclasses.replace(SMALL, attentions=("dot", "none")), {MULTI30K: pairs, TATOEBA: pairs})
    assert list(found) == [f"{MULTI30K}, dot", f"{MULTI30K}, no attention", f"{TATOEBA}, no attention"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--beam", "500"], r"--beam: must not exceed the vocabulary of \d+ words, got 500"),
        (["--longest", "1"], "--longest: no pair has so few words, 1"),
    ],
)
def test_what_does_not_fit_the_corpus_writes_nothing(tmp_path, capsys, arguments, message):
    application = dataclasses.replace(APPLICATION, files=lambda settings: (), read=APPLICATION.make)
    assert application.main([*arguments, "--out", str(tmp_path / "new")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "new").exists()


def test_a_sentence_without_words_is_refused():
    pairs = made.sentence_pairs(0)
    with pytest.raises(ValueError, match="must have a token, and none that is empty"):
        read([[*pairs[0], (" ", "be")], *pairs[1:]])
