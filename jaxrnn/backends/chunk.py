"""One chunk of a gated cell's recurrence, forward and backward.

Backward rebuilds u and v of all its steps with one product each, runs the adjoint steps with `jax.vjp` of the
cell's update, and only then forms the chunk's share of every weight gradient, with one product each.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from jaxrnn.backends.base import Steps, finish, project, restart
from jaxrnn.cell import Cell, GatedCell, recurrent_product
from jaxrnn.numerics import carry_dtype, cast, matmul, select, zero_unless


class Weights(NamedTuple):
    """What a gated cell is differentiated by, `recurrent` and `pointwise` as `update` meets them."""

    params: PyTree
    recurrent: Any
    pointwise: PyTree


def has_plain_output(cell: GatedCell) -> bool:
    """Whether the outputs are the hidden states, so that they are not stored twice."""
    return type(cell).output is Cell.output


def outputs(cell: GatedCell, params, carries, us, steps: Steps):
    """The outputs of a stretch of steps from the carries after each; `us` may be None for a plain output."""
    if has_plain_output(cell):
        ys = carries.h
    else:
        ys = jax.vmap(cell.output, (None, 0, 0))(cast(params, carry_dtype(steps.dtype)), carries, us)
    return finish(ys, steps.acting, steps.dtype)


def forward_chunk(cell: GatedCell, reverse: bool, weights: Weights, fresh, carry, steps: Steps):
    """The last carry, and (the first carry, the carry after each step, outputs unless they are plain)."""
    us = project(cell, weights.params, steps)

    def step(carry, inputs):
        u, active, reset = inputs
        before = restart(fresh, reset, carry)
        v = recurrent_product(before.h, weights.recurrent, cell.gates)
        after = select(active, cell.update(weights.pointwise, before, u, v), before)
        return after, after

    end, carries = lax.scan(step, carry, (us, steps.acting, steps.resets), reverse=reverse)
    ys = None if has_plain_output(cell) else outputs(cell, weights.params, carries, us, steps)
    return end, (carry, carries, ys)


def _plus(total: PyTree, share: PyTree) -> PyTree:
    """total + share, where None in `share` stands for zeros."""
    if share is None:
        return total
    return jax.tree.map(lambda d, t: t if d is None else t + d, share, total, is_leaf=lambda d: d is None)


def _read_as_sum(cell: GatedCell, pointwise, carry, u, v) -> tuple[bool, ...]:
    """For each gate: whether `update` reads u and v in their sum alone, so that one buffer serves both.

    Read off the traced update: a stopped gradient could hide a second use from the derivatives.
    """
    jaxpr = jax.make_jaxpr(cell.update)(pointwise, carry, u, v).jaxpr
    first_u = len(jaxpr.invars) - len(v) - len(jax.tree.leaves(u))  # behind the gates u may hold trees of arrays
    us, vs = jaxpr.invars[first_u:], jaxpr.invars[-len(v) :]

    def only_summed(a, b) -> bool:
        readers = [eqn for eqn in jaxpr.eqns if any(x is a or x is b for x in eqn.invars)]
        if len(readers) != 1 or any(x is a or x is b for x in jaxpr.outvars):
            return False
        return readers[0].primitive.name == "add" and {id(a), id(b)} == {id(x) for x in readers[0].invars}

    return tuple(only_summed(a, b) for a, b in zip(us, vs, strict=False))


def _output_adjoint(cell: GatedCell, params, carries, us, steps: Steps, d_ys):
    """Cotangents of params, carries and us by way of the outputs, None where they do not reach."""
    if has_plain_output(cell):
        nothing = jax.tree.map(lambda _: None, carries)
        return None, nothing._replace(h=finish(d_ys, steps.acting, carry_dtype(steps.dtype))), None
    _, output_vjp = jax.vjp(lambda p, c, u: outputs(cell, p, c, u, steps), params, carries, us)
    return output_vjp(d_ys)


def _join_gates(gates: tuple):
    return jnp.concatenate(gates, axis=-1)


def _part_gates(joined, count: int) -> tuple:
    return tuple(jnp.split(joined, count, axis=-1))


def _weight_adjoint(inputs, adjoints):
    """inputs^T adjoints, added over time and batch by one product; faster than the transpose that JAX derives."""
    lead = tuple(range(inputs.ndim - 1))
    return lax.dot_general(inputs, adjoints, ((lead, lead), ((), ())), preferred_element_type=carry_dtype(inputs.dtype))


def _project_adjoint(cell: GatedCell, params, steps: Steps, du, extra):
    """Cotangents of the parameters and of xs by way of `project`; du of all gates joined, and of what else u holds."""
    projected = cell.projected(steps.xs)
    if projected is None:
        _, project_vjp = jax.vjp(lambda p, x: project(cell, p, steps._replace(xs=x)), params, steps.xs)
        return project_vjp((*_part_gates(du, cell.gates), *extra))
    d_input = _weight_adjoint(zero_unless(steps.active, projected), du.astype(steps.dtype))
    d_bias = jnp.sum(du, axis=tuple(range(du.ndim - 1)))
    d_params = jax.tree.map(lambda _: None, params)._replace(input=d_input, bias=d_bias)
    if projected is steps.xs:
        return d_params, zero_unless(steps.active, matmul(du, params.input.T)).astype(steps.dtype)
    _, project_vjp = jax.vjp(lambda x: project(cell, params, steps._replace(xs=x)), steps.xs)
    return d_params, project_vjp((*_part_gates(du, cell.gates), *extra))[0]


def _recurrent_adjoint(hs, dv, recurrent, gates: int):
    """The cotangent of R; dv of all gates joined."""
    if recurrent.ndim == 2:
        return _weight_adjoint(hs.astype(recurrent.dtype), dv.astype(recurrent.dtype))
    _, product_vjp = jax.vjp(lambda r: recurrent_product(hs, r, gates), recurrent)
    return product_vjp(_part_gates(dv, gates))[0]


def backward_chunk(cell: GatedCell, reverse: bool, weights: Weights, fresh, cotangents, saved):
    """Takes (cotangent of the last carry, of the weights so far) to the same for the first carry, and d_xs.

    `saved` holds the steps, the first carry, the carries after each step and the outputs' cotangents. Cotangents of
    weights are kept in the carry's precision.
    """
    d_carry, d_weights = cotangents
    steps, first, carries, d_ys = saved
    dtype = carry_dtype(steps.dtype)

    def before_each(start, after):
        start = start[None]
        return jnp.concatenate([after[1:], start] if reverse else [start, after[:-1]])

    befores = restart(fresh, steps.resets, jax.tree.map(before_each, first, carries))
    us = project(cell, weights.params, steps)
    vs = recurrent_product(befores.h, weights.recurrent, cell.gates)
    d_params_direct, d_outputs, d_us_direct = _output_adjoint(cell, weights.params, carries, us, steps, d_ys)
    summed = _read_as_sum(cell, weights.pointwise, first, *jax.tree.map(lambda x: x[0], (us, vs)))
    us = tuple(u + vs[i] if i < cell.gates and summed[i] else u for i, u in enumerate(us))
    apart = tuple(None if together else v for v, together in zip(vs, summed, strict=True))

    def adjoint_step(state, inputs):
        d_after, d_pointwise = state
        before, u, v, d_output, active, reset = inputs
        d_after = _plus(d_after, d_output)
        v = tuple(jnp.zeros_like(u[i]) if part is None else part for i, part in enumerate(v))
        _, update_vjp = jax.vjp(cell.update, weights.pointwise, before, u, v)
        share, d_before, du, dv = update_vjp(zero_unless(active, d_after))
        _, product_vjp = jax.vjp(lambda h: recurrent_product(h, weights.recurrent, cell.gates), before.h)
        d_before = d_before._replace(h=d_before.h + product_vjp(dv)[0])
        if active is not None:
            d_before = _plus(d_before, zero_unless(~active, d_after))
        if reset is not None:
            d_before = zero_unless(~reset, d_before)
        # Streams in come gate by gate, which XLA reads faster; adjoints go out joined, as the products need them.
        own = tuple(None if together else d for d, together in zip(du, summed, strict=False))
        return (d_before, _plus(d_pointwise, share)), (_join_gates(dv), own, du[cell.gates :])

    start = d_carry, jax.tree.map(jnp.zeros_like, weights.pointwise)
    inputs = (befores, us, apart, d_outputs, steps.acting, steps.resets)
    (d_carry, d_pointwise), (dv, own, d_extra) = lax.scan(adjoint_step, start, inputs, reverse=not reverse)
    du = dv
    if not all(summed):
        parts = zip(own, _part_gates(dv, cell.gates), strict=True)
        du = _join_gates(tuple(shared if o is None else o for o, shared in parts))
    if d_us_direct is not None:
        du, d_extra = du + _join_gates(d_us_direct[: cell.gates]), _plus(d_extra, d_us_direct[cell.gates :])
    d_params, d_xs = _project_adjoint(cell, weights.params, steps, du, d_extra)
    d_recurrent = _recurrent_adjoint(befores.h, dv, weights.recurrent, cell.gates)
    d_weights = _plus(d_weights, Weights(*cast((d_params, d_recurrent, d_pointwise), dtype)))
    d_params = _plus(d_weights.params, cast(d_params_direct, dtype))
    return (d_carry, d_weights._replace(params=d_params)), d_xs
