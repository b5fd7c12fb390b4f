"""Backpropagation through time in chunks: by a custom VJP, for linear cells by computing chunks again."""

import dataclasses
from dataclasses import dataclass

import jax
from jax import lax
from jaxtyping import PyTree

from jaxrnn.backends import sizes
from jaxrnn.backends.base import Steps, fresh_carry, join
from jaxrnn.backends.chunk import Chunks, read_as_sum
from jaxrnn.backends.in_chunks import AnyChunks, InChunks, unroll_in_chunks
from jaxrnn.backends.linear import run_linear, sequential_scan
from jaxrnn.backends.plain import PlainChunks
from jaxrnn.backends.scan import Scan
from jaxrnn.backends.shared import Weights, gated_weights
from jaxrnn.backends.traced import Traced
from jaxrnn.cell import Cell, GatedCell, LinearCell
from jaxrnn.numerics import carry_dtype, cast, cast_like


@dataclass(frozen=True)
class ChunkedScan(InChunks):
    """Chunked backpropagation through time; the default on a CPU, elsewhere where Pallas and Associative refuse.

    Gated cells run by a custom VJP that keeps h and, with `keep_gates`, u and v of every step; without, these are
    rebuilt by one product for each chunk. Other parts of the carry, as the LSTM's c, are rebuilt step by step, unless
    one chunk is all. Plain cells run by one that keeps their carries and, with `keep_gates`, what `advance` multiplies
    by matrices of parameters. `checkpoint_every=k` keeps carries every k steps only, memory O(time / k + k) beyond
    inputs, outputs and gradients. Linear cells are recomputed chunk by chunk (or every k steps), and only
    h' = a * h + b runs step by step. Reverse mode to any order; forward mode needs Scan().

    `chunk`: steps per chunk. Default: from the sizes, 16 to 128, for linear cells to 4096, and so that chunks divide
    the sequence where possible; fewer than 512 steps (between checkpoints, where there are any), and without a gradient
    any number, are one chunk where all their gates are at most 1.7 million numbers. So are any steps of linear cells of
    at most 0.8 million. Without a gradient, on a CPU, small cells that are not linear (at most 128 units and 32
    features, at least 8 sequences, no large parameters beside those, no 16 bits) take chunks of one step. Under
    `jax.vmap` the mapped axis is not seen: give `chunk` where memory matters. `keep_gates`: default: where all gates of
    fewer than 512 steps are at most 1.7 million numbers, and over fewer than 512 steps for cells of at least 256 units;
    without a gradient never. On a GPU instead: chunks with at most 134 million numbers in all gates, none of which are
    kept, in loops of 8 steps a turn. `checkpoint_every`: default: no checkpoints.

    Raises:
        ValueError: `chunk` or `checkpoint_every` is below 1.
        TypeError: `keep_gates` is neither a truth value nor None.
    """

    chunk: int | None = None
    checkpoint_every: int | None = None
    keep_gates: bool | None = None

    def __post_init__(self):  # noqa: D105
        self._check_positive(chunk=self.chunk, checkpoint_every=self.checkpoint_every)
        if not isinstance(self.keep_gates, bool | None):
            raise TypeError(f"ChunkedScan: `keep_gates` must be True, False or None, got {self.keep_gates!r}.")

    def refuses(self, cell: Cell, xs: PyTree) -> str | None:
        """Never."""
        return None

    def sized(self, cell: Cell, xs: PyTree) -> "ChunkedScan":
        """See Backend."""
        chunk, keep_gates = sizes.with_gradient(cell, xs, self.stretch(Steps(xs).time))
        return dataclasses.replace(
            self,
            chunk=self.chunk or chunk,
            keep_gates=keep_gates if self.keep_gates is None else self.keep_gates,
        )

    def without_gradient(self, cell: Cell, params, xs: PyTree) -> "ChunkedScan":
        """As `sized`, for a run that is not differentiated."""
        chunk = self.chunk or sizes.without_gradient(cell, params, xs, self.stretch(Steps(xs).time))
        return dataclasses.replace(self, chunk=chunk, keep_gates=False)

    def run(self, cell: Cell, params, carry, steps: Steps, reverse: bool):
        """See Backend."""
        if steps.time == 0:
            return Scan().run(cell, params, carry, steps, reverse)
        if isinstance(cell, LinearCell):
            return _unroll_linear(cell, self.sized(cell, steps.xs), params, carry, steps, reverse)
        if isinstance(cell, GatedCell):
            weights = gated_weights(cell, params, steps)
        else:
            traced = Traced(cell, params, carry, steps)
            if not traced.smooth:  # JAX itself knows how to leave out what has no cotangent
                plain = Scan(checkpoint_every=self.checkpoint_every or self.sized(cell, steps.xs).chunk)
                return plain.run(cell, params, carry, steps, reverse)
            weights = Weights(params, traced.once(params), ())
        return unroll_in_chunks(cell, self, reverse, weights, carry, steps)

    def chunks(self, cell: Cell, reverse: bool, weights: Weights, carry, steps: Steps, trained: bool) -> AnyChunks:
        """See InChunks."""
        how = self.sized(cell, steps.xs) if trained else self.without_gradient(cell, weights.params, steps.xs)
        assert how.chunk is not None and how.keep_gates is not None  # see `sized`
        fresh = fresh_carry(cell, steps)
        if not isinstance(cell, GatedCell):
            traced = Traced(cell, weights.params, carry, steps)
            return PlainChunks(cell, how.chunk, reverse, how.keep_gates, weights, fresh, traced)
        return Chunks(
            cell=cell,
            length=how.chunk,
            single=how.chunk >= self.stretch(steps.time),
            reverse=reverse,
            keep=how.keep_gates,
            weights=weights,
            fresh=fresh,
            summed=read_as_sum(cell, weights, carry, steps),
            transposed=weights.recurrent.T if weights.recurrent.ndim == 2 else None,
        )


def _unroll_linear(cell: LinearCell, backend: ChunkedScan, params, carry, steps: Steps, reverse: bool):
    """Chunk by chunk, each of them computed again in the backward pass."""
    wide = cast(params, carry_dtype(steps.dtype))  # so that the gradient is summed over chunks in this precision

    def chunk(carry, piece):
        narrow = cast_like(wide, params)
        return run_linear(cell, narrow, carry, piece, reverse, sequential_scan)

    length = backend.checkpoint_every or backend.chunk
    assert length is not None  # see `sized`
    pieces = steps.split(length)
    carry, ys = lax.scan(jax.checkpoint(chunk, prevent_cse=False), carry, pieces, reverse=reverse)
    return carry, join(ys, steps.time)
