"""What the chunks of gated and of plain cells share: what is saved of them, outputs, and pieces of the adjoint step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from jaxrnn.backends import sizes
from jaxrnn.backends.base import Steps, finish, restart
from jaxrnn.cell import Cell, GatedCell
from jaxrnn.numerics import carry_dtype, cast, plus, zero_where


class Weights(NamedTuple):
    """What a cell is differentiated by, `recurrent` and `pointwise` as the `update` of a gated one meets them.

    Of a plain cell `recurrent` is what its parameters alone decide of a step, and `pointwise` is ().
    """

    params: PyTree
    recurrent: Any
    pointwise: PyTree


def gated_weights(cell: GatedCell, params, steps: Steps) -> Weights:
    """What a gated cell is differentiated by, pointwise parameters in the carry's precision."""
    return Weights(params, cell.recurrent(params), cast(cell.pointwise(params), carry_dtype(steps.dtype)))


class Saved(NamedTuple):
    """What the backward pass of a chunk needs: its first carry, what is kept of the carries after each step, and Gates.

    The latter are None where they are not kept; of a plain cell they are a list of products.
    """

    first: PyTree
    carries: PyTree
    gates: Any


def scan_steps(step: Callable, start: PyTree, streams: PyTree, reverse: bool):
    """`lax.scan` over the steps of a chunk, several in a turn where that pays."""
    return lax.scan(step, start, streams, reverse=reverse, unroll=sizes.steps_a_turn())


def has_plain_output(cell: Cell, carries) -> bool:
    """Whether the outputs are a part of the carries, the hidden states, so that they are not stored twice."""
    return type(cell).output is Cell.output and "h" in carries._fields


def outputs(cell: Cell, params, carries, us, steps: Steps):
    """The outputs of a stretch of steps from the carries after each; `us` may be None for a plain output."""
    if has_plain_output(cell, carries):
        ys = carries.h
    else:
        ys = jax.vmap(cell.output, (None, 0, 0))(cast(params, carry_dtype(steps.dtype)), carries, us)
    return finish(ys, steps.acting, steps.dtype)


def befores_of(first, carries, steps: Steps, fresh, reverse: bool):
    """The carry that every step of a chunk starts from."""

    def shifted(start, after):
        start = start[None]
        return jnp.concatenate([after[1:], start] if reverse else [start, after[:-1]])

    return restart(fresh, steps.resets, jax.tree.map(shifted, first, carries))


def output_adjoint(cell: Cell, params, carries, us, steps: Steps, d_ys):
    """Cotangents of params, carries and us by way of the outputs, None where they do not reach."""
    if has_plain_output(cell, carries):
        nothing = jax.tree.map(lambda _: None, carries)
        return None, nothing._replace(h=finish(d_ys, steps.acting, carry_dtype(steps.dtype))), None
    _, output_vjp = jax.vjp(lambda p, c, u: outputs(cell, p, c, u, steps), params, carries, us)
    return output_vjp(d_ys)


def through(d_before, d_after, active, reset):
    """The cotangent of the carry before a step: past it where it does not act, none where the carry starts afresh."""
    if active is not None:
        d_before = plus(d_before, zero_where(active, d_after))
    return zero_where(reset, d_before)
