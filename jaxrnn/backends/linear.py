"""Linear cells over a stretch of steps: all products at once, and only h_t = a_t * h_{t-1} + b_t step by step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Inexact

from jaxrnn.backends.base import Steps, finish, fresh_carry, project
from jaxrnn.cell import HiddenCarry, LinearCell
from jaxrnn.numerics import carry_dtype, select


def run_linear(cell: LinearCell, params, carry, steps: Steps, reverse: bool, scan: Callable):
    """(last carry, outputs), with `scan(a, b, h0, resets, reverse)` for the recurrence."""
    us = project(cell, params, steps)
    wide = cell.widen(params, carry_dtype(steps.dtype))
    a, b = (x.astype(carry.h.dtype) for x in cell.coefficients(wide, us))
    if a.ndim == b.ndim or steps.acting is not None:  # else it is the same at every step, which a scan may use
        a = jnp.broadcast_to(a, b.shape)
    if steps.acting is not None:
        a = select(steps.acting, a, jnp.ones_like(a))
        b = select(steps.acting, b, jnp.zeros_like(b))
    if steps.resets is not None:
        b = select(steps.resets, b + a * fresh_carry(cell, steps).h, b)
    hs = scan(a, b, carry.h, steps.resets, reverse)
    ys = finish(cell.readout(wide, hs, us), steps.acting, steps.dtype)
    if steps.time == 0:
        return carry, ys
    return HiddenCarry(hs[0 if reverse else -1]), ys


def previous(hs, h0, resets, reverse: bool):
    """h_{t-1} for every t, as the step at t saw it."""
    ordered = [hs[1:], h0[None]] if reverse else [h0[None], hs[:-1]]
    before = jnp.concatenate(ordered) if hs.shape[0] else hs
    return before if resets is None else select(resets, jnp.zeros_like(before), before)


def with_adjoint(scan: Callable) -> Callable:
    """`scan(a, b, h0, resets, reverse)` of all h_t = a_t * h_{t-1} + b_t with its derivative: the same against time.

        l_t = g_t + a_{t+1} l_{t+1}        db_t = l_t        da_t = l_t h_{t-1}

    for cotangents g; JAX's take no conjugate. Where `a` lacks the axis of time, da is the sum over it.
    """
    function = jax.custom_vjp(scan, nondiff_argnums=(4,))

    def forward(a, b, h0, resets, reverse: bool):
        hs = function(a, b, h0, resets, reverse)
        return hs, (a, h0, resets, hs)

    def backward(reverse: bool, residuals, d_hs):
        a, h0, resets, hs = residuals
        if hs.shape[0] == 0:
            return jnp.zeros_like(a), d_hs, jnp.zeros_like(h0), None
        constant, zero, first = a.ndim < hs.ndim, jnp.zeros_like(h0), -1 if reverse else 0
        later_a = a if constant else previous(a, zero, None, not reverse)
        later_resets = None if resets is None else previous(resets, jnp.zeros_like(resets[0]), None, not reverse)
        adjoints = function(later_a, d_hs, zero, later_resets, not reverse)
        d_h0 = (a if constant else a[first]) * adjoints[first]
        if resets is not None:
            d_h0 = select(resets[first], zero, d_h0)
        d_a = adjoints * previous(hs, h0, resets, reverse)
        if constant:
            _, spread = jax.vjp(lambda a: jnp.broadcast_to(a, h0.shape), a)
            (d_a,) = spread(d_a.sum(0))
        return d_a, adjoints, d_h0, None

    function.defvjp(forward, backward)
    return function


def _sequential(
    a: Inexact[Array, "..."],
    b: Inexact[Array, "time ..."],
    h0: Inexact[Array, "..."],
    resets: Bool[Array, "time ..."] | None,
    reverse: bool,
) -> Inexact[Array, "time ..."]:
    """All h_t = a_t * h_{t-1} + b_t one after the other; where `resets` holds, h_{t-1} counts as zero.

    `a` without the axis of time is the same at every step, and is never spread over them.
    """
    constant = a.ndim < b.ndim

    def step(h, inputs):
        a_t, b_t, reset = inputs
        before = h if reset is None else select(reset, jnp.zeros_like(h), h)
        after = (a if constant else a_t) * before + b_t
        return after, after

    return lax.scan(step, h0, (None if constant else a, b, resets), reverse=reverse)[1]


sequential_scan = jax.custom_vjp(_sequential, nondiff_argnums=(4,))


def _sequential_forward(a, b, h0, resets, reverse: bool):
    hs = sequential_scan(a, b, h0, resets, reverse)
    return hs, (a, h0, resets, hs)


def _sequential_backward(reverse: bool, residuals, d_hs):
    """l_t = g_t + a_{t+1} l_{t+1} against time, db_t = l_t, da_t = l_t h_{t-1} (JAX's cotangents take no conjugate)."""
    a, h0, resets, hs = residuals
    constant = a.ndim < hs.ndim

    def step(state, inputs):
        arriving, d_a = state  # a_{t+1} l_{t+1}, and the sum of da over time where a is constant
        a_t, g, before, reset = inputs
        adjoint = g + arriving
        leaving = (a if constant else a_t) * adjoint
        if reset is not None:
            leaving = select(reset, jnp.zeros_like(leaving), leaving)
        share = adjoint * before
        return (leaving, d_a + share if constant else d_a), (None if constant else share, adjoint)

    start = jnp.zeros_like(h0), jnp.zeros_like(h0) if constant else None
    streams = (None if constant else a, d_hs, previous(hs, h0, resets, reverse), resets)
    (d_h0, d_sum), (d_a, d_b) = lax.scan(step, start, streams, reverse=not reverse)
    if constant:
        _, spread = jax.vjp(lambda a: jnp.broadcast_to(a, h0.shape), a)
        (d_a,) = spread(d_sum)
    return d_a, d_b, d_h0, None


sequential_scan.defvjp(_sequential_forward, _sequential_backward)
