"""What batches of every kind share: an epoch is counted in positions, and its order is drawn from a key."""

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxrnn.cell import is_size
from jaxrnn.tasks import Batch


@runtime_checkable
class Source(Protocol):
    """Batches as a pure function of a position: a run that resumes at a position sees what one never stopped sees."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def at(self, position: int) -> Batch:
        """The batch at a position >= 0, of epoch position // len, in NumPy."""
        ...


def batches(source: Source, epoch: int = 0) -> Iterator[Batch]:
    """All batches of an epoch, one after the other: every row or step once, as for an evaluation."""
    return (source.at(epoch * len(source) + index) for index in range(len(source)))


def check_sizes(source: object, **sizes: int) -> None:
    """Raises ValueError unless all are whole numbers of at least 1."""
    for name, size in sizes.items():
        if not is_size(size):
            raise ValueError(
                f"{type(source).__name__}: `{name}` must be a whole number of at least 1, got {size!r}. Give such one."
            )


def locate_in_epoch(source: Source, position: int) -> tuple[int, int]:
    """The epoch of a position, and the batch in it.

    Raises:
        ValueError: the position is below 0.
    """
    if position < 0:
        raise ValueError(
            f"{type(source).__name__}.at: `position` must be at least 0, got {position}. Count batches from the first."
        )
    return divmod(position, len(source))


def shuffle(key: PRNGKeyArray | None, epoch: int) -> Callable[[np.ndarray], np.ndarray]:
    """The function that shuffles arrays for an epoch, anew on each call; without a key, what leaves them as they are.

    NumPy's RandomState, whose values NumPy has frozen, is seeded with fold_in(key, epoch): the order of many rows takes
    it far less time than JAX on a CPU, and nothing is compiled for it.
    """
    if key is None:
        return lambda rows: rows
    return np.random.RandomState(np.asarray(jax.random.key_data(jax.random.fold_in(key, epoch)))).permutation


def rows_at(
    source: Source, position: int, count: int, batch: int, key: PRNGKeyArray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a batch, and which of them count; where no rows are left to fill it, it repeats some that do not."""
    epoch, index = locate_in_epoch(source, position)
    return filled(shuffle(key, epoch)(np.arange(count))[index * batch : (index + 1) * batch], batch)


def filled(rows: np.ndarray, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows repeated until they fill a batch, and which of them count."""
    return np.resize(rows, batch), np.arange(batch) < len(rows)
