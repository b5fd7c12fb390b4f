"""Linear cells in parallel over time, by an associative scan whose gradient is the same scan reversed."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Inexact, PyTree

from jaxrnn.backends.base import Backend, Steps
from jaxrnn.backends.linear import run_linear, with_adjoint
from jaxrnn.cell import Cell, LinearCell
from jaxrnn.numerics import select


def _compose(earlier, later):
    """The map h -> a h + b of two stretches; behind a reset, nothing of the earlier one is read, NaN neither."""
    (a1, b1, reset1), (a2, b2, reset2) = earlier, later
    if reset2 is None:
        return a2 * a1, a2 * b1 + b2, None
    return select(reset2, a2, a2 * a1), a2 * select(reset2, jnp.zeros_like(b1), b1) + b2, reset1 | reset2


def _linear_scan(
    a: Inexact[Array, "time ..."],
    b: Inexact[Array, "time ..."],
    h0: Inexact[Array, "..."],
    resets: Bool[Array, "time ..."] | None,
    reverse: bool,
) -> Inexact[Array, "time ..."]:
    """All h_t = a_t * h_{t-1} + b_t in O(log time) depth; where `resets` holds, h_{t-1} counts as zero."""
    if a.shape[0] == 0:
        return b
    first = -1 if reverse else 0
    start = h0 if resets is None else select(resets[first], jnp.zeros_like(h0), h0)
    b = b.at[first].add(a[first] * start)
    return lax.associative_scan(_compose, (a, b, resets), reverse=reverse)[1]


parallel_scan = with_adjoint(_linear_scan)


def _spread_scan(a, b, h0, resets, reverse: bool):
    return parallel_scan(jnp.broadcast_to(a, b.shape), b, h0, resets, reverse)


@dataclass(frozen=True)
class Associative(Backend):
    """A parallel scan over time for linear cells, in O(log time) depth, with the gradient of an exact adjoint.

    Reverse mode to any order; forward mode needs Scan().
    """

    def refuses(self, cell: Cell, xs: PyTree) -> str | None:
        """Refuses cells that are not linear in their carry."""
        if isinstance(cell, LinearCell):
            return None
        return f"{type(cell).__name__} is not a LinearCell: its step is not linear in the carry"

    def run(self, cell: Cell, params, carry, steps: Steps, reverse: bool):
        """See Backend."""
        assert isinstance(cell, LinearCell)
        return run_linear(cell, params, carry, steps, reverse, _spread_scan)
