"""What a backend is, and the pieces that all of them share: which steps act, projection, restart, output."""

import abc
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from jaxrnn.cell import Cell, is_size
from jaxrnn.numerics import carry_dtype, cast, select, zero_unless


class Steps(NamedTuple):
    """A sequence and what acts in it; every leaf has time as its first axis.

    `active` (time, *batch): False leaves the carry as it is, and the input is taken as zero; None for True everywhere.
    `resets` (time, *batch): the carry starts afresh before this step, in the order of the run; None for never.
    `fill` (time,): steps that only fill a piece up and do not act; None for no such step.
    """

    xs: PyTree
    active: Bool[Array, "time *batch"] | None = None
    resets: Bool[Array, "time *batch"] | None = None
    fill: Bool[Array, " time"] | None = None

    @property
    def time(self) -> int:
        """Number of steps."""
        return jax.tree.leaves(self.xs)[0].shape[0]

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of the inputs, and so of the outputs."""
        return jax.tree.leaves(self.xs)[0].dtype

    @property
    def acting(self) -> Bool[Array, "time ..."] | None:
        """Which steps act: active ones that are not there to fill; None for all."""
        if self.fill is None:
            return self.active
        real = ~self.fill
        return real if self.active is None else select(real, self.active, jnp.zeros((), bool))

    def split(self, length: int) -> "Steps":
        """Balanced pieces of at most `length` steps, (pieces, steps, ...).

        What the last one lacks is filled with copies of the last step, not with zeros: the derivative of a cell at
        an input that never was could be infinite.
        """
        pieces, steps_each = balanced(self.time, length)
        missing = pieces * steps_each - self.time

        def pad(x, **how):
            return jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1), **how) if missing else x

        fill = jnp.zeros(self.time, bool) if missing and self.fill is None else self.fill
        steps = Steps(
            xs=jax.tree.map(lambda x: pad(x, mode="edge"), self.xs),
            active=None if self.active is None else pad(self.active, mode="edge"),
            resets=None if self.resets is None else pad(self.resets),
            fill=None if fill is None else pad(fill, constant_values=True),
        )
        return jax.tree.map(lambda x: x.reshape(pieces, steps_each, *x.shape[1:]), steps)


def balanced(time: int, length: int) -> tuple[int, int]:
    """Into how many pieces of at most `length` steps `Steps.split` cuts, and how many steps each has."""
    pieces = max(-(-time // length), 1)
    return pieces, -(-time // pieces)


def join(tree: PyTree, time: int) -> PyTree:
    """Undoes Steps.split: (pieces, steps, ...) to (time, ...)."""
    return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])[:time], tree)


def project(cell: Cell, params, steps: Steps) -> PyTree:
    """The projections in the carry's precision, inputs at inactive steps taken as zero."""
    return cast(cell.project(params, zero_unless(steps.active, steps.xs)), carry_dtype(steps.dtype))


def fresh_carry(cell: Cell, steps: Steps) -> PyTree:
    """The carry that a reset starts from, without batch axes: batch entries start alike."""
    return cell.init_carry((), carry_dtype(steps.dtype))


def restart(fresh, resets, carry) -> PyTree:
    """The fresh carry where `resets` holds, the given one elsewhere."""
    return carry if resets is None else select(resets, fresh, carry)


def finish(ys: PyTree, active, dtype) -> PyTree:
    """Outputs in the dtype of the inputs, zero where nothing acts."""
    return cast(zero_unless(active, ys), dtype)


@dataclasses.dataclass(frozen=True)
class Backend(abc.ABC):
    """A way to run a recurrence over a sequence, with its options. Equal backends hash equal: no retrace."""

    def __new__(cls, *args: Any, **options: Any):
        """Names the options there are when an unknown one is given; Python's own message names none."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name, value in options.items():
            if name not in known:
                raise TypeError(
                    f"{cls.__name__}: unknown option `{name}`={value!r}. Options: {', '.join(known) or 'none'}."
                )
        return super().__new__(cls)

    def _check_positive(self, **values: int | None) -> None:
        for name, value in values.items():
            if value is not None and not is_size(value):
                raise ValueError(
                    f"{type(self).__name__}: `{name}` must be a whole number of at least 1, got {value!r}."
                )

    @abc.abstractmethod
    def refuses(self, cell: Cell, xs: PyTree) -> str | None:
        """Why this backend cannot run this cell on such inputs, in words; None if it can."""

    def refuses_flags(self, mask: bool, resets: bool) -> str | None:
        """Why this backend cannot run with a mask or with resets, where such are given; None if it can."""
        return None

    def sized(self, cell: Cell, xs: PyTree) -> "Backend":
        """The same backend with every option that was left open chosen by the sizes of cell and inputs."""
        return self

    @abc.abstractmethod
    def run(self, cell: Cell, params, carry, steps: Steps, reverse: bool) -> tuple[Any, Any]:
        """The recurrence over all steps: (last carry, outputs)."""
