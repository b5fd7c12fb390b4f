import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.data import Alphabet


@pytest.mark.parametrize("text", ["hello", "Grüße, 世界 🎼\r\n\0", "aaa", "\ud800 alone"])
def test_what_was_encoded_is_decoded(text):
    alphabet = Alphabet.of(text)
    tokens = alphabet.encode(text)
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [sorted(set(text)).index(character) for character in text]
    assert alphabet.decode(tokens) == text == alphabet.decode(jnp.asarray(tokens))
    assert alphabet.size == len(set(text))


def test_the_empty_text_has_no_tokens():
    assert Alphabet("ab").encode("").shape == (0,)
    assert Alphabet("ab").decode(np.zeros(0, np.int32)) == ""


def test_equal_alphabets_are_equal():
    assert Alphabet.of("banana") == Alphabet("abn") and hash(Alphabet.of("nab")) == hash(Alphabet("abn"))


@pytest.mark.parametrize("unknown", ["!", "c", "z", "世"])
def test_an_unknown_character_is_named(unknown):
    with pytest.raises(
        ValueError, match=rf"`text` holds '{unknown}' at position 2, which is none of the 4.*Alphabet\.of"
    ):
        Alphabet("bdfh").encode(f"fb{unknown}d")


@pytest.mark.parametrize("token", [-1, 4])
def test_an_unknown_token_is_named(token):
    with pytest.raises(ValueError, match=rf"`tokens` must lie between 0 and 3, got {token}\."):
        Alphabet("bdfh").decode(np.array([0, token, 9]))


@pytest.mark.parametrize("characters", ["", "ba", "aa"])
def test_what_is_no_alphabet_is_refused(characters):
    with pytest.raises(
        ValueError, match=rf"`characters` must be distinct and sorted.*got '{characters}'.*Alphabet\.of"
    ):
        Alphabet(characters)
