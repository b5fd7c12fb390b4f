import gzip
import io
import zipfile
import zlib

import pytest

from jaxrnn.data import multi30k, tatoeba

MULTI30K = {"train": 29_000, "validation": 1_014, "test": 1_000}
TATOEBA = {"train": 137_086, "validation": 2_901, "test": 2_800}


def put_languages(pinned, name, **texts):
    folders = {pinned(f"multi30k/{name}.{key}.gz", gzip.compress(text.encode())) for key, text in texts.items()}
    return folders.pop()


def test_lines_of_two_languages_are_pairs(pinned):
    folder = put_languages(
        pinned, "val", de="Ein Mann.\nZwei Bäume.\n", en="A man.\nTwo trees.\n", fr="Un homme.\nDeux arbres.\n"
    )
    assert multi30k("validation", directory=folder) == [("Ein Mann.", "A man."), ("Zwei Bäume.", "Two trees.")]
    assert multi30k("validation", "en", "fr", folder)[1] == ("Two trees.", "Deux arbres.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("val",), r"`split` must be one of train, validation, test, got 'val'"),
        (("test", "cs"), r"`source` must be one of de, en, fr, got 'cs'"),
        (("test", "en", "EN"), r"`target` must be one of de, en, fr, got 'EN'"),
        (("test", "en"), r"`source` and `target` must differ, got 'en' twice\. Choose another target"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=f"multi30k: {message}"):
        multi30k(*arguments, directory=tmp_path)


def pairs_zip(pairs):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as folder:
        folder.writestr("_about.txt", "not to be read")
        folder.writestr("fra.txt", "".join(f"{english}\t{french}\n" for english, french in pairs))
    return buffer.getvalue()


def test_pairs_are_split_by_their_english(pinned):
    pairs = [(f"Number {n}.", f"Numéro {n}\u202f{mark}") for n in range(300) for mark in ".!"]
    folder = pinned("tatoeba-fra-eng/fra-eng.zip", pairs_zip(pairs))
    got = {split: tatoeba(split, folder) for split in TATOEBA}
    rest = {pair: zlib.crc32(pair[0].encode()) % 100 for pair in pairs}
    assert got["test"] == [pair for pair in pairs if rest[pair] < 2]
    assert got["validation"] == [pair for pair in pairs if 2 <= rest[pair] < 4]
    assert got["train"] == [pair for pair in pairs if rest[pair] >= 4]
    assert all(got.values())


def test_long_pairs_are_left_out_by_either_side(pinned):
    pairs = [("One two.", "Un deux."), ("One two three.", "Un."), ("One.", "Un deux trois."), ("A, b.", "A b.")]
    assert all(zlib.crc32(english.encode()) % 100 >= 4 for english, _ in pairs)
    folder = pinned("tatoeba-fra-eng/fra-eng.zip", pairs_zip(pairs))
    assert tatoeba("train", folder, most_words=2) == [pairs[0], pairs[3]]
    assert tatoeba("train", folder, 3) == pairs
    with pytest.raises(ValueError, match=r"tatoeba: `most_words` must leave a pair of the split, got 1\. Take more"):
        tatoeba("train", folder, most_words=1)


@pytest.mark.parametrize("most", [0, -1, "x"])
def test_a_number_of_words_that_is_none_is_refused(most, tmp_path, without_type_checks):
    with pytest.raises(ValueError, match=rf"tatoeba: `most_words` must be a whole number of at least 1.*got {most!r}"):
        tatoeba("train", tmp_path, most)


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"tatoeba: `split` must be one of train, validation, test, got 'val'"):
        tatoeba("val", tmp_path)


@pytest.mark.parametrize(("split", "count"), MULTI30K.items())
def test_the_real_captions(directory, split, count):
    german, english, french = (
        multi30k(split, *names, directory) for names in (("de", "en"), ("en", "fr"), ("fr", "de"))
    )
    assert len(german) == len(english) == len(french) == count
    for (a, b), (c, d), (e, f) in zip(german, english, french, strict=True):
        assert a == f and b == c and d == e and a.split() and b.split() and d.split()


def test_the_real_pairs(directory):
    got = {split: tatoeba(split, directory) for split in TATOEBA}
    assert {split: len(pairs) for split, pairs in got.items()} == TATOEBA
    english = [{pair[0] for pair in pairs} for pairs in got.values()]
    assert len(set().union(*english)) == sum(map(len, english)) == 98_659  # none is in two splits
    assert ("Go.", "Va !") in got["train"]
    french = {pair[1] for pair in got["train"]}
    shared = {split: sum(pair[1] in french for pair in got[split]) for split in ("test", "validation")}
    assert shared == {"test": 253, "validation": 257}


def test_the_real_short_pairs(directory):
    short = tatoeba("test", directory, most_words=10)
    assert len(short) == 2_500 and max(len(text.split()) for pair in short for text in pair) == 10
