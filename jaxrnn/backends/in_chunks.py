"""The custom VJP of a recurrence in chunks, between checkpoints where there are any.

The backward pass goes through the chunks from the end of the run, with the hidden states of the forward pass and,
where that is cheaper than rebuilding them, its gates. So no weight gradient is touched once per step.
"""

import abc

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.backends.base import Backend, Steps, balanced, join
from jaxrnn.backends.chunk import Chunks
from jaxrnn.backends.plain import PlainChunks
from jaxrnn.backends.shared import Weights, outputs
from jaxrnn.cell import Cell
from jaxrnn.numerics import carry_dtype, cast, cast_like

AnyChunks = Chunks | PlainChunks


class InChunks(Backend):
    """A backend that runs chunk by chunk, and keeps carries every `checkpoint_every` steps alone where it is given."""

    checkpoint_every: int | None

    @abc.abstractmethod
    def chunks(self, cell: Cell, reverse: bool, weights: Weights, carry, steps: Steps, trained: bool) -> AnyChunks:
        """How every chunk is computed; `trained`: whether a gradient may be asked for."""

    def stretch(self, time: int) -> int:
        """Steps between checkpoints."""
        return balanced(time, self.checkpoint_every or max(time, 1))[1]


def _forward_stretch(chunks: AnyChunks, carry, steps: Steps):
    """All chunks of a stretch: (last carry, outputs), and what its backward pass needs."""
    pieces = steps.split(chunks.length)
    carry, (saved, ys) = lax.scan(chunks.forward, carry, pieces, reverse=chunks.reverse)
    if ys is None:
        ys = outputs(chunks.cell, chunks.weights.params, saved.carries, None, pieces)
    return (carry, join(ys, steps.time)), saved


def _backward_stretch(chunks: AnyChunks, cotangents, inputs):
    """The chunks of a stretch against time: (cotangents of first carry and weights), d_xs."""
    steps, saved, d_ys = inputs
    pieces = (steps.split(chunks.length), saved, Steps(d_ys).split(chunks.length).xs)
    cotangents, d_xs = lax.scan(chunks.backward, cotangents, pieces, reverse=not chunks.reverse)
    return cotangents, join(d_xs, steps.time)


def _unroll_primal(cell: Cell, backend: InChunks, reverse: bool, weights: Weights, carry, steps: Steps):
    return _forward(cell, backend, reverse, weights, carry, steps, trained=False)[0]


def _unroll_forward(cell: Cell, backend: InChunks, reverse: bool, weights: Weights, carry, steps: Steps):
    return _forward(cell, backend, reverse, weights, carry, steps, trained=True)


def _forward(cell: Cell, backend: InChunks, reverse: bool, weights: Weights, carry, steps: Steps, trained: bool):
    chunks = backend.chunks(cell, reverse, weights, carry, steps, trained)
    if backend.checkpoint_every is None:
        results, saved = _forward_stretch(chunks, carry, steps)
        return results, (weights, steps, saved)

    def segment(carry, piece):
        (end, ys), _ = _forward_stretch(chunks, carry, piece)
        return end, (carry, ys)

    carry, (borders, ys) = lax.scan(segment, carry, steps.split(backend.checkpoint_every), reverse=reverse)
    return (carry, join(ys, steps.time)), (weights, steps, borders)


def _unroll_backward(cell: Cell, backend: InChunks, reverse: bool, residuals, cotangents):
    weights, steps, saved = residuals
    d_carry, d_ys = cotangents
    chunks = backend.chunks(cell, reverse, weights, d_carry, steps, trained=True)  # shaped like the carry
    start = d_carry, cast(jax.tree.map(jnp.zeros_like, weights), carry_dtype(steps.dtype))
    if backend.checkpoint_every is None:
        (d_carry, d_weights), d_xs = _backward_stretch(chunks, start, (steps, saved, d_ys))
    else:

        def segment(cotangents, inputs):
            piece, border, d_ys = inputs
            _, saved = _forward_stretch(chunks, border, piece)
            return _backward_stretch(chunks, cotangents, (piece, saved, d_ys))

        every = backend.checkpoint_every
        pieces = (steps.split(every), saved, Steps(d_ys).split(every).xs)
        (d_carry, d_weights), d_xs = lax.scan(segment, start, pieces, reverse=not reverse)
        d_xs = join(d_xs, steps.time)
    d_weights = cast_like(d_weights, weights)
    return d_weights, d_carry, Steps(d_xs)


unroll_in_chunks = jax.custom_vjp(_unroll_primal, nondiff_argnums=(0, 1, 2))
unroll_in_chunks.defvjp(_unroll_forward, _unroll_backward)
