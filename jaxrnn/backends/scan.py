"""One `lax.scan`, differentiated by JAX itself: the reference for every other backend."""

from dataclasses import dataclass

import jax
from jax import lax
from jaxtyping import PyTree

from jaxrnn.backends.base import Backend, Steps, finish, fresh_carry, join, project, restart
from jaxrnn.cell import Cell
from jaxrnn.numerics import carry_dtype, cast, cast_like, select


@dataclass(frozen=True)
class Scan(Backend):
    """Plain `lax.scan` and plain automatic differentiation: any cell, also forward mode and Hessians.

    `unroll`: steps per iteration of the loop. `checkpoint_every=k`: keep carries every k steps only and recompute
    the rest, projections too, in the backward pass; memory O(time / k + k) beyond inputs, outputs and gradients.
    Defaults: unroll 1, no checkpoints.

    Raises:
        ValueError: an option is below 1.
    """

    unroll: int = 1
    checkpoint_every: int | None = None

    def __post_init__(self):  # noqa: D105
        self._check_positive(unroll=self.unroll, checkpoint_every=self.checkpoint_every)

    def refuses(self, cell: Cell, xs: PyTree) -> str | None:
        """Never."""
        return None

    def run(self, cell: Cell, params, carry, steps: Steps, reverse: bool):
        """See Backend."""
        fresh, dtype = fresh_carry(cell, steps), steps.dtype
        # The loop sums a parameter's gradient in the parameter's dtype; 16-bit ones are narrowed inside it,
        # so that the sum over time is kept in float32.
        wide = cast(params, carry_dtype(dtype))

        def step(carry, inputs):
            u, active, reset = inputs
            before = restart(fresh, reset, carry)
            after, y = cell.step(cast_like(wide, params), before, u)
            return select(active, after, before), finish(y, active, dtype)

        def segment(carry, steps: Steps):
            us = project(cell, cast_like(wide, params), steps)
            return lax.scan(step, carry, (us, steps.acting, steps.resets), reverse=reverse, unroll=self.unroll)

        if self.checkpoint_every is None or steps.time <= self.checkpoint_every:
            return segment(carry, steps)
        pieces = steps.split(self.checkpoint_every)
        carry, ys = lax.scan(jax.checkpoint(segment, prevent_cse=False), carry, pieces, reverse=reverse)
        return carry, join(ys, steps.time)
