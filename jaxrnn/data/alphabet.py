"""Characters as whole numbers and back."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Int32, Integer

from jaxrnn.data.encodings import checked


@dataclass(frozen=True)
class Alphabet:
    """A set of characters, in the order of their code points; a token is a character's place in it.

    Raises:
        ValueError: the characters are none, or not distinct and sorted.

    Example:
        >>> alphabet = Alphabet.of("hello")
        >>> alphabet
        Alphabet(characters='ehlo')
        >>> alphabet.encode("hole")
        array([1, 3, 2, 0], dtype=int32)
        >>> alphabet.decode(alphabet.encode("hole"))
        'hole'
    """

    characters: str

    def __post_init__(self):  # noqa: D105
        if not self.characters or list(self.characters) != sorted(set(self.characters)):
            raise ValueError(
                f"Alphabet: `characters` must be distinct and sorted, at least one, got {self.characters!r}. "
                "Build it with Alphabet.of(text)."
            )

    @classmethod
    def of(cls, text: str) -> "Alphabet":
        """The characters of a text."""
        return cls("".join(sorted(set(text))))

    @property
    def size(self) -> int:
        """The number of characters."""
        return len(self.characters)

    def encode(self, text: str) -> Int32[np.ndarray, " length"]:
        """The tokens of a text.

        Raises:
            ValueError: a character of it is not in the alphabet.
        """
        known, codes = _code_points(self.characters), _code_points(text)
        tokens = np.minimum(np.searchsorted(known, codes), self.size - 1)
        unknown = np.flatnonzero(known[tokens] != codes)
        if unknown.size:
            place = int(unknown[0])
            raise ValueError(
                f"Alphabet.encode: `text` holds {text[place]!r} at position {place}, which is none of the {self.size} "
                "characters. Build the alphabet of all the text with Alphabet.of, or leave the character out."
            )
        return tokens.astype(np.int32)

    def decode(self, tokens: Integer[Array | np.ndarray, " length"]) -> str:
        """The text of tokens.

        Raises:
            ValueError: a token is below 0, or not below `size`.
        """
        tokens = checked("Alphabet.decode: `tokens`", tokens, self.size, "Give tokens of this alphabet.")
        return "".join(self.characters[token] for token in tokens)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
