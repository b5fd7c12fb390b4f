"""Word vectors: both objectives beside sums written by hand, what is asked of the vectors, and a run on made words."""

import json

import jax
import numpy as np
import pytest
from flax import nnx

from experiments import embeddings, embeddings_measures, embeddings_words
from experiments.embeddings import Vectors, cbow, main, skip_gram
from experiments.embeddings_figure import apart
from experiments.made_embeddings import articles
from jaxrnn.data import Contexts, Vocabulary, wikitext2
from tests.data.conftest import directory as directory

FILES = {"checkpoints", "logs", "embeddings.png", "embeddings.svg", "results.json", "table.md"}
NEGATIVES = 4


@pytest.fixture(scope="module")
def case():
    model, generator = Vectors(9, 3, nnx.Rngs(0)), np.random.default_rng(0)
    v, u = (generator.normal(size=(9, 3)).astype(np.float32) for _ in range(2))
    model.word.embedding[...], model.context.embedding[...] = v, u
    mask = np.array([[True, False, True, True], [False, True, False, False], [False] * 4])
    around, centre = generator.integers(0, 9, (3, 4)).astype(np.int32), np.array([4, 8, 1], np.int32)
    return model, v.astype(np.float64), u.astype(np.float64), Contexts(centre, around, mask, np.array([8, 2], np.int32))


def log_logistic(x):
    return -np.log1p(np.exp(-x))


def test_skip_gram_is_the_sum_over_pairs(case):
    model, v, u, contexts = case
    each = [
        -log_logistic(v[word] @ u[other]) - NEGATIVES * np.mean([log_logistic(-v[word] @ u[n]) for n in contexts.noise])
        for word, around, mask in zip(*contexts[:3], strict=True)
        for other, counted in zip(around, mask, strict=True)
        if counted
    ]
    loss, pairs = skip_gram(model, contexts, NEGATIVES)
    np.testing.assert_allclose(loss, np.mean(each), rtol=1e-5)
    assert pairs == len(each) == 4


def test_cbow_tells_the_word_from_the_mean_of_its_contexts(case):
    model, v, u, contexts = case
    each = []
    for word, around, mask in zip(*contexts[:3], strict=True):
        if mask.any():
            mean = np.mean([v[other] for other, counted in zip(around, mask, strict=True) if counted], axis=0)
            noise = np.mean([log_logistic(-mean @ u[n]) for n in contexts.noise])
            each.append(-log_logistic(mean @ u[word]) - NEGATIVES * noise)
    loss, words = cbow(model, contexts, NEGATIVES)
    np.testing.assert_allclose(loss, np.mean(each), rtol=1e-5)
    assert words == len(each) == 2


@pytest.mark.parametrize("objective", [skip_gram, cbow])
def test_a_saturated_score_costs_what_it_should(case, objective):
    model, _, _, contexts = case
    graph, params = nnx.split(model, nnx.Param)
    params = jax.tree.map(lambda leaf: 100 * leaf, params)  # products of thousands, where log(sigmoid) is -inf
    gradients = jax.grad(lambda params: objective(nnx.merge(graph, params), contexts, NEGATIVES)[0])(params)
    assert np.isfinite(objective(nnx.merge(graph, params), contexts, NEGATIVES)[0])
    assert all(np.isfinite(leaf).all() and np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))


def test_analogies_and_likeness_of_vectors_made_to_hold(monkeypatch):
    words = ["man", "woman", "king", "queen", "river"]
    vocabulary = Vocabulary.of([words])
    vectors = np.zeros((vocabulary.size, 4), np.float32)
    for word, vector in zip(words, ([1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]), strict=True):
        vectors[vocabulary.encode([word])[0]] = vector
    vectors = embeddings_measures.unit(vectors)
    pairs = {"gender": "man woman, king queen", "wrong": "man river, woman king", "unknown": "he she, man woman"}
    monkeypatch.setattr(embeddings_words, "PAIRS", pairs)
    found = embeddings_measures.analogies(vectors, vocabulary)
    # Two pairs make two questions of step one, and two of step two, which hold a pair against itself and so cannot be
    # answered, since no word of a question is told.
    assert found["gender"] == {"asked": 4, "first": 2, "five": 2}
    assert found["wrong"] == {"asked": 4, "first": 0, "five": 2}  # of two words that are left the other one is nearer
    assert found["unknown"] == {"asked": 1, "first": 0, "five": 0}
    monkeypatch.setattr(embeddings_measures, "RELATED", "man woman, river river, he she")
    like = embeddings_measures.likeness(vectors, vocabulary)
    np.testing.assert_allclose(like["related"], (np.sqrt(0.5) + 1) / 2, rtol=1e-4)
    np.testing.assert_allclose(like["others"], 0, atol=1e-6)
    near = embeddings_measures.nearest_words(vectors, vocabulary)
    assert near["king"][0] == "queen" and "king" not in near["king"] and len(near["king"]) == 4


