"""Backpropagation through time in chunks, by a custom VJP that serves every gated cell.

Forward keeps carries only. Backward goes through the chunks from the end of the run: it rebuilds u and v with
one product each, runs the adjoint steps with `jax.vjp` of the cell's update, and then adds the chunk's share of
every weight gradient with one product each. So no weight gradient is touched once per step, and no buffer of
size (time, batch, gates * hidden) ever exists.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from jaxrnn.backends.base import Backend, Steps, finish, fresh_carry, join, project, restart
from jaxrnn.backends.scan import Scan
from jaxrnn.cell import Cell, GatedCell, recurrent_product
from jaxrnn.numerics import carry_dtype, cast, matmul, select, zero_unless


@dataclass(frozen=True)
class ChunkedScan(Backend):
    """Chunked backpropagation through time; the default on a CPU for cells that are not linear.

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
        recurrent = cell.recurrent(params)
        pointwise = cast(cell.pointwise(params), carry_dtype(steps.dtype))
        return _unroll(cell, self, reverse, (params, recurrent, pointwise), carry, steps)


def _has_plain_output(cell: GatedCell) -> bool:
    return type(cell).output is Cell.output


def _outputs(cell: GatedCell, params, carries, us, steps: Steps):
    """The outputs of a stretch of steps from the carries after each."""
    if _has_plain_output(cell):
        ys = carries.h
    else:
        ys = jax.vmap(cell.output, (None, 0, 0))(cast(params, carry_dtype(steps.dtype)), carries, us)
    return finish(ys, steps.active, steps.dtype)


def _forward_chunk(cell: GatedCell, reverse: bool, weights, fresh, carry, steps: Steps):
    params, recurrent, pointwise = weights
    us = project(cell, params, steps)

    def step(carry, inputs):
        u, active, reset = inputs
        before = restart(fresh, reset, carry)
        v = recurrent_product(before.h, recurrent, cell.gates)
        after = select(active, cell.update(pointwise, before, u, v), before)
        return after, after

    end, carries = lax.scan(step, carry, (us, steps.active, steps.resets), reverse=reverse)
    # A plain output is read off the carries outside the loop, so that it is not stored twice.
    ys = None if _has_plain_output(cell) else _outputs(cell, params, carries, us, steps)
    return end, (carry, carries, ys)


def _forward_stretch(cell: GatedCell, chunk: int, reverse: bool, weights, fresh, carry, steps: Steps):
    """All chunks of a stretch: (last carry, outputs), and what its backward pass needs."""
    pieces = steps.split(chunk)
    body = functools.partial(_forward_chunk, cell, reverse, weights, fresh)
    carry, (starts, carries, ys) = lax.scan(body, carry, pieces, reverse=reverse)
    if ys is None:
        ys = _outputs(cell, weights[0], carries, None, pieces)
    return (carry, join(ys, steps.time)), (starts, carries)


def _sum(a, b):
    return jax.tree.map(jnp.add, a, b)


def _read_as_sum(cell: GatedCell, pointwise, carry, u, v) -> tuple[bool, ...]:
    """For each gate: whether `update` reads u and v in their sum alone, so that one buffer serves both.

    Read off the traced update, since a stopped gradient can hide a second use from the derivatives.
    """
    jaxpr = jax.make_jaxpr(cell.update)(pointwise, carry, u, v).jaxpr
    us, vs = jaxpr.invars[-len(u) - len(v) : -len(v)], jaxpr.invars[-len(v) :]

    def only_summed(a, b):
        readers = [eqn for eqn in jaxpr.eqns if any(x is a or x is b for x in eqn.invars)]
        kept = any(x is a or x is b for x in jaxpr.outvars)
        return len(readers) == 1 and not kept and readers[0].primitive.name == "add" and a in readers[0].invars and b in readers[0].invars

    return tuple(only_summed(a, b) for a, b in zip(us, vs, strict=False))


def _weight_adjoint(inputs, adjoints):
    """x^T d of a whole chunk, in one product that adds over time and batch at once."""
    lead = tuple(range(inputs.ndim - 1))
    return lax.dot_general(inputs, adjoints, ((lead, lead), ((), ())), preferred_element_type=adjoints.dtype)


def _project_adjoint(cell: GatedCell, params, steps: Steps, dus):
    """Cotangents of the parameters and inputs of `project`."""
    if type(cell).project is not GatedCell.project:
        _, project_vjp = jax.vjp(lambda p, x: project(cell, p, steps._replace(xs=x)), params, steps.xs)
        return project_vjp(dus)
    du = jnp.concatenate(dus, axis=-1).astype(params.input.dtype)
    xs = zero_unless(steps.active, steps.xs)
    d_params = jax.tree.map(jnp.zeros_like, params)._replace(
        input=_weight_adjoint(xs, du), bias=jnp.sum(du, axis=tuple(range(du.ndim - 1)))
    )
    return d_params, zero_unless(steps.active, matmul(du, params.input.T).astype(steps.dtype))


def _recurrent_adjoint(hs, dvs, recurrent):
    """Cotangent of R."""
    if recurrent.ndim == 3:
        return jax.vjp(lambda r: recurrent_product(hs, r, len(dvs)), recurrent)[1](dvs)[0]
    return _weight_adjoint(hs.astype(recurrent.dtype), jnp.concatenate(dvs, axis=-1).astype(recurrent.dtype))


