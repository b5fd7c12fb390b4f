"""What batches of sequences of different lengths share: groups of similar length, and padding."""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, PRNGKeyArray, Shaped

from jaxrnn.data.positions import Source, filled, locate_in_epoch, orders


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows, sorted by length, in groups of as many each; every batch comes from one group.

    Rows within a group and the batches of all groups come in a new order each epoch, or without a key as they are.

    Fields:
        by_length: All rows, those of similar length side by side.
        batch: Rows in a batch.
        key: Decides the orders, one for each epoch.
        buckets: Groups, less where there are not as many rows.
    """

    by_length: Int[np.ndarray, " count"]
    batch: int
    key: PRNGKeyArray | None
    buckets: int

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._slots)

    def at(
        self, source: Source, position: int
    ) -> tuple[Int[np.ndarray, " batch"], Int[np.ndarray, " members"], np.ndarray]:
        """The rows of a batch, all rows of their group, and which rows of the batch count: the others fill it up."""
        epoch, index = locate_in_epoch(source, position)
        slots, *ranks = orders(self.key, epoch, len(self._slots), *map(len, self._groups))
        group, part = self._slots[slots[index]]
        members = self._groups[group][ranks[group]]
        rows, counted = filled(members[part * self.batch : (part + 1) * self.batch], self.batch)
        return rows, members, counted

    @functools.cached_property
    def _groups(self) -> list[np.ndarray]:
        return [group for group in np.array_split(self.by_length, self.buckets) if group.size]

    @functools.cached_property
    def _slots(self) -> np.ndarray:
        """The batches of an epoch (count, 2): the group, and which of its batches."""
        counts = [-(-len(group) // self.batch) for group in self._groups]
        return np.array([(group, part) for group, count in enumerate(counts) for part in range(count)])


def padded(sequences: list[Shaped[np.ndarray, "_ ..."]], time: int) -> Shaped[np.ndarray, "time batch ..."]:
    """Sequences side by side (time, batch, ...), zeros after their ends."""
    made = np.zeros((time, len(sequences), *sequences[0].shape[1:]), sequences[0].dtype)
    for row, sequence in enumerate(sequences):
        made[: len(sequence), row] = sequence
    return made
