"""Batches of rows: each row is a sequence, or becomes one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import PRNGKeyArray, Shaped

from jaxrnn.data.positions import check_fits_int32, check_key, check_sizes, int32_if_whole, rows_at
from jaxrnn.tasks import Batch


@dataclass(frozen=True, eq=False)
class Shuffled:
    """Batches of the rows of arrays, in a new order each epoch, every row once an epoch.

    The last batch of an epoch is filled up with rows of its own that the mask leaves out, so that there is one shape.

    Fields:
        arrays: Arrays of as many rows, such as images and labels.
        make: The batch of some rows of each: called with one array for each of `arrays`.
        batch: Rows in a batch.
        key: Decides the orders, one for each epoch. Default None: the order of the rows, always, as for an evaluation.

    Raises:
        ValueError: there are no rows, or not as many in each array, `batch` is below 1, or `key` is no single key.

    Example:
        >>> import jax
        >>> from jaxrnn.data.mnist import pixel_sequences
        >>> images, labels = np.zeros((10, 28, 28), np.uint8), np.arange(10)
        >>> def make(images, labels):
        ...     return many_to_one(pixel_sequences(images), labels)
        >>> source = Shuffled((images, labels), make, batch=4, key=jax.random.key(0))
        >>> len(source), source.at(0).inputs.shape, source.at(2).mask[-1].tolist()
        (3, (784, 4, 1), [True, True, False, False])
    """

    arrays: tuple[np.ndarray, ...]
    make: Callable[..., Batch]
    batch: int
    key: PRNGKeyArray | None = None

    def __post_init__(self):  # noqa: D105
        check_sizes(self, batch=self.batch)
        check_key(self, self.key)
        counts = [len(array) for array in self.arrays]
        if not counts or min(counts) == 0 or min(counts) != max(counts):
            raise ValueError(
                f"Shuffled: `arrays` must be arrays with as many rows each, at least 1, got {counts} rows. "
                "Give one row of each array for each example."
            )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.arrays[0]) // self.batch)

    def at(self, position: int) -> Batch:
        """The batch at a position >= 0, a pure function of it."""
        rows, counted = rows_at(self, position, len(self.arrays[0]), self.batch, self.key)
        made = self.make(*(array[rows] for array in self.arrays))
        return made._replace(mask=made.mask & counted)


def many_to_one(
    inputs: Shaped[np.ndarray, "time batch *features"], targets: Shaped[np.ndarray, "batch *output"]
) -> Batch:
    """One target for each whole sequence, scored at its last step. Classes come as int32.

    Raises:
        ValueError: a class does not fit into int32.

    Example:
        >>> many_to_one(np.zeros((3, 2, 1), np.float32), np.array([7, 9])).mask.tolist()
        [[False, False], [False, False], [True, True]]
    """
    mask = np.zeros(inputs.shape[:2], bool)
    mask[-1] = True
    check_fits_int32("many_to_one: `targets`", targets)
    return Batch(inputs, int32_if_whole(targets), mask)
