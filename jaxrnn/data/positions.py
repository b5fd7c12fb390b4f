"""What batches of every kind share: an epoch is counted in positions, and its order is drawn from a key."""

import functools
import operator
from collections.abc import Iterator
from typing import Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxrnn.cell import is_size

Made = TypeVar("Made")
Makes = TypeVar("Makes", covariant=True)


@runtime_checkable
class Source(Protocol[Makes]):
    """Batches as a pure function of a position: a run that resumes at a position sees what one never stopped sees.

    Most make a `Batch`; `Source[Batch]` says so.
    """

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def at(self, position: int) -> Makes:
        """The batch at a position >= 0, of epoch position // len, in NumPy."""
        ...


def batches(source: Source[Made], epoch: int = 0) -> Iterator[Made]:
    """All batches of an epoch, one after the other: every row or step once, as for an evaluation."""
    return (source.at(epoch * len(source) + index) for index in range(len(source)))


def check_sizes(source: object, **sizes: int) -> None:
    """Raises ValueError unless all are whole numbers of at least 1."""
    for name, size in sizes.items():
        if not is_size(size):
            raise ValueError(
                f"{type(source).__name__}: `{name}` must be a whole number of at least 1, got {size!r}. Give such one."
            )


def check_key(source: object, key: PRNGKeyArray | None) -> None:
    """Raises ValueError unless the key is a single one, of the newer or the older form, or None."""
    try:
        if key is not None:
            jax.random.fold_in(key, 0)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{type(source).__name__}: `key` must be a single key or None: {error}. Give jax.random.key(seed)."
        ) from error


def check_fits_int32(name: str, values: np.ndarray) -> None:
    """Raises ValueError where whole numbers are too large for `int32_if_whole`; `name` says whose they are."""
    if np.issubdtype(values.dtype, np.integer) and not np.can_cast(values.dtype, np.int32):
        limits = np.iinfo(np.int32)
        outside = values[(values < limits.min) | (values > limits.max)]
        if outside.size:
            raise ValueError(f"{name} must fit into int32, got {outside[0]}. Number classes and tokens from 0.")


def int32_if_whole(values: np.ndarray) -> np.ndarray:
    """Whole numbers, such as classes and tokens, as int32; all else as it is."""
    return values.astype(np.int32) if np.issubdtype(values.dtype, np.integer) else values


def locate_in_epoch(source: Source, position: int) -> tuple[int, int]:
    """The epoch of a position, and the batch in it.

    Raises:
        ValueError: the position is no whole number of at least 0.
    """
    try:
        whole = operator.index(position)
    except TypeError:
        whole = -1
    if whole < 0:
        raise ValueError(
            f"{type(source).__name__}.at: `position` must be a whole number of at least 0, got {position!r}. "
            "Count batches from the first."
        )
    return divmod(whole, len(source))


def orders(key: PRNGKeyArray | None, epoch: int, *counts: int) -> tuple[np.ndarray, ...]:
    """The orders of so many things each in an epoch, drawn one after the other; without a key, each as it is.

    NumPy's RandomState, whose values NumPy has frozen, is seeded with fold_in(key, epoch): the order of many rows takes
    it far less time than JAX on a CPU, and nothing is compiled for it. The last epoch's orders are kept, for the next
    batch of it.
    """
    if key is None:
        return tuple(map(np.arange, counts))
    return _drawn(np.asarray(jax.random.key_data(jax.random.fold_in(key, epoch))).tobytes(), counts)


@functools.lru_cache(maxsize=1)
def _drawn(seed: bytes, counts: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    generator = np.random.RandomState(np.frombuffer(seed, np.uint32))
    drawn = tuple(generator.permutation(count) for count in counts)
    for order in drawn:
        order.setflags(write=False)  # all batches of an epoch read the same one
    return drawn


def rows_at(
    source: Source, position: int, count: int, batch: int, key: PRNGKeyArray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a batch, and which of them count; where no rows are left to fill it, it repeats some that do not."""
    epoch, index = locate_in_epoch(source, position)
    (order,) = orders(key, epoch, count)
    return filled(order[index * batch : (index + 1) * batch], batch)


def filled(rows: np.ndarray, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows repeated until they fill a batch, and which of them count."""
    return np.resize(rows, batch), np.arange(batch) < len(rows)
