"""How a TPU kernel walks over a sequence: which part of each array a step of its grid sees."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

LANES, SUBLANES = 128, 8  # the last two axes of an array take up multiples of these in a TPU's memory
ACTIVE, RESET = 1, 2  # bits of a flag
ZERO = np.int32(0)  # of a block index; a plain 0 would be of 64 bits where JAX has them switched on


def round_up(size: int, multiple: int) -> int:
    """The least multiple that is not below."""
    return -(-size // multiple) * multiple


class Grid:
    """Blocks of `chunk` steps, `batch_tile` sequences and `width` units, over groups of units, tiles and chunks.

    A kernel meets all chunks of one tile one after the other, in the order of the run, so that what it leaves in
    scratch memory is there for the next; `backwards`: the last steps come first.
    """

    def __init__(self, shape: tuple[int, int, int], block: tuple[int, int, int], backwards: bool):
        """`shape` (time, batch, hidden) of the sequences, `block` likewise."""
        self.time, batch, hidden = shape
        self.chunk, self.batch_tile, self.width = block
        self.backwards = backwards
        self.groups, self.tiles = pl.cdiv(hidden, self.width), pl.cdiv(batch, self.batch_tile)
        self.chunks = pl.cdiv(self.time, self.chunk)

    def _place(self, c):
        return self.chunks - 1 - c if self.backwards else c

    def sequence(self, _=None) -> pl.BlockSpec:
        """Of an array (time, batch, hidden)."""
        block = (self.chunk, self.batch_tile, self.width)
        return pl.BlockSpec(block, lambda g, b, c: (self._place(c), b, g))

    def flags(self, _=None) -> pl.BlockSpec:
        """Of flags (time, batch, 1)."""
        return pl.BlockSpec((self.chunk, self.batch_tile, 1), lambda g, b, c: (self._place(c), b, ZERO))

    def state(self, _=None) -> pl.BlockSpec:
        """Of an array (batch, hidden)."""
        return pl.BlockSpec((self.batch_tile, self.width), lambda g, b, c: (b, g))

    def constant(self, leaf) -> pl.BlockSpec:
        """Of an array (1, hidden) or (1, 1) that all sequences share, or (batch, hidden)."""
        if leaf.shape == (1, 1):
            return pl.BlockSpec((1, 1), lambda g, b, c: (ZERO, ZERO))
        if leaf.shape[0] == 1:
            return pl.BlockSpec((1, self.width), lambda g, b, c: (ZERO, g))
        return self.state()

    def total(self, leaf) -> pl.BlockSpec:
        """Of the adjoint of such an array; where all sequences share it, (tiles, 1, hidden), to be added up."""
        if leaf.shape == (1, 1):
            return pl.BlockSpec((None, 1, 1), lambda g, b, c: (b, ZERO, ZERO))
        if leaf.shape[0] == 1:
            return pl.BlockSpec((None, 1, self.width), lambda g, b, c: (b, ZERO, g))
        return self.state()

    def total_shape(self, leaf) -> tuple[int, ...]:
        """The shape of the whole of it."""
        return (self.tiles, *leaf.shape) if leaf.shape[0] == 1 else leaf.shape

    def matrices(self, recurrent) -> pl.BlockSpec:
        """Of matrices (groups, gates, width, width), held once: they change too seldom to be fetched ahead."""
        block = (None, *recurrent.shape[1:])
        return pl.BlockSpec(block, lambda g, b, c: (g, ZERO, ZERO, ZERO), pipeline_mode=pl.Buffered(1))

    def scratch(self, leaf):
        """Memory for one tile of an array (batch, hidden), (1, hidden) or (1, 1)."""
        shape = (1 if leaf.shape[0] == 1 else self.batch_tile, 1 if leaf.shape == (1, 1) else self.width)
        return pltpu.VMEM(shape, jnp.float32)

    def loop(self, step: Callable) -> None:
        """Runs `step(place in the chunk)` for all steps of this chunk."""
        first = self._place(pl.program_id(2)) * self.chunk
        count = jnp.minimum(self.chunk, self.time - first)

        def body(k, _):
            step(count - 1 - k if self.backwards else k)

        lax.fori_loop(0, count, body, None)

    def at_start(self, action: Callable) -> None:
        """Runs `action()` before the first step of a tile."""
        pl.when(pl.program_id(2) == 0)(action)

    def at_end(self, action: Callable) -> None:
        """Runs `action()` after the last step of a tile."""
        pl.when(pl.program_id(2) == self.chunks - 1)(action)

    def call(self, kernel: Callable, *, in_specs, out_specs, out_shape, scratch, limit: int, interpret: bool):
        """The kernel over this grid; `limit`: bytes of the chip's memory that it may use."""
        return pl.pallas_call(
            kernel,
            grid=(self.groups, self.tiles, self.chunks),
            in_specs=in_specs,
            out_specs=out_specs,
            out_shape=out_shape,
            scratch_shapes=scratch,
            interpret=interpret,
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=("parallel", "parallel", "arbitrary"), vmem_limit_bytes=limit
            ),
        )


def read(refs, *at):
    """The arrays behind a tree of references, or what stands at a step."""
    return jax.tree.map(lambda ref: ref[at] if at else ref[...], refs)


def write(refs, values, *at) -> None:
    """Puts a tree of arrays behind references, or at a step, in their dtypes."""

    def one(ref, value):
        if at:
            ref[at] = value.astype(ref.dtype)
        else:
            ref[...] = value.astype(ref.dtype)

    jax.tree.map(one, refs, values)


def acts(flags) -> tuple:
    """(active, reset) of a step's flags; None where no step has a flag."""
    return (None, None) if flags is None else (flags & ACTIVE != 0, flags & RESET != 0)
