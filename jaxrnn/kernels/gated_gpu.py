"""The recurrence of a gated cell as two kernels for NVIDIA GPUs, with the cell's `update` traced inside.

A thread block holds one head's recurrent matrix, in 16 bits, in its shared memory for all steps and the carry of a few
sequences in float32 in its registers; projections, carries and adjoints stream past, fetched some steps ahead.
No block waits for another, so a head has to fit one.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import PyTree

from jaxrnn.backends.base import restart
from jaxrnn.backends.shared import through
from jaxrnn.kernels.gated import Constants, only, own
from jaxrnn.kernels.grid import acts
from jaxrnn.kernels.mosaic import lowered
from jaxrnn.kernels.plan import Plan
from jaxrnn.kernels.warpgroups import Block, Place, Streams, laid_out, wait_sent
from jaxrnn.numerics import plus, select, zero_unless


def _shapes(tree: PyTree, shape: tuple[int, ...], dtype=jnp.float32) -> PyTree:
    return jax.tree.map(lambda _: jax.ShapeDtypeStruct(shape, dtype), tree)


def _spread(constants: PyTree, hidden: int) -> PyTree:
    """Leaves of one number as one for each unit."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (1, hidden)) if x.shape == (1, 1) else x, constants)


def _walk(place: Place, streams: Streams, time: int, ahead: int, backwards: bool, step: Callable, state: PyTree):
    """The last state of `state = step(k, t, state, now, fetch)`, for what stands in the streams at this step.

    `fetch()`, to be called once all warpgroups have met, starts to bring what the slot of this step holds next.
    """

    def at(k):
        return time - 1 - k if backwards else k

    for k in range(min(ahead, time)):
        place.fetch(streams, at(k), k)

    def body(k, state):
        def fetch():
            pl.when(k + ahead < time)(lambda: place.fetch(streams, at(k + ahead), k % ahead))

        return laid_out(step(k, at(k), state, place.receive(streams, k % ahead), fetch))

    return lax.fori_loop(0, time, body, laid_out(state))


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
    time, batch, hidden = us[0].shape
    gates, width = constants.recurrent.shape[1:3]
    block = Block(width, plan.batch_tile)

    def kernel(place, inputs, outputs, matrices, h, after, loaded, met, **arriving):
        streamed, recurrent, pointwise, fresh, first = inputs
        last, carries = outputs
        streams = Streams(streamed, **arriving)
        place.hold(recurrent, matrices, loaded)
        pointwise, fresh = place.constants(pointwise), place.constants(fresh) if streamed[0] is not None else None

        def step(k, t, carry, now, fetch):
            bits, u = now
            active, reset = acts(bits)
            before = laid_out(restart(fresh, reset, carry))
            operand = h.at[k % 2]  # a slower warpgroup may still read what the last step put
            place.put(operand, before.h)
            place.meet(met)
            pl.when(k > 0)(lambda: place.send(after.at[(k + 1) % 2], carries, t + 1 if reverse else t - 1))
            fetch()
            v = place.products([[(gate, operand.at[0])] for gate in range(gates)], matrices)
            carry = laid_out(select(active, lowered(update)(pointwise, before, u, v), before))
            wait_sent(1)  # the carries of the last step may still be on their way, those before them not
            place.put(after.at[k % 2], only(carries, carry))
            return carry

        place.write(last, _walk(place, streams, time, plan.chunk, reverse, step, place.read(first)))
        place.meet(met)
        place.send(after.at[(time - 1) % 2], carries, 0 if reverse else time - 1)
        wait_sent(0)

    recurrent, pointwise, fresh = block.parts(constants.recurrent), *_spread((constants.pointwise, fresh), hidden)
    flags = None if flags is None else flags[..., 0]
    last, carries = block.call(
        kernel,
        ((flags, us), recurrent, pointwise, fresh, carry),
        (_shapes(carry, (batch, hidden)), _shapes(kept, (time, batch, hidden))),
        {
            "matrices": block.matrices(gates),
            "h": block.arrays(1),
            "after": block.arrays(len(jax.tree.leaves(kept)), jnp.float32),
            "loaded": plgpu.Barrier(),
            "met": block.barrier(),
            **block.streams((flags, us), plan.chunk),
        },
        interpret,
    )
    return last, jax.tree.map(lambda x, dtype: x.astype(dtype), carries, kept)


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
    time, batch, hidden = us[0].shape
    gates, width = constants.recurrent.shape[1:3]
    block = Block(width, plan.batch_tile)
    owned = own(us, vs)
    apart = len(jax.tree.leaves(owned[:gates]))

    @lowered
    def adjoints(pointwise, before, u, v, d_after):
        return jax.vjp(update, pointwise, before, u, v)[1](d_after)

    def kernel(place, inputs, outputs, matrices, d_gates, loaded, met, **arriving):
        streamed, recurrent, pointwise, d_last = inputs
        d_first, d_vs, d_us, d_extras, d_pointwise = outputs
        place.hold(recurrent, matrices, loaded)
        pointwise = place.constants(pointwise)

        def step(k, t, state, now, fetch):
            d_carry, totals = state
            bits, before, u, v, d_output = now
            active, reset = acts(bits)
            v = tuple(jnp.zeros_like(u_) if v_ is None else v_ for u_, v_ in zip(u, v, strict=False))
            d_after = plus(d_carry, d_output)
            share, d_before, du, dv = laid_out(
                adjoints(pointwise, before, u, v, laid_out(zero_unless(active, d_after)))
            )
            du = own(du, vs)
            wait_sent(1)  # the adjoints of the last step may still be on their way, those before them not
            shared = d_gates.at[k % 2]
            place.put(shared, (dv, du[:gates]))
            place.meet(met)
            place.send(shared, (d_vs, d_us), t)
            fetch()
            (by_product,) = place.products([[(gate, shared.at[gate]) for gate in range(gates)]], matrices)
            d_before = d_before._replace(h=d_before.h + by_product)
            place.write(d_extras, du[gates:], t)
            return laid_out(through(d_before, d_after, active, reset)), jax.tree.map(jnp.add, totals, share)

        start = place.read(d_last), jax.tree.map(jnp.zeros_like, pointwise)
        streams = Streams(streamed, **arriving)
        d_carry, totals = _walk(place, streams, time, plan.chunk, not reverse, step, start)
        place.write(d_first, d_carry)
        place.write(d_pointwise, totals)
        wait_sent(0)

    recurrent, pointwise = block.parts(constants.recurrent), _spread(constants.pointwise, hidden)
    flags = None if flags is None else flags[..., 0]
    whole, narrow = (time, batch, hidden), constants.recurrent.dtype
    streams = flags, befores, us, vs, d_carries
    d_first, d_vs, d_us, d_extras, d_pointwise = block.call(
        kernel,
        (streams, recurrent, pointwise, d_last),
        (
            _shapes(d_last, (batch, hidden)),
            _shapes(us[:gates], whole, narrow),
            _shapes(owned[:gates], whole, narrow),
            _shapes(owned[gates:], whole),
            _shapes(pointwise, (batch, hidden)),
        ),
        {
            "matrices": block.matrices(gates),
            "d_gates": block.arrays(gates + apart),
            "loaded": plgpu.Barrier(),
            "met": block.barrier(),
            **block.streams(streams, plan.chunk),
        },
        interpret,
    )
    d_pointwise = jax.tree.map(_summed_like, d_pointwise, constants.pointwise)
    return d_first, d_vs, d_us + d_extras, d_pointwise


def _summed_like(total, leaf):
    """A pointwise parameter's adjoint, summed over what shares it."""
    axes = tuple(axis for axis in range(2) if leaf.shape[axis] == 1)
    return total.sum(axes, keepdims=True)
