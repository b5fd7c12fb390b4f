"""Backpropagation through time in chunks, by a custom VJP that serves every gated cell.

Forward keeps carries only; backward goes through the chunks from the end of the run. So no weight gradient is
touched once per step, and no buffer of size (time, batch, gates * hidden) ever exists.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from jaxrnn.backends.base import Backend, Steps, fresh_carry, join
from jaxrnn.backends.chunk import Weights, backward_chunk, forward_chunk, outputs
from jaxrnn.backends.scan import Scan
from jaxrnn.cell import Cell, GatedCell
from jaxrnn.numerics import carry_dtype, cast


@dataclass(frozen=True)
class ChunkedScan(Backend):
    """Chunked backpropagation through time; the default on a CPU, and elsewhere for cells that are not linear.

    `chunk`: steps per chunk. Gated cells run by a custom VJP that keeps their carries; `checkpoint_every=k` keeps
    carries every k steps only, memory O(time / k + k) beyond inputs, outputs and gradients. Other cells are
    recomputed chunk by chunk (or every k steps). Reverse mode to any order; forward mode needs Scan().
    Defaults: chunks of 16 steps, no checkpoints.

    Raises:
        ValueError: an option is below 1.
    """

    chunk: int = 16
    checkpoint_every: int | None = None

    def __post_init__(self):  # noqa: D105
        self._check_positive(chunk=self.chunk, checkpoint_every=self.checkpoint_every)

    def refuses(self, cell: Cell, xs: PyTree) -> str | None:
        """Never."""
        return None

    def run(self, cell: Cell, params, carry, steps: Steps, reverse: bool):
        """See Backend."""
        if not isinstance(cell, GatedCell) or steps.time == 0:
            return Scan(checkpoint_every=self.checkpoint_every or self.chunk).run(cell, params, carry, steps, reverse)
        pointwise = cast(cell.pointwise(params), carry_dtype(steps.dtype))
        return _unroll(cell, self, reverse, Weights(params, cell.recurrent(params), pointwise), carry, steps)


def _forward_stretch(cell: GatedCell, chunk: int, reverse: bool, weights: Weights, fresh, carry, steps: Steps):
    """All chunks of a stretch: (last carry, outputs), and the carries that its backward pass needs."""
    pieces = steps.split(chunk)
    body = functools.partial(forward_chunk, cell, reverse, weights, fresh)
    carry, (starts, carries, ys) = lax.scan(body, carry, pieces, reverse=reverse)
    if ys is None:
        ys = outputs(cell, weights.params, carries, None, pieces)
    return (carry, join(ys, steps.time)), (starts, carries)


def _backward_stretch(cell: GatedCell, chunk: int, reverse: bool, weights: Weights, fresh, cotangents, inputs):
    """The chunks of a stretch against time: (cotangents of first carry and weights), d_xs."""
    steps, (starts, carries), d_ys = inputs
    body = functools.partial(backward_chunk, cell, reverse, weights, fresh)
    pieces = (steps.split(chunk), starts, carries, Steps(d_ys).split(chunk).xs)
    cotangents, d_xs = lax.scan(body, cotangents, pieces, reverse=not reverse)
    return cotangents, join(d_xs, steps.time)


def _unroll_primal(cell: GatedCell, backend: ChunkedScan, reverse: bool, weights: Weights, carry, steps: Steps):
    return _unroll_forward(cell, backend, reverse, weights, carry, steps)[0]


def _unroll_forward(cell: GatedCell, backend: ChunkedScan, reverse: bool, weights: Weights, carry, steps: Steps):
    forward = functools.partial(_forward_stretch, cell, backend.chunk, reverse, weights, fresh_carry(cell, steps))
    if backend.checkpoint_every is None:
        results, saved = forward(carry, steps)
        return results, (weights, steps, saved)

    def segment(carry, piece):
        (end, ys), _ = forward(carry, piece)
        return end, (carry, ys)

    carry, (borders, ys) = lax.scan(segment, carry, steps.split(backend.checkpoint_every), reverse=reverse)
    return (carry, join(ys, steps.time)), (weights, steps, borders)


def _unroll_backward(cell: GatedCell, backend: ChunkedScan, reverse: bool, residuals, cotangents):
    weights, steps, saved = residuals
    d_carry, d_ys = cotangents
    run = (cell, backend.chunk, reverse, weights, fresh_carry(cell, steps))
    start = d_carry, cast(jax.tree.map(jnp.zeros_like, weights), carry_dtype(steps.dtype))
    if backend.checkpoint_every is None:
        (d_carry, d_weights), d_xs = _backward_stretch(*run, start, (steps, saved, d_ys))
    else:

        def segment(cotangents, inputs):
            piece, border, d_ys = inputs
            _, saved = _forward_stretch(*run, border, piece)
            return _backward_stretch(*run, cotangents, (piece, saved, d_ys))

        length = backend.checkpoint_every
        pieces = (steps.split(length), saved, Steps(d_ys).split(length).xs)
        (d_carry, d_weights), d_xs = lax.scan(segment, start, pieces, reverse=not reverse)
        d_xs = join(d_xs, steps.time)
    d_weights = jax.tree.map(lambda d, w: d.astype(w.dtype), d_weights, weights)
    return d_weights, d_carry, Steps(d_xs)


_unroll = jax.custom_vjp(_unroll_primal, nondiff_argnums=(0, 1, 2))
_unroll.defvjp(_unroll_forward, _unroll_backward)
