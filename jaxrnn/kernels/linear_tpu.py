"""h_t = a_t * h_{t-1} + b_t, elementwise, as one TPU kernel; h stays on the chip, a and b stream past."""

import jax
import jax.numpy as jnp

from jaxrnn.kernels.grid import LANES, SUBLANES, Grid, acts, read, round_up, write
from jaxrnn.kernels.linear import Number, times
from jaxrnn.numerics import zero_where

# Of one array in one block: three of them, held twice, are far below the memory of any chip, and long enough streams.
_BLOCK_BYTES = 1 << 19
_LONGEST_CHUNK, _WIDEST_BLOCK = 256, 8 * LANES


def _block(time: int, batch: int, hidden: int) -> tuple[int, int, int]:
    """Steps, sequences and units of a block, whole registers of a chip where an axis is not taken whole."""
    width, rows = min(hidden, _WIDEST_BLOCK), min(batch, SUBLANES)
    step = 4 * round_up(rows, SUBLANES) * round_up(width, LANES)
    return max(1, min(time, _LONGEST_CHUNK, _BLOCK_BYTES // step)), rows, width


def linear_scan(a: Number, b: Number, h0: Number, flags, reverse: bool, memory: int, interpret: bool) -> Number:
    """All h_t, from a (time, batch, hidden), or (batch, hidden) where it is the same at every step, b and h0, float32.

    Where a flag of `flags` (time, batch, 1) says that a sequence begins afresh, h_{t-1} counts as zero; None for never.
    `memory`: bytes on the chip.
    """
    time, batch, hidden = b[0].shape
    grid = Grid((time, batch, hidden), _block(time, batch, hidden), reverse)
    constant = a[0].ndim == 2

    def kernel(flags, a, b, first, hs, state):
        grid.at_start(lambda: write(state, read(first)))

        def step(i):
            _, reset = acts(read(flags, i))
            before = zero_where(reset, read(state))
            h = jax.tree.map(jnp.add, times(read(a) if constant else read(a, i), before), read(b, i))
            write(state, h)
            write(hs, h, i)

        grid.loop(step)

    return grid.call(
        kernel,
        in_specs=(
            jax.tree.map(grid.flags, flags),
            jax.tree.map(grid.state if constant else grid.sequence, a),
            jax.tree.map(grid.sequence, b),
            jax.tree.map(grid.state, h0),
        ),
        out_specs=(jax.tree.map(grid.sequence, b),),
        out_shape=(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32), b),),
        scratch=(jax.tree.map(grid.scratch, h0),),
        limit=memory,
        interpret=interpret,
    )(flags, a, b, h0)[0]
