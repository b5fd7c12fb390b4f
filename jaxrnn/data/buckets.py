"""Batches of sequences of different lengths, grouped so that little is padded and few shapes are compiled."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, Shaped

from jaxrnn.data.groups import Groups, padded
from jaxrnn.data.positions import check_fits_int32, check_key, check_sizes, int32_if_whole
from jaxrnn.tasks import Batch

Rows = Sequence[Shaped[np.ndarray, "_ ..."]]


@dataclass(frozen=True, eq=False)
class Buckets:
    """Batches of sequences of similar length, every sequence once an epoch.

    Sorted by length, the sequences are cut into `buckets` groups of as many each. A batch comes from one group and is
    padded with zeros to the group's longest, so there are at most `buckets` shapes. Sequences within a group and the
    batches of all groups come in a new order each epoch. A group's last batch is filled up with sequences of its own
    that the mask leaves out.

    Shapes: inputs (time, batch, *features); targets and mask by the kind of `targets`:
        a list of sequences    (time, batch, *output), scored at all steps of a sequence
        one array, a row each  (batch, *output), scored at a sequence's last step
    Either way `lengths(mask)` gives the lengths for `jaxrnn.unroll`, 0 where the mask leaves a sequence out.

    Fields:
        inputs: The sequences (time, *features), arrays that differ in their length alone.
        targets: For each sequence either a sequence as long, arrays too that differ in their length alone; or a label
            or vector, all in one array (NumPy's, JAX's or any other with a dtype). Whole numbers come as int32.
        batch: Sequences in a batch.
        key: Decides the orders, one for each epoch. Default None: always that of the lengths, as for an evaluation.
        buckets: Groups. Default: 4.

    Raises:
        ValueError: there are no sequences, one of length 0, one whose dtype or features differ, one whose target has
            another length, not as many targets, a class that does not fit into int32, a size below 1, or `key` is no
            single key.

    Example:
        >>> rolls = [np.ones((length, 88), np.float32) for length in (5, 9, 6, 12)]
        >>> source = Buckets(*next_step(rolls), batch=2, buckets=2)
        >>> [batch.inputs.shape for batch in (source.at(0), source.at(1))]
        [(5, 2, 88), (11, 2, 88)]
        >>> lengths(source.at(1).mask).tolist()
        [8, 11]
    """

    inputs: Rows
    targets: Rows | Shaped[Array | np.ndarray, "count *output"]
    batch: int
    key: PRNGKeyArray | None = None
    buckets: int = 4

    def __post_init__(self):  # noqa: D105
        check_sizes(self, batch=self.batch, buckets=self.buckets)
        check_key(self, self.key)
        if not len(self.inputs) or len(self.targets) != len(self.inputs):
            raise ValueError(
                f"Buckets: `inputs` and `targets` must be as many, at least 1, got {len(self.inputs)} and "
                f"{len(self.targets)}. Give one target, or one sequence of targets, for each sequence."
            )
        _check_alike("inputs", self.inputs)
        if not self._one_each:
            _check_alike("targets", self.targets)
        for targets in [self.targets] if self._one_each else self.targets:
            check_fits_int32("Buckets: `targets`", np.asarray(targets))
        for place, length in enumerate(self._lengths):
            if length == 0:
                raise ValueError(
                    f"Buckets: every sequence of `inputs` must have a step, got none in number {place}. Leave it out."
                )
            if not self._one_each and len(self.targets[place]) != length:
                raise ValueError(
                    f"Buckets: `targets` must be as long as their sequences, got {len(self.targets[place])} steps for "
                    f"the {length} of number {place}. For one target a sequence, give them all in one array."
                )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._groups)

    def at(self, position: int) -> Batch:
        """The batch at a position >= 0, a pure function of it."""
        rows, members, counted = self._groups.at(self, position)
        ends = self._lengths[rows]
        time = int(self._lengths[members].max())
        steps = np.arange(time)[:, None]
        if self._one_each:
            targets, scored = np.asarray(self.targets)[rows], steps == ends - 1
        else:
            targets, scored = padded([np.asarray(self.targets[row]) for row in rows], time), steps < ends
        inputs = padded([self.inputs[row] for row in rows], time)
        return Batch(inputs, int32_if_whole(targets), scored & counted)

    @property
    def _one_each(self) -> bool:
        """Whether there is one target for each sequence, in one array."""
        return hasattr(self.targets, "dtype")

    @functools.cached_property
    def _lengths(self) -> np.ndarray:
        return np.array([len(sequence) for sequence in self.inputs])

    @functools.cached_property
    def _groups(self) -> Groups:
        return Groups(np.argsort(self._lengths, kind="stable"), self.batch, self.key, self.buckets)


def next_step(sequences: Rows) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Inputs and targets for telling each next step: all steps but the last, and all but the first."""
    return [sequence[:-1] for sequence in sequences], [sequence[1:] for sequence in sequences]


def lengths(mask: Bool[Array | np.ndarray, "time batch"]) -> Int[Array, " batch"]:
    """The steps up to the last at which the mask holds, int32; 0 where it nowhere does. It can be compiled.

    Example:
        >>> lengths(np.array([[False, True, False], [True, True, False], [False, True, False]])).tolist()
        [2, 3, 0]
    """
    steps = jnp.arange(1, mask.shape[0] + 1, dtype=jnp.int32)[:, None]
    return jnp.max(jnp.where(mask, steps, 0), axis=0)


def _check_alike(name: str, sequences) -> None:
    """Raises ValueError at the first that is no array over time, or differs from number 0 in more than its length."""
    for place, sequence in enumerate(sequences):
        if not getattr(sequence, "ndim", 0):
            raise ValueError(
                f"Buckets: number {place} of `{name}` must be an array (time, ...), got {type(sequence).__name__}. "
                "Make an array of each sequence; for one target a sequence, give all targets in one array."
            )
        got, first = ((str(s.dtype), *s.shape[1:]) for s in (sequence, sequences[0]))
        if got != first:
            raise ValueError(
                f"Buckets: `{name}` must have one dtype and the same features, got {got} in number {place} after "
                f"{first} in number 0. Bring them to one form first."
            )
