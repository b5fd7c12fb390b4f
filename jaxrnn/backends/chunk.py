"""One chunk of a gated cell's recurrence, forward and backward.

Backward has u and v of all its steps from the forward pass or rebuilds them by one product each, runs the adjoint
steps with `jax.vjp` of the cell's update, and only then forms the chunk's share of every weight gradient, by one
product each.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn.backends.base import Steps, project, restart
from jaxrnn.backends.shared import (
    Saved,
    Weights,
    befores_of,
    has_plain_output,
    output_adjoint,
    outputs,
    scan_steps,
    through,
)
from jaxrnn.cell import GatedCell, recurrent_product
from jaxrnn.numerics import carry_dtype, cast, matmul, plus, select, zero_unless


class Gates(NamedTuple):
    """u and v of some steps; where `update` reads only their sum it stands in `us`, and None in `vs`."""

    us: tuple
    vs: tuple

    def apart(self):
        """u and v as `update` takes them."""
        return self.us, tuple(jnp.zeros_like(u) if v is None else v for u, v in zip(self.us, self.vs, strict=False))


class Adjoints(NamedTuple):
    """Cotangents of pointwise parameters, u and v of some steps; None for a gate of u that has that of v."""

    pointwise: PyTree
    us: tuple
    vs: tuple


def read_as_sum(cell: GatedCell, weights: Weights, carry, steps: Steps) -> tuple[bool, ...]:
    """For each gate: whether `update` reads u and v in their sum alone, so that one buffer serves both.

    Read off the traced update: a stopped gradient could hide a second use from the derivatives.
    """
    step = jax.tree.map(lambda x: x[0], steps)
    u = jax.eval_shape(lambda params, step: project(cell, params, step), weights.params, step)
    v = jax.eval_shape(lambda h, recurrent: recurrent_product(h, recurrent, cell.gates), carry.h, weights.recurrent)
    jaxpr = jax.make_jaxpr(cell.update)(weights.pointwise, carry, u, v).jaxpr
    first_u = len(jaxpr.invars) - len(v) - len(jax.tree.leaves(u))  # behind the gates u may hold trees of arrays
    us, vs = jaxpr.invars[first_u:], jaxpr.invars[-len(v) :]

    def only_summed(a, b) -> bool:
        readers = [eqn for eqn in jaxpr.eqns if any(x is a or x is b for x in eqn.invars)]
        if len(readers) != 1 or any(x is a or x is b for x in jaxpr.outvars):
            return False
        return readers[0].primitive.name == "add" and {id(a), id(b)} == {id(x) for x in readers[0].invars}

    return tuple(only_summed(a, b) for a, b in zip(us, vs, strict=False))


def _join_gates(gates: tuple):
    return jnp.concatenate(gates, axis=-1)


def _part_gates(joined, count: int) -> tuple:
    return tuple(jnp.split(joined, count, axis=-1))


@dataclass(frozen=True)
class Chunks:
    """How every chunk of one run is computed.

    `length`: steps per chunk. `single`: whether a stretch is one chunk, and rebuilding carries would save no memory.
    `keep`: whether gates go from the forward to the backward pass. `summed`: see read_as_sum. `transposed`: R^T for the
    adjoint of h, transposed once for all steps; None where R is block-diagonal.
    """

    cell: GatedCell
    length: int
    single: bool
    reverse: bool
    keep: bool
    weights: Weights
    fresh: PyTree
    summed: tuple[bool, ...]
    transposed: Any

    def forward(self, carry, steps: Steps):
        """The last carry, and (what backward needs, outputs unless they are plain)."""
        us = project(self.cell, self.weights.params, steps)
        end, carries, gates = self._run(carry, us, steps)
        plain = has_plain_output(self.cell, carries)
        ys = None if plain else outputs(self.cell, self.weights.params, carries, us, steps)
        return end, (Saved(carry, carries._replace(**dict.fromkeys(self._rebuilt(carry))), gates), ys)

    def backward(self, cotangents, inputs):
        """Takes (cotangent of the last carry, of the weights so far) to the same for the first carry, and d_xs.

        `inputs` are the steps, what `forward` saved of them, and the outputs' cotangents. Cotangents of weights are
        kept in the carry's precision.
        """
        d_carry, d_weights = cotangents
        steps, (first, carries, gates), d_ys = inputs
        cell, weights, dtype = self.cell, self.weights, carry_dtype(steps.dtype)
        h_befores = befores_of(first.h, carries.h, steps, self.fresh.h, self.reverse)
        us = project(cell, weights.params, steps)  # not computed where nobody reads it
        if gates is None:
            gates = self._sum(us[: cell.gates], recurrent_product(h_befores, weights.recurrent, cell.gates))
        gates = gates._replace(us=(*gates.us, *us[cell.gates :]))
        befores, carries = self._all_carries(first, carries, h_befores, gates, steps)
        d_params_direct, d_outputs, d_us_direct = output_adjoint(cell, weights.params, carries, us, steps, d_ys)
        d_carry, adjoints = self._run_adjoints(d_carry, befores, gates, d_outputs, steps)
        adjoints = cast(adjoints, dtype)  # kernels hand them over in the precision of the products
        du = tuple(v if u is None else u for u, v in zip(adjoints.us, adjoints.vs, strict=False))
        du = plus((*du, *adjoints.us[cell.gates :]), d_us_direct)
        _, project_vjp = jax.vjp(lambda p, x: project(cell, p, steps._replace(xs=x)), weights.params, steps.xs)
        d_params, d_xs = project_vjp(du)
        _, product_vjp = jax.vjp(lambda r: recurrent_product(h_befores, r, cell.gates), weights.recurrent)
        (d_recurrent,) = product_vjp(adjoints.vs)
        d_weights = plus(d_weights, Weights(*cast((d_params, d_recurrent, adjoints.pointwise), dtype)))
        d_params = plus(d_weights.params, cast(d_params_direct, dtype))
        return (d_carry, d_weights._replace(params=d_params)), d_xs

    def _run(self, carry, us, steps: Steps):
        """(last carry, carries after each step, gates where they are kept)."""
        cell, weights = self.cell, self.weights

        def step(carry, inputs):
            u, active, reset = inputs
            before = restart(self.fresh, reset, carry)
            v = recurrent_product(before.h, weights.recurrent, cell.gates)
            after = select(active, cell.update(weights.pointwise, before, u, v), before)
            return after, (after, self._sum(u, v) if self.keep else None)

        end, (carries, gates) = scan_steps(step, carry, (us, steps.acting, steps.resets), self.reverse)
        return end, carries, gates

    def _run_adjoints(self, d_carry, befores, gates: Gates, d_outputs, steps: Steps) -> tuple[PyTree, Adjoints]:
        """(cotangent of the first carry, what the steps give), from that of the last and of all carries by outputs."""
        cell, weights = self.cell, self.weights

        def adjoint_step(state, inputs):
            d_after, d_pointwise = state
            before, gates, d_output, active, reset = inputs
            d_after = plus(d_after, d_output)
            _, update_vjp = jax.vjp(cell.update, weights.pointwise, before, *gates.apart())
            share, d_before, du, dv = update_vjp(zero_unless(active, d_after))
            joined = _join_gates(dv)
            d_before = d_before._replace(h=d_before.h + self._product_adjoint(before.h, joined))
            d_before = through(d_before, d_after, active, reset)
            # Streams in come gate by gate, which XLA reads faster; adjoints go out joined, as the products need them.
            own = tuple(None if together else d for d, together in zip(du, self.summed, strict=False))
            return (d_before, plus(d_pointwise, share)), (joined, (*own, *du[cell.gates :]))

        start = d_carry, jax.tree.map(jnp.zeros_like, weights.pointwise)
        streams = (befores, gates, d_outputs, steps.acting, steps.resets)
        (d_carry, d_pointwise), (dv, du) = scan_steps(adjoint_step, start, streams, not self.reverse)
        return d_carry, Adjoints(d_pointwise, du, _part_gates(dv, cell.gates))

    def _rebuilt(self, carry) -> list[str]:
        """The parts of the carry that are not kept."""
        return [] if self.single else [name for name in carry._fields if name != "h"]

    def _all_carries(self, first, carries, h_befores, gates: Gates, steps: Steps):
        """The carries before and after each step; what was not kept follows from h by `update`, step by step."""
        if not self._rebuilt(first):
            return befores_of(first, carries, steps, self.fresh, self.reverse), carries

        def step(rest, inputs):
            h, gates, active, reset = inputs
            before = restart(self.fresh, reset, rest._replace(h=h))
            after = select(active, self.cell.update(self.weights.pointwise, before, *gates.apart()), before)
            rest = after._replace(h=None)
            return rest, (before._replace(h=None), rest)

        streams = (h_befores, gates, steps.acting, steps.resets)
        _, (befores, afters) = scan_steps(step, first._replace(h=None), streams, self.reverse)
        return befores._replace(h=h_befores), afters._replace(h=carries.h)

    def _sum(self, us, vs) -> Gates:
        sums = tuple(u + v if together else u for u, v, together in zip(us, vs, self.summed, strict=False))
        return Gates(sums, tuple(None if together else v for v, together in zip(vs, self.summed, strict=True)))

    def _product_adjoint(self, h, dv):
        """The cotangent of h by way of h @ R; dv of all gates joined."""
        if self.transposed is not None:
            return matmul(dv, self.transposed)
        _, product_vjp = jax.vjp(lambda h: recurrent_product(h, self.weights.recurrent, self.cell.gates), h)
        return product_vjp(_part_gates(dv, self.cell.gates))[0]
