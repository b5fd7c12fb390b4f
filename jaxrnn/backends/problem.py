"""What the plan of a kernel for a gated cell depends on, and which cells and shapes there is none for."""

import jax
import jax.numpy as jnp

from jaxrnn.backends.base import Steps, project
from jaxrnn.backends.chunk import read_as_sum
from jaxrnn.backends.meeting import are_units_apart, check_sequences_apart
from jaxrnn.backends.shared import Weights, has_plain_output
from jaxrnn.cell import GatedCell, recurrent_product
from jaxrnn.errors import UnsupportedBackend
from jaxrnn.kernels.chips import Chip
from jaxrnn.kernels.grid import LANES, round_up
from jaxrnn.kernels.plan import UNITS, Problem

_ROWS = 7919  # sequences of a tile whose equations are read: a prime, as no other axis should be as long


def problem_of(chip: Chip, cell: GatedCell, weights: Weights, carry, steps: Steps) -> Problem:
    """What the plan of a kernel depends on; UnsupportedBackend where no kernel is for such shapes."""
    name, hidden, batch = type(cell).__name__, cell.hidden_size, carry.h.shape[:-1]
    first = jax.tree.map(lambda x: x[0], steps)
    u = jax.eval_shape(lambda params, step: project(cell, params, step), weights.params, first)
    v = jax.eval_shape(lambda h, recurrent: recurrent_product(h, recurrent, cell.gates), carry.h, weights.recurrent)
    extras = jax.tree.leaves(u[cell.gates :])
    for what, leaves in {"the carry": jax.tree.leaves(carry), "u": jax.tree.leaves(u)}.items():
        for leaf in leaves:
            if leaf.shape != (*batch, hidden) or not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise UnsupportedBackend(
                    f"its kernels take {what} of {name} as real arrays (*batch, hidden), and one is {leaf.dtype} "
                    f"{leaf.shape} for a batch {batch} and {hidden} units"
                )
    for leaf in jax.tree.leaves(weights.pointwise):
        if leaf.shape not in ((), (1,), (hidden,), (*batch, hidden)):
            raise UnsupportedBackend(
                f"its kernels take pointwise parameters of {name} as (hidden,), (*batch, hidden) or one number, "
                f"and one is {leaf.shape}"
            )
    check_sequences_apart(cell.update, *_seen_by_update(hidden, hidden, weights.pointwise, carry, u, v))
    width = hidden
    if chip.platform == "cuda":
        part = weights.recurrent.shape[-2]
        if not are_units_apart(cell.update, *_seen_by_update(part, hidden, weights.pointwise, carry, u, v)):
            raise UnsupportedBackend(
                f"its kernels for GPUs take an update unit by unit, and in that of {name} units meet or are counted"
            )
        width = round_up(part, UNITS)
    elif weights.recurrent.ndim == 3:
        part = _width(weights.recurrent.shape[1], hidden)
        if are_units_apart(cell.update, *_seen_by_update(part, hidden, weights.pointwise, carry, u, v)):
            width = part
    own = sum(leaf.ndim > 1 for leaf in jax.tree.leaves(weights.pointwise))
    return Problem(
        time=steps.time,
        batch=carry.h.size // hidden,
        width=width,
        gates=cell.gates,
        apart=cell.gates - sum(read_as_sum(cell, weights, carry, steps)),
        extras=len(extras),
        carries=len(jax.tree.leaves(carry)),
        outputs=1 if has_plain_output(cell, carry) else len(jax.tree.leaves(carry)),
        pointwise=len(jax.tree.leaves(weights.pointwise)) - own,
        own_pointwise=own,
        itemsize=steps.dtype.itemsize,
    )


def _seen_by_update(width: int, hidden: int, *arguments) -> list:
    """Shapes of what `update` is given for a tile of sequences, as many as no other axis is long, and some units."""
    rows = _ROWS if hidden != _ROWS else _ROWS + 1

    def leaf(x):
        shape = (rows, width) if x.ndim > 1 else x.shape
        return jax.ShapeDtypeStruct((width,) if shape == (hidden,) else shape, x.dtype)

    pointwise, *states = arguments
    of_sequences = jax.tree.map(lambda x: jax.ShapeDtypeStruct((rows, width), x.dtype), states)
    return [jax.tree.map(leaf, pointwise), *of_sequences]


def _width(units: int, hidden: int) -> int:
    """The fewest units that form a group: whole heads, and whole lanes of a TPU, else all units."""
    return next((w for w in range(units, hidden, units) if w % LANES == 0 and hidden % w == 0), hidden)
