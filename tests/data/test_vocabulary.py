import collections

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.data import BOS, EOS, PAD, UNK, Vocabulary, wikitext2

FIRST = ("<pad>", "<unk>", "<bos>", "<eos>")
SENTENCES = [["b", "a", "c", "a"], ["c", "É", "b"], ["a", "d"]]


def test_the_first_four_have_their_numbers():
    assert (PAD, UNK, BOS, EOS) == (0, 1, 2, 3)
    vocabulary = Vocabulary.of([["x"]])
    assert vocabulary.tokens == (*FIRST, "x") and vocabulary.size == 5
    assert vocabulary.encode([*FIRST, "x"]).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        (1, None, "a b c d É"),
        (2, None, "a b c"),
        (3, None, "a"),
        (4, None, ""),
        (1, 2, "a b"),
        (2, 9, "a b c"),
        (1, 4, "a b c d"),
    ],
)
def test_tokens_come_by_count_and_then_in_order(least, most, expected):
    assert Vocabulary.of(SENTENCES, least, most).tokens == (*FIRST, *expected.split())
    backwards = [sentence[::-1] for sentence in SENTENCES[::-1]]
    assert Vocabulary.of(iter(backwards), least, most) == Vocabulary.of(SENTENCES, least, most)


def test_special_tokens_of_a_data_set_are_no_second_entries():
    stream = ["<unk>", "a", "<unk>", "<eos>", "<unk>", "b", "b", "<pad>", "<bos>"]
    vocabulary = Vocabulary.of([stream], most=1)
    assert vocabulary.tokens == (*FIRST, "b")
    assert vocabulary.encode(stream).tolist() == [UNK, UNK, UNK, EOS, UNK, 4, 4, PAD, BOS]


def test_what_is_known_is_decoded_and_the_rest_is_unknown():
    vocabulary = Vocabulary.of(SENTENCES, least=2)
    tokens = ["a", "d", "c", "A", "É", "b", "<eos>"]
    numbers = vocabulary.encode(tokens)
    assert numbers.dtype == np.int32 and numbers.tolist() == [4, UNK, 6, UNK, UNK, 5, EOS]
    decoded = [token if token in vocabulary else "<unk>" for token in tokens]
    assert decoded == ["a", "<unk>", "c", "<unk>", "<unk>", "b", "<eos>"]
    assert vocabulary.decode(numbers) == decoded == vocabulary.decode(jnp.asarray(numbers))
    assert vocabulary.encode([]).shape == (0,) and vocabulary.encode([]).dtype == np.int32
    assert vocabulary.decode(vocabulary.encode([])) == []


def test_equal_vocabularies_are_equal():
    one, other = Vocabulary.of(SENTENCES), Vocabulary((*FIRST, "a", "b", "c", "d", "É"))
    assert one == other and hash(one) == hash(other) and one != Vocabulary.of(SENTENCES, least=2)
    assert repr(one) == "<Vocabulary of 9 tokens>"


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        ([], r"Vocabulary\.of: `sentences` must be at least 1, got none\."),
        ([["a"], []], r"must have a token, and none that is empty, got \[\] in number 1\. Leave empty lines"),
        ([["a", ""]], r"must have a token, and none that is empty, got \['a', ''\] in number 0\."),
    ],
)
def test_empty_sentences_are_refused(sentences, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary.of(sentences)


@pytest.mark.parametrize("text", ["a text", ["a text"], [["a"], "b c"]])
def test_a_text_is_no_list_of_tokens(text):
    with pytest.raises(TypeError, match=r"Vocabulary\.of: every sentence .* must be a list .* the text '.*`tokenize`"):
        Vocabulary.of(text)
    with pytest.raises(TypeError, match=r"Vocabulary\.encode: `tokens` must be a list .* the text 'a b'.*`tokenize`"):
        Vocabulary.of(SENTENCES).encode("a b")


@pytest.mark.parametrize(("name", "size"), [("least", 0), ("most", 0), ("most", -1), ("least", 1.5)])
@pytest.mark.usefixtures("without_type_checks")
def test_sizes_below_one_are_refused(name, size):
    with pytest.raises(ValueError, match=rf"Vocabulary\.of: `{name}` must be a whole number .* got {size}\."):
        Vocabulary.of(SENTENCES, **{name: size})


@pytest.mark.parametrize("number", [-1, 9])
def test_a_number_out_of_range_is_refused(number):
    with pytest.raises(ValueError, match=rf"Vocabulary\.decode: `numbers` must lie between 0 and 8, got {number}\."):
        Vocabulary.of(SENTENCES).decode(np.array([0, number, 77]))


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("shape", [(), (2, 2)])
def test_numbers_not_in_one_row_are_refused(shape):
    with pytest.raises(ValueError, match=r"Vocabulary\.decode: `numbers` must be \(length,\), got shape"):
        Vocabulary.of(SENTENCES).decode(np.zeros(shape, int))


@pytest.mark.usefixtures("without_type_checks")
def test_reals_are_no_numbers_of_tokens():
    with pytest.raises(ValueError, match=r"Vocabulary\.decode: `numbers` must be whole numbers, got float64\."):
        Vocabulary.of(SENTENCES).decode(np.array([1.0]))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ((), r"must begin with <pad>, <unk>, <bos>, <eos>, got \(\)\. Build it with Vocabulary\.of"),
        (("a", *FIRST), r"got \('a', '<pad>', '<unk>', '<bos>'\)"),
        ((*FIRST, "a", "b", "b"), r"must be distinct and none of them empty, got 'b' 2 times"),
        ((*FIRST, "a", "<unk>"), r"got '<unk>' 2 times"),
        ((*FIRST, "a", ""), r"got '' 1 times"),
    ],
)
def test_what_is_no_vocabulary_is_refused(tokens, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(tokens)


def test_the_words_of_wikitext(directory):
    stream = wikitext2("validation", directory)
    counts = collections.Counter(stream)
    vocabulary = Vocabulary.of([stream], least=3, most=2_000)
    chosen = vocabulary.tokens[4:]
    assert len(chosen) == 2_000 and min(counts[token] for token in chosen) >= 3
    left_out = max(counts[token] for token in set(counts) - set(vocabulary.tokens))
    assert left_out <= min(counts[token] for token in chosen)
    numbers = vocabulary.encode(stream)
    known = sum(counts[token] for token in (*chosen, "<eos>"))
    assert (numbers != UNK).sum() == known and (numbers == EOS).sum() == 3_760
