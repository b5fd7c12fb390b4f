"""The recurrence of a gated cell as two TPU kernels, forward and backward, with the cell's `update` traced inside.

A kernel goes through (groups, tiles of the batch, chunks of steps) in this order. The recurrent matrix of a group stays
in the chip's memory for all steps, the carry in scratch; projections, carries and adjoints stream past, chunk by chunk.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from jaxrnn.backends.base import restart
from jaxrnn.backends.shared import through
from jaxrnn.kernels.gated import Constants, only, own
from jaxrnn.kernels.grid import Grid, acts, read, write
from jaxrnn.kernels.plan import Plan
from jaxrnn.numerics import plus, select, zero_unless


def _product(x, matrix):
    narrow = matrix.dtype.itemsize == 2  # whose products are exact in any precision
    precision = lax.Precision.DEFAULT if narrow else _precision(jax.config)
    return jnp.dot(x.astype(matrix.dtype), matrix, precision=precision, preferred_element_type=jnp.float32)


def _precision(config: Any) -> lax.Precision:
    """Of the two that a TPU kernel knows, the one that is as exact as JAX's setting."""
    lowest = config.jax_default_matmul_precision in (None, "default", "fastest", "bfloat16")
    return lax.Precision.DEFAULT if lowest else lax.Precision.HIGHEST


def _shapes(tree: PyTree, shape: Callable, dtype=jnp.float32) -> PyTree:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(shape(x), dtype), tree)


def _grid(shape: tuple[int, ...], constants: Constants, plan: Plan, backwards: bool) -> Grid:
    time, batch, hidden = shape
    return Grid((time, batch, hidden), (plan.chunk, plan.batch_tile, constants.recurrent.shape[-1]), backwards)


def forward(
    update: Callable,
    constants: Constants,
    fresh: PyTree,
    carry: PyTree,
    us: tuple,
    flags,
    kept: PyTree,
    plan: Plan,
    reverse: bool,
    interpret: bool,
):
    """(last carry, carries after each step) from us (time, batch, hidden) and the first carry, float32.

    `fresh`: what a sequence that begins afresh starts from, leaves (1, hidden).
    `kept`: the dtype of each array of the carry among the carries after each step, None to leave it out.
    """
    time = us[0].shape[0]
    grid = _grid((time, *carry.h.shape), constants, plan, reverse)
    gates = constants.recurrent.shape[1]

    def kernel(flags, us, constants, fresh, first, last, carries, state):
        pointwise, fresh = read(constants.pointwise), read(fresh)
        grid.at_start(lambda: write(state, read(first)))

        def step(i):
            active, reset = acts(read(flags, i))
            before = restart(fresh, reset, read(state))
            v = tuple(_product(before.h, constants.recurrent[gate]) for gate in range(gates))
            after = select(active, update(pointwise, before, read(us, i), v), before)
            write(state, after)
            write(carries, only(kept, after), i)

        grid.loop(step)
        grid.at_end(lambda: write(last, read(state)))

    return grid.call(
        kernel,
        in_specs=(
            jax.tree.map(grid.flags, flags),
            jax.tree.map(grid.sequence, us),
            _constant_specs(grid, constants),
            jax.tree.map(grid.constant, fresh),
            jax.tree.map(grid.state, carry),
        ),
        out_specs=(jax.tree.map(grid.state, carry), jax.tree.map(grid.sequence, kept)),
        out_shape=(
            _shapes(carry, jnp.shape),
            jax.tree.map(lambda d: jax.ShapeDtypeStruct((time, *carry.h.shape), d), kept),
        ),
        scratch=(jax.tree.map(grid.scratch, carry),),
        limit=plan.limit,
        interpret=interpret,
    )(flags, us, constants, fresh, carry)


def _constant_specs(grid: Grid, constants: Constants):
    return Constants(
        grid.matrices(constants.recurrent),
        jax.tree.map(grid.constant, constants.pointwise),
    )


def backward(
    update: Callable,
    constants: Constants,
    befores: PyTree,
    us: tuple,
    vs: tuple,
    d_carries: PyTree,
    d_last: PyTree,
    flags,
    plan: Plan,
    reverse: bool,
    interpret: bool,
) -> tuple[PyTree, tuple, tuple, PyTree]:
    """Cotangents of the first carry, of v, of u where it is not v's, and of pointwise, step by step against the run.

    `vs` are None where `update` reads only u + v, which then stands in `us`; adjoints of such u are not given.
    `d_carries` are the cotangents of the carries after each step, None where there are none.
    """
    grid = _grid(us[0].shape, constants, plan, not reverse)
    gates, narrow = len(vs), constants.recurrent.dtype

    def kernel(flags, befores, us, vs, d_carries, constants, d_last, d_first, d_vs, d_us, d_pointwise, state, totals):
        pointwise = read(constants.pointwise)

        @grid.at_start
        def _():
            write(state, read(d_last))
            write(totals, jax.tree.map(jnp.zeros_like, read(totals)))

        def step(i):
            active, reset = acts(read(flags, i))
            before, u, v, d_carry = (read(stream, i) for stream in (befores, us, vs, d_carries))
            v = tuple(jnp.zeros_like(u_) if v_ is None else v_ for u_, v_ in zip(u, v, strict=False))
            d_after = plus(read(state), d_carry)
            _, update_vjp = jax.vjp(update, pointwise, before, u, v)
            share, d_before, du, dv = update_vjp(zero_unless(active, d_after))
            by_product = sum(_product(dv[gate], constants.recurrent[gate]) for gate in range(gates))
            d_before = d_before._replace(h=d_before.h + by_product)
            d_before = through(d_before, d_after, active, reset)
            write(state, d_before)
            write(totals, jax.tree.map(jnp.add, read(totals), share))
            write(d_vs, dv, i)
            write(d_us, own(du, vs), i)

        grid.loop(step)

        @grid.at_end
        def _():
            write(d_first, read(state))
            write(d_pointwise, read(totals))

    owned = own(us, vs)
    d_first, d_vs, d_us, totals = grid.call(
        kernel,
        in_specs=(
            jax.tree.map(grid.flags, flags),
            *(jax.tree.map(grid.sequence, tree) for tree in (befores, us, vs, d_carries)),
            _constant_specs(grid, constants),
            jax.tree.map(grid.state, d_last),
        ),
        out_specs=(
            jax.tree.map(grid.state, d_last),
            jax.tree.map(grid.sequence, us[:gates]),
            jax.tree.map(grid.sequence, owned),
            jax.tree.map(grid.total, constants.pointwise),
        ),
        out_shape=(
            _shapes(d_last, jnp.shape),
            _shapes(us[:gates], jnp.shape, narrow),
            _shapes(owned[:gates], jnp.shape, narrow) + _shapes(owned[gates:], jnp.shape),
            _shapes(constants.pointwise, grid.total_shape),
        ),
        scratch=(jax.tree.map(grid.scratch, d_last), jax.tree.map(grid.scratch, constants.pointwise)),
        limit=plan.limit,
        interpret=interpret,
    )(flags, befores, us, vs, d_carries, constants, d_last)
    d_pointwise = jax.tree.map(
        lambda leaf, total: total.sum(0) if leaf.shape[0] == 1 else total, constants.pointwise, totals
    )
    return d_first, d_vs, d_us, d_pointwise
