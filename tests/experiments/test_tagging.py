"""Tagging: the metric against a count by hand, legal tags, words and characters in numbers, files and bad input."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import made_text, tagging
from experiments.tagging import APPLICATION, Reader, Settings, cut, examples, main, make, scores
from experiments.tagging_figure import _bracketed
from experiments.tagging_model import ROUND, Coder, plain
from jaxrnn.data import UNK, TaggedSentences, is_present, ncbi_disease, wikigold
from jaxrnn.models import crf

FILES = {"tagging.png", "tagging.svg", "results.json", "table.md"}
SMALL = Settings(embedding_size=3, character_size=2, hidden_size=3, letters=4, batch=2)
DATA = {
    "train": TaggedSentences(
        [["The", "ATM", "gene", "12"], ["the", "gene"], ["Wilson", "disease", "of", "the", "ATM", "gene"]],
        [["O"] * 4, ["O"] * 2, ["B-Disease", "I-Disease", "O", "O", "O", "O"]],
    ),
    "test": TaggedSentences([["neurofibromatosis", "35", "é"]], [["B-Disease", "O", "O"]]),
}


def test_the_metric_equals_a_count_by_hand():
    true = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG", "I-ORG"], ["B-PER", "O"]]
    told = [["B-PER", "I-PER", "O", "B-ORG"], ["O", "B-ORG", "O"], ["B-PER", "B-LOC"]]
    # 4 entities, 5 told, of which 2 right: PER (0, 0-1) and PER (2, 0); the type of one and an end of one are wrong.
    found = scores(true, told)
    np.testing.assert_allclose(list(found.values()), [2 / 5, 2 / 4, 2 * 0.4 * 0.5 / 0.9], rtol=1e-12)
    assert scores(true, [["O"] * len(tags) for tags in true]) == {"precision": 0, "recall": 0, "f1": 0}
    assert scores([["O"]], [["B-PER"]])["f1"] == 0


@pytest.mark.parametrize("head", ["softmax", "CRF"])
def test_no_entity_goes_on_that_has_not_begun(head):
    data = make(Settings(seed=3))["wikigold"]
    coder = Coder(data, letters=4)
    reader = Reader(SMALL, head, coder)
    # Parameters so large that many illegal sequences would be told.
    params = jax.tree.map(lambda leaf: 30 * jax.random.normal(jax.random.key(4), leaf.shape, leaf.dtype), reader.params)
    tokens = data["test"].tokens[:12]
    told = reader.tags(params, tokens)
    assert [len(tags) for tags in told] == [len(words) for words in tokens]
    inside = 0
    for tags in told:
        for before, tag in zip(["O", *tags], tags, strict=False):
            inside += tag[0] == "I"
            assert tag[0] != "I" or (before != "O" and before[1:] == tag[1:])
    assert inside > 0
    assert np.asarray(crf.bio_constraints(coder.names).between).sum() < len(coder.names) ** 2


def test_what_is_no_number_is_told_as_no_entity():
    coder = Coder(DATA, letters=4)
    reader = Reader(SMALL, "CRF", coder)
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), reader.params)
    assert reader.tags(broken, [["the", "gene"], ["12"]]) == [["O", "O"], ["O"]]


def test_data_sets_that_are_not_asked_for_are_not_needed(monkeypatch):
    settings = Settings(corpora=("wikigold",))
    monkeypatch.setattr(
        tagging, "READERS", {"wikigold": lambda split, folder: split}
    )  # of the other there is no reader
    assert APPLICATION.files(settings) == ("wikigold/wikigold.conll.txt",)
    assert APPLICATION.read(settings) == {"wikigold": {split: split for split in tagging.SPLITS}}


def test_tags_of_a_sentence_do_not_depend_on_its_batch():
    coder = Coder(DATA, letters=4)
    reader = Reader(SMALL, "CRF", coder)
    tokens = DATA["train"].tokens
    alone = [reader.tags(reader.params, [sentence])[0] for sentence in tokens]
    assert reader.tags(reader.params, tokens) == alone


def test_words_and_characters_in_numbers():
    coder = Coder(DATA, letters=4)
    assert coder.names == ["O", "B-Disease", "I-Disease"]
    assert {*coder.words.tokens[4:]} == {"the", "gene", "atm"}  # those of two sentences, whatever their case
    assert plain("G6PD-12") == "g0pd-00"
    (batch,) = [coder.batches(DATA["test"].tokens, coder.tags(DATA["test"].tags), batch=1).at(0)]
    assert batch.inputs.words[:, 0].tolist() == [UNK, UNK, UNK] and batch.targets[:, 0].tolist() == [1, 0, 0]
    spelled = batch.inputs.characters[:, batch.inputs.places[:, 0]].T
    decoded = [coder.characters.decode(row[row > 0]) for row in spelled]
    assert decoded == [["n", "e", "i", "s"], ["<unk>", "<unk>"], ["<unk>"]]  # both ends of a long word
    assert batch.inputs.characters.shape == (4, ROUND) and batch.lengths.tolist() == [3]


def test_each_word_of_a_batch_is_spelled_once():
    coder = Coder(DATA, letters=10)
    batch = coder.batches(DATA["train"].tokens, coder.tags(DATA["train"].tags), batch=3).at(0)
    used = batch.inputs.characters.any(axis=0).sum()
    assert used == len({word for sentence in DATA["train"].tokens for word in sentence})
    assert batch.lengths.tolist() == [2, 4, 6]
    words = [
        "".join(coder.characters.decode(c[c > 0])) for c in batch.inputs.characters[:, batch.inputs.places[:, 2]].T
    ]
    assert words == DATA["train"].tokens[2]


def test_sentences_to_look_at():
    tokens = [["a"], ["colon", "cancer", "here"], ["ataxia"], ["none"]]
    test = TaggedSentences(tokens, [["O"], ["B-D", "I-D", "O"], ["B-D"], ["O"]])
    found = examples(test, [["O"], ["B-D", "I-D", "O"], ["O"], ["O"]])
    assert [example["tokens"] for example in found] == [tokens[1], tokens[2]]
    assert _bracketed(tokens[1], found[0]["true"]) == "[colon cancer](D) here"
    assert cut(test, 2).tokens[1] == ["colon", "cancer"] and cut(test, 2).tags[1] == ["B-D", "I-D"]


@pytest.mark.smoke
def test_smoke_on_made_data_writes_all_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "empty"))
    out = tmp_path / "out"
    assert main(["--smoke", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir() if path.is_file()} == FILES
    results = json.loads((out / "results.json").read_text())
    assert results["data"] == "made" and list(results["parts"]) == ["Wikigold, CRF"]
    for name, part in results["parts"].items():
        assert part["history"]["training_loss"][-1] < part["history"]["training_loss"][0] and part["f1"] > 0.5
        assert ("transitions" in part) == name.endswith("CRF")
    table = (out / "table.md").read_text()
    assert f"{100 * results['parts']['Wikigold, CRF']['f1']:.1f}" in table and "](LOC)" in table


@pytest.mark.parametrize("reader, name", [(ncbi_disease, "ncbi"), (wikigold, "wikigold")])
def test_made_data_have_the_format_of_the_real_ones(reader, name):
    needed = {"ncbi": "ncbi-disease/test.tsv", "wikigold": "wikigold/wikigold.conll.txt"}[name]
    if not is_present(needed):
        pytest.skip(f"{needed} is not there; set JAXRNN_DATA")
    real, made = reader("test"), make(Settings())[name]["test"]
    for found in (real, made):
        assert isinstance(found, TaggedSentences)
        assert [len(row) for row in found.tokens] == [len(row) for row in found.tags]
    assert {tag for row in made.tags for tag in row} == {tag for row in real.tags for tag in row}


def test_made_entities_begin_before_they_go_on():
    made = made_text.tagged(0, 50, made_text.NAMES)
    pairs = [(b, t) for tags in made.tags for b, t in zip(["O", *tags], tags, strict=False) if t[0] == "I"]
    assert pairs and all(before[1:] == tag[1:] for before, tag in pairs)


def test_bad_input_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "empty"))
    new = ["--out", str(tmp_path / "new")]
    for bad, words in (
        (["--letters", "1"], "--letters: must be at least 2, got 1"),
        (["--rate", "0"], "--rate: must be a finite number above 0, got 0.0"),
        (["--limit", "0"], "--limit: must be at least 1, got 0"),
        (["--heads", "CRF", "CRF"], "--heads: must be one or more, each of them once, got CRF CRF"),
        (["--corpora", "ncbi", "ncbi"], "--corpora: must be one or more, each of them once, got ncbi ncbi"),
    ):
        assert main([*bad, *new]) == 2
        assert words in capsys.readouterr().err
    wrong = tmp_path / "data" / Path("ncbi-disease/train.tsv")
    wrong.parent.mkdir(parents=True)
    wrong.write_text("disease B-Disease\n")
    assert main(["--data", str(tmp_path / "data"), *new]) == 2
    assert "it is cut short or another file" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