def _backward_chunk(cell: GatedCell, reverse: bool, weights, fresh, cotangents, residuals):
    params, recurrent, pointwise = weights
    d_carry, d_weights = cotangents
    steps, start, carries, d_ys = residuals
    us = project(cell, params, steps)

    def shift(first, rest):
        first = first[None]
        return jnp.concatenate([rest[1:], first] if reverse else [first, rest[:-1]])

    befores = restart(fresh, steps.resets, jax.tree.map(shift, start, carries))
    vs = recurrent_product(befores.h, recurrent, cell.gates)
    summed = _read_as_sum(cell, pointwise, start, *jax.tree.map(lambda x: x[0], (us, vs)))
    us = tuple(u + vs[i] if i < len(vs) and summed[i] else u for i, u in enumerate(us))
    vs = tuple(None if together else v for v, together in zip(vs, summed, strict=True))
    if _has_plain_output(cell):
        d_outputs = finish(d_ys, steps.active, carry_dtype(steps.dtype))
    else:
        _, output_vjp = jax.vjp(lambda p, c, u: _outputs(cell, p, c, u, steps), params, carries, us)
        d_params_direct, d_outputs, d_us_direct = output_vjp(d_ys)

    def adjoint_step(state, inputs):
        d_after, d_pointwise = state
        before, u, v, d_output, active, reset = inputs
        if _has_plain_output(cell):
            d_after = d_after._replace(h=d_after.h + d_output)
        else:
            d_after = _sum(d_after, d_output)
        v = tuple(jnp.zeros_like(u[i]) if part is None else part for i, part in enumerate(v))
        _, update_vjp = jax.vjp(cell.update, pointwise, before, u, v)
        d_point, d_before, du, dv = update_vjp(zero_unless(active, d_after))
        _, hidden_vjp = jax.vjp(lambda h: recurrent_product(h, recurrent, cell.gates), before.h)
        d_before = d_before._replace(h=d_before.h + hidden_vjp(dv)[0])
        if active is not None:
            d_before = _sum(d_before, zero_unless(~active, d_after))
        if reset is not None:
            d_before = zero_unless(~reset, d_before)
        own = tuple(None if i < len(dv) and summed[i] else d for i, d in enumerate(du))
        return (d_before, _sum(d_pointwise, d_point)), (dv, own)

    zeros = jax.tree.map(jnp.zeros_like, pointwise)
    inputs = (befores, us, vs, d_outputs, steps.active, steps.resets)
    (d_carry, d_pointwise), (dvs, own) = lax.scan(adjoint_step, (d_carry, zeros), inputs, reverse=not reverse)
    dus = tuple(dvs[i] if d is None else d for i, d in enumerate(own))
    if not _has_plain_output(cell):
        dus = _sum(dus, d_us_direct)
    d_params, d_xs = _project_adjoint(cell, params, steps, dus)
    if not _has_plain_output(cell):
        d_params = _sum(d_params, d_params_direct)
    d_recurrent = _recurrent_adjoint(befores.h, dvs, recurrent)
    d_weights = _sum(d_weights, cast((d_params, d_recurrent, d_pointwise), carry_dtype(steps.dtype)))
    return (d_carry, d_weights), d_xs


def _backward_stretch(cell: GatedCell, chunk: int, reverse: bool, weights, fresh, cotangents, steps, saved, d_ys):
    starts, carries = saved
    pieces = Steps(*steps).split(chunk)
    d_ys = Steps(d_ys, None, None).split(chunk).xs
    body = functools.partial(_backward_chunk, cell, reverse, weights, fresh)
    cotangents, d_xs = lax.scan(body, cotangents, (pieces, starts, carries, d_ys), reverse=not reverse)
    return cotangents, join(d_xs, steps.time)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _unroll(cell: GatedCell, backend: ChunkedScan, reverse: bool, weights, carry, steps: Steps):
    return _unroll_forward(cell, backend, reverse, weights, carry, steps)[0]


def _unroll_forward(cell: GatedCell, backend: ChunkedScan, reverse: bool, weights, carry, steps: Steps):
    forward = functools.partial(
        _forward_stretch, cell, backend.chunk, reverse, weights, fresh_carry(cell, steps)
    )
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
    fresh = fresh_carry(cell, steps)
    backward = functools.partial(_backward_stretch, cell, backend.chunk, reverse, weights, fresh)
    zeros = cast(jax.tree.map(jnp.zeros_like, weights), carry_dtype(steps.dtype))
    if backend.checkpoint_every is None:
        (d_carry, d_weights), d_xs = backward((d_carry, zeros), steps, saved, d_ys)
    else:

        def segment(cotangents, inputs):
            piece, border, d_ys = inputs
            _, saved = _forward_stretch(cell, backend.chunk, reverse, weights, fresh, border, piece)
            return backward(cotangents, piece, saved, d_ys)

        pieces = steps.split(backend.checkpoint_every)
        d_ys = Steps(d_ys, None, None).split(backend.checkpoint_every).xs
        (d_carry, d_weights), d_xs = lax.scan(
            segment, (d_carry, zeros), (pieces, saved, d_ys), reverse=not reverse
        )
        d_xs = join(d_xs, steps.time)
    d_weights = jax.tree.map(lambda d, w: d.astype(w.dtype), d_weights, weights)
    return d_weights, d_carry, Steps(d_xs, None, None)


_unroll.defvjp(_unroll_forward, _unroll_backward)
