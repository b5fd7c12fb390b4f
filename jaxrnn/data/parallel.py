"""Batches of pairs of sequences, such as sentences and their translations, grouped so that little is padded."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Integer, PRNGKeyArray

from jaxrnn.data.groups import Groups, padded
from jaxrnn.data.positions import check_fits_int32, check_key, check_sizes

Sentences = Sequence[Integer[np.ndarray, " _"]]


class ParallelBatch(NamedTuple):
    """Sequences and those that belong to them, in their tokens; zeros (`PAD`) after the ends.

    A length of 0 marks a column that only fills up the batch: it counts for nothing.
    """

    sources: Int32[np.ndarray, "source_time batch"]
    source_lengths: Int32[np.ndarray, " batch"]
    targets: Int32[np.ndarray, "target_time batch"]
    target_lengths: Int32[np.ndarray, " batch"]


@dataclass(frozen=True, eq=False)
class ParallelText:
    """Batches of pairs of token sequences of similar lengths, every pair once an epoch.

    Sorted by the length of the longer side and then of the source, the pairs are cut into `buckets` groups of as many
    each. A batch comes from one group, and either side of it is padded to the group's longest, so there are at most
    `buckets` shapes. Pairs within a group and the batches of all groups come in a new order each epoch. A group's last
    batch is filled up with pairs of its own, whose lengths are told as 0 on both sides.

    Fields:
        sources: The sequences read, arrays of tokens (length,) of any length from 1.
        targets: The sequences to be told, one for each source.
        batch: Pairs in a batch.
        key: Decides the orders, one for each epoch. Default None: always that of the lengths, as for an evaluation.
        buckets: Groups. Default: 4.

    Raises:
        ValueError: there are no pairs, not as many targets as sources, a sequence that is no array of whole numbers,
            one without tokens, a token that does not fit into int32, a size below 1, or `key` is no single key.

    Example:
        >>> sources = [np.arange(4, 4 + length) for length in (3, 1, 2)]
        >>> targets = [np.arange(4, 4 + length) for length in (2, 2, 4)]
        >>> source = ParallelText(sources, targets, batch=2, buckets=1)
        >>> source.at(0).sources.T.tolist(), source.at(0).targets.T.tolist()
        ([[4, 0, 0], [4, 5, 6]], [[4, 5, 0, 0], [4, 5, 0, 0]])
        >>> source.at(1).source_lengths.tolist(), source.at(1).target_lengths.tolist()
        ([2, 0], [4, 0])
    """

    sources: Sentences
    targets: Sentences
    batch: int
    key: PRNGKeyArray | None = None
    buckets: int = 4

    def __post_init__(self):  # noqa: D105
        check_sizes(self, batch=self.batch, buckets=self.buckets)
        check_key(self, self.key)
        if not len(self.sources) or len(self.targets) != len(self.sources):
            raise ValueError(
                f"ParallelText: `sources` and `targets` must be as many, at least 1, got {len(self.sources)} and "
                f"{len(self.targets)}. Give one target for each source."
            )
        for name, sequences in (("sources", self.sources), ("targets", self.targets)):
            for place, sequence in enumerate(sequences):
                _check_tokens(name, place, sequence)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._groups)

    def at(self, position: int) -> ParallelBatch:
        """The batch at a position >= 0, a pure function of it."""
        rows, members, counted = self._groups.at(self, position)
        sources, source_lengths = _side(self.sources, self._source_lengths, rows, members)
        targets, target_lengths = _side(self.targets, self._target_lengths, rows, members)
        return ParallelBatch(sources, source_lengths * counted, targets, target_lengths * counted)

    @functools.cached_property
    def _source_lengths(self) -> np.ndarray:
        return np.array([len(sequence) for sequence in self.sources], np.int32)

    @functools.cached_property
    def _target_lengths(self) -> np.ndarray:
        return np.array([len(sequence) for sequence in self.targets], np.int32)

    @functools.cached_property
    def _groups(self) -> Groups:
        longer = np.maximum(self._source_lengths, self._target_lengths)
        by_length = np.lexsort((self._source_lengths, longer))  # the last key is the first to sort by
        return Groups(by_length, self.batch, self.key, self.buckets)


def _side(
    sequences: Sentences, lengths: np.ndarray, rows: np.ndarray, members: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One side of a batch, padded to the longest of its group, and the lengths."""
    chosen = [np.asarray(sequences[row], np.int32) for row in rows]
    return padded(chosen, int(lengths[members].max())), lengths[rows]


def _check_tokens(name: str, place: int, sequence: object) -> None:
    if not (isinstance(sequence, np.ndarray) and sequence.ndim == 1 and np.issubdtype(sequence.dtype, np.integer)):
        got = type(sequence).__name__
        if isinstance(sequence, np.ndarray):
            got = f"{sequence.dtype} of shape {sequence.shape}"
        raise ValueError(
            f"ParallelText: number {place} of `{name}` must be a NumPy array of whole numbers (length,), got {got}. "
            "Encode its tokens with Vocabulary.encode."
        )
    if not len(sequence):
        raise ValueError(
            f"ParallelText: every sequence of `{name}` must have a token, got none in number {place}: an empty line. "
            "Leave the pair out."
        )
    check_fits_int32(f"ParallelText: `{name}`", sequence)
