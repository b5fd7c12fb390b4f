"""Words, or tokens of any kind, as whole numbers and back."""

import collections
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Int32, Integer

from jaxrnn.cell import is_size
from jaxrnn.data.encodings import checked

# Padding is 0 because batches are padded with zeros.
PAD, UNK, BOS, EOS = range(4)
SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """A set of tokens, each a piece of text; a token's number is its place.

    The first four stand in every vocabulary: `PAD` = 0 fills up batches, `UNK` = 1 is read for all that is unknown,
    `BOS` = 2 and `EOS` = 3 begin and end a sequence.

    Fields:
        tokens: All tokens, `<pad>`, `<unk>`, `<bos>`, `<eos>` first.

    Raises:
        TypeError: they are no tuple.
        ValueError: the tokens do not begin with the four, are not distinct, or one is empty.

    Example:
        >>> vocabulary = Vocabulary.of([["the", "cat"], ["the", "dog"]])
        >>> vocabulary.tokens
        ('<pad>', '<unk>', '<bos>', '<eos>', 'the', 'cat', 'dog')
        >>> vocabulary.encode(["the", "cow", "<eos>"])
        array([4, 1, 3], dtype=int32)
        >>> vocabulary.decode(vocabulary.encode(["the", "cow"]))
        ['the', '<unk>']
    """

    tokens: tuple[str, ...]

    def __post_init__(self):  # noqa: D105
        if not isinstance(self.tokens, tuple):
            raise TypeError(
                f"Vocabulary: `tokens` must be a tuple, got a {type(self.tokens).__name__}. Give tuple(tokens), or "
                "build it with Vocabulary.of(sentences)."
            )
        if self.tokens[: len(SPECIALS)] != SPECIALS:
            raise ValueError(
                f"Vocabulary: `tokens` must begin with {', '.join(SPECIALS)}, got {self.tokens[: len(SPECIALS)]}. "
                "Build it with Vocabulary.of(sentences)."
            )
        if len(self._numbers) != self.size or "" in self:
            ((token, count),) = collections.Counter(self.tokens).most_common(1)
            raise ValueError(
                f"Vocabulary: `tokens` must be distinct and none of them empty, got {token if count > 1 else ''!r} "
                f"{count} times. Build it with Vocabulary.of(sentences)."
            )

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], least: int = 1, most: int | None = None) -> "Vocabulary":
        """The tokens of sentences, by falling count, tokens of one count in the order of their code points.

        A data set's own `<unk>` or `<eos>` is that of the first four, and is not counted.

        Args:
            sentences: Lists of tokens. One long list of tokens, such as `wikitext2` gives, comes as [tokens].
            least: Tokens that occur fewer times are left out.
            most: Only so many of the most frequent come in, the first four not counted. Default: all.

        Raises:
            TypeError: a sentence is a text, not a list of tokens.
            ValueError: there are no sentences, one has no token or an empty one, or a size is below 1.
        """
        for name, size in (("least", least), ("most", most)):
            if size is not None and not is_size(size):
                raise ValueError(
                    f"Vocabulary.of: `{name}` must be a whole number of at least 1, got {size!r}. Give such one."
                )
        counts: collections.Counter[str] = collections.Counter()
        place = -1
        for place, sentence in enumerate(sentences):
            _check_list("Vocabulary.of: every sentence of `sentences`", sentence)
            if not len(sentence) or "" in sentence:
                raise ValueError(
                    f"Vocabulary.of: every sentence of `sentences` must have a token, and none that is empty, got "
                    f"{list(sentence)[:8]} in number {place}. Leave empty lines and tokens out."
                )
            counts.update(sentence)
        if place < 0:
            raise ValueError("Vocabulary.of: `sentences` must be at least 1, got none. Give lists of tokens.")
        ranked = sorted(
            (token for token, count in counts.items() if count >= least and token not in SPECIALS),
            key=lambda token: (-counts[token], token),
        )
        return cls(SPECIALS + tuple(ranked[:most]))

    @property
    def size(self) -> int:
        """The number of tokens, the first four among them."""
        return len(self.tokens)

    def encode(self, tokens: Sequence[str]) -> Int32[np.ndarray, " length"]:
        """The numbers of tokens: `UNK` for each that is not in the vocabulary.

        Raises:
            TypeError: a text was given, not a list of tokens.
        """
        _check_list("Vocabulary.encode: `tokens`", tokens)
        return np.array([self._numbers.get(token, UNK) for token in tokens], np.int32)

    def decode(self, numbers: Integer[Array | np.ndarray, " length"]) -> list[str]:
        """The tokens of numbers.

        Raises:
            ValueError: they are not in one row, or a number is no whole one, below 0 or not below `size`.
        """
        if np.ndim(numbers) != 1:
            raise ValueError(
                f"Vocabulary.decode: `numbers` must be (length,), got shape {np.shape(numbers)}. Decode row by row."
            )
        numbers = checked("Vocabulary.decode: `numbers`", numbers, self.size, "Give numbers of this vocabulary.")
        return [self.tokens[number] for number in numbers]

    def __contains__(self, token: object) -> bool:
        """Whether a token has a number of its own."""
        return token in self._numbers

    def __repr__(self) -> str:
        """The size, and not all of so many tokens."""
        return f"<Vocabulary of {self.size} tokens>"

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}


def _check_list(what: str, tokens: object) -> None:
    """Raises TypeError for a text, which is a sequence of characters to Python and would pass as tokens."""
    if isinstance(tokens, str):
        raise TypeError(
            f"{what} must be a list of tokens, got the text {tokens[:40]!r}. Split a text with `tokenize`, and give "
            "one list of tokens as [tokens] where sentences are asked for."
        )