def test_questions_are_a_hundred_of_four_words():
    questions = [question for asked in embeddings_words.questions().values() for question in asked]
    assert len(questions) == len(set(questions)) == 100
    assert all(len(set(question)) == 4 for question in questions)
    firsts = [first for first, _ in embeddings_words.pairs(embeddings_words.RELATED)]
    assert len(firsts) == len(set(firsts))
    drawn = [word for text in embeddings_words.GROUPS.values() for word in text.split()]
    assert len(drawn) == len(set(drawn)) and 130 < len(drawn) < 170


def test_every_word_of_the_lists_is_known_well_enough(directory):
    count = dict.fromkeys(embeddings_words.ASKED, 0)
    asked = [word for asked in embeddings_words.questions().values() for question in asked for word in question]
    related = [word for pair in embeddings_words.pairs(embeddings_words.RELATED) for word in pair]
    count |= dict.fromkeys([*asked, *related, *" ".join(embeddings_words.GROUPS.values()).split()], 0)
    for word in wikitext2("train", directory):
        if word in count:
            count[word] += 1
    assert {word: found for word, found in count.items() if found < 20} == {}


def test_made_words_come_as_the_real_ones(directory):
    real, invented = wikitext2("test", directory), articles(0)
    assert type(real) is type(invented) and {type(word) for word in invented} == {type(word) for word in real} == {str}
    assert {"<unk>", "<eos>"} <= set(invented)


def test_labels_are_moved_apart_within_the_frame():
    frame, sizes = np.array([6.0, 4.0]), np.tile([0.5, 0.15], (60, 1))
    places = apart(np.random.default_rng(0).normal(size=(60, 2)), sizes, frame)
    over = sizes[0] - np.abs(places[:, None] - places[None])
    over[np.arange(60), np.arange(60)] = -1
    assert np.where((over > 0).all(axis=-1), over.min(axis=-1), 0).max() < 0.001
    assert (places >= sizes / 2 - 1e-9).all() and (places <= frame - sizes / 2 + 1e-9).all()


@pytest.mark.smoke
def test_smoke_writes_all_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "empty"))
    assert main(["--smoke", "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["data"] == "made" and results["finished"] and set(results["parts"]) == {"skip-gram", "CBOW"}
    for part in results["parts"].values():
        assert part["history"]["loss"][-1] < part["history"]["loss"][0]
        like = part["likeness"]
        assert like["related"] > like["others"]
        assert len(part["map"]["words"]) == len(part["map"]["places"]) > 100
    assert len(embeddings.APPLICATION.rows(results)) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--features", "0"], "--features: must be at least 1, got 0"),
        (["--threshold", "0"], "--threshold: must be a finite number above 0"),
        (["--rate", "nan"], "--rate: must be a finite number above 0, got nan"),
        (["--limit", "0"], "--limit: must be at least 1, got 0"),
        (["--seed", "-1"], "--seed: must lie between"),
    ],
)
def test_bad_input_writes_nothing(arguments, words, tmp_path, capsys):
    assert main([*arguments, "--data", str(tmp_path), "--out", str(tmp_path / "new")]) == 2
    assert words in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "new").exists()


def test_files_that_are_missing_or_leave_no_words_are_told(tmp_path, capsys, monkeypatch):
    new = ["--out", str(tmp_path / "new")]
    (tmp_path / "wikitext-2").mkdir()
    (tmp_path / "wikitext-2" / "train.txt").write_text("cut short")
    assert main(["--data", str(tmp_path), *new]) == 2
    assert "must have the SHA-256" in capsys.readouterr().err
    monkeypatch.setattr(embeddings, "wikitext2", lambda split, data: articles(0, 5))
    assert main(["--least", "1000", *new]) == 2
    assert "--limit, --least: they leave 0 words of the train split" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
