import io
import unicodedata
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrnn.data import Vocabulary, sentence_polarity, tokenize, wikitext2


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", ""),
        ("  \n\t ", ""),
        ("The cat sat.", "the cat sat ."),
        ("DON'T stop", "don't stop"),
        ("rock 'n' roll", "rock ' n ' roll"),
        ("the dogs' well-known -- tail-", "the dogs ' well-known - - tail -"),
        ("3.14, 1,000.5 and 2. or 007", "3.14 , 1,000.5 and 2 . or 007"),
        ("the 3rd mp3 x_1", "the 3rd mp3 x _ 1"),
        ("L’été, à l'heure!", "l'été , à l'heure !"),
        ("Lʼété", "l'été"),
        ("Straße Ελλάδα Привет 世界", "straße ελλάδα привет 世界"),
        ("Qu'est-ce que c’est ?", "qu'est-ce que c'est ?"),
        ("Cours\u202f!\u00a0Vite", "cours ! vite"),
        ("what?!...", "what ? ! . . ."),
        ("50% of $5", "50 % of $ 5"),
    ],
)
def test_words_numbers_and_marks(text, tokens):
    assert tokenize(text) == tokens.split()
    assert tokenize(unicodedata.normalize("NFD", text)) == tokens.split()


@given(st.text(st.sampled_from("aB3é'’ʼ-.,_ \n!世İ"), max_size=30))
def test_no_character_is_lost_and_tokens_stay_tokens(text):
    tokens = tokenize(text)
    plain = unicodedata.normalize("NFC", text.lower()).replace("’", "'").replace("ʼ", "'")
    assert "".join(tokens) == "".join(plain.split())
    assert tokenize(" ".join(tokens)) == tokens


def test_lines_of_wikitext_end_in_eos(pinned):
    folder = pinned("wikitext-2/valid.txt", " \n = A title = \n \n One <unk> caf\u00e9 . \n".encode())
    got = wikitext2("validation", folder)
    assert got == "<eos> = A title = <eos> <eos> One <unk> café . <eos>".split()


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty, 0 bytes"), (b"caf\xe9", "is not UTF-8")])
def test_a_text_that_is_none_is_refused(pinned, content, message):
    with pytest.raises(ValueError, match=rf"wikitext2: .*train\.txt {message}"):
        wikitext2("train", pinned("wikitext-2/train.txt", content))


def polarity_zip(count):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as folder:
        for kind in ("neg", "pos"):
            lines = "".join(f"{kind} {number} is caf\u00e9 . \n" for number in range(count))
            folder.writestr(f"sentence_polarity/rt-polarity.{kind}", lines)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("split", "numbers"),
    [("test", [0, 10, 20]), ("validation", [1, 11, 21]), ("train", [*range(2, 10), *range(12, 20), 22, 23])],
)
def test_polarity_is_split_by_line(pinned, split, numbers):
    folder = pinned("sentence-polarity/sentence_polarity.zip", polarity_zip(24))
    got = sentence_polarity(split, folder)
    assert got.tokens == [[kind, str(n), "is", "café", "."] for kind in ("neg", "pos") for n in numbers]
    assert got.labels.dtype == np.int32 and got.labels.tolist() == [0] * len(numbers) + [1] * len(numbers)
    tokens, labels = got
    assert tokens is got.tokens and labels is got.labels


@pytest.mark.parametrize("reader", [wikitext2, sentence_polarity])
def test_an_unknown_split_is_refused(reader, tmp_path):
    with pytest.raises(
        ValueError, match=rf"{reader.__name__}: `split` must be one of train, validation, test, got 'dev'"
    ):
        reader("dev", tmp_path)


def test_a_damaged_zip_is_refused(pinned, tmp_path):
    pinned("sentence-polarity/sentence_polarity.zip", polarity_zip(3))
    path = tmp_path / "sentence-polarity" / "sentence_polarity.zip"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=rf"{path} must have the SHA-256 .* it is cut short or another file"):
        sentence_polarity("test", tmp_path)


def test_the_real_wikitext(directory):
    streams = {split: wikitext2(split, directory) for split in ("train", "validation", "test")}
    assert {split: len(stream) for split, stream in streams.items()} == {
        "train": 2_088_628,
        "validation": 217_646,
        "test": 245_569,
    }
    vocabulary = Vocabulary.of([streams["train"]])
    assert len(set().union(*streams.values())) == 33_278
    assert set(vocabulary.tokens) == set().union(*streams.values()) | {"<pad>", "<bos>"}
    assert vocabulary.decode(vocabulary.encode(streams["test"][:2_000])) == streams["test"][:2_000]


def test_the_real_sentences(directory):
    counts = {"train": 8_528, "validation": 1_066, "test": 1_068}
    got = {split: sentence_polarity(split, directory) for split in counts}
    assert {split: len(sentences.tokens) for split, sentences in got.items()} == counts
    for sentences in got.values():
        assert len(sentences.labels) == len(sentences.tokens) == 2 * sentences.labels.sum()
        assert min(map(len, sentences.tokens)) > 0
    assert got["test"].tokens[0][:3] == ["simplistic", ",", "silly"]
    assert got["test"].tokens[534][:3] == ["the", "rock", "is"]
