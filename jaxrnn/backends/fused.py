"""Chunks of a gated cell whose steps run in fused kernels; their derivatives, again, are those of the scans."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn.backends.base import Steps
from jaxrnn.backends.chunk import Adjoints, Chunks, Gates
from jaxrnn.backends.rows import Rows
from jaxrnn.backends.shared import Weights, has_plain_output
from jaxrnn.kernels import gated_gpu, gated_tpu
from jaxrnn.kernels.gated import Constants
from jaxrnn.kernels.plan import Plan
from jaxrnn.numerics import cast_like


def _differentiable(kernel: Callable, scan: Callable) -> Callable:
    """`kernel`, with the derivatives of `scan`, which computes the same, in at least the precision of the kernel."""

    def backward(inputs, d):
        return jax.vjp(lambda *inputs: cast_like(scan(*inputs), d), *inputs)[1](d)

    function = jax.custom_vjp(kernel)
    function.defvjp(lambda *inputs: (kernel(*inputs), inputs), backward)
    return function


def pack(recurrent, gates: int, width: int):
    """R as matrices (groups, gates, width, width), one for each gate; a group holds one or several heads.

    Between the heads of a group stand zeros.
    """
    blocks = recurrent[None] if recurrent.ndim == 2 else recurrent
    heads, n, _ = blocks.shape
    each = width // n
    blocks = blocks.reshape(heads // each, each, n, gates, n)
    return jnp.einsum("aergc,ef->agerfc", blocks, jnp.eye(each, dtype=blocks.dtype)).reshape(-1, gates, width, width)


@dataclass(frozen=True)
class FusedChunks(Chunks):
    """Chunks that run in kernels, `plan` for their tiles; `trained`: whether carries are kept for a gradient.

    `platform`: whose kernels. `width`: units of a group, the parts of the hidden state that do not meet in a step; on a
    GPU one head each, filled up.
    """

    platform: str
    plan: Plan
    width: int
    trained: bool
    interpret: bool

    @property
    def _kernels(self) -> Any:
        return gated_tpu if self.platform == "tpu" else gated_gpu

    @property
    def _units(self) -> int:
        """Of a group before it is filled up."""
        return self.width if self.platform == "tpu" else self.weights.recurrent.shape[-2]

    def _rows(self, batch_shape: tuple[int, ...]) -> Rows:
        return Rows(batch_shape, self.plan.batch_tile, (self._units, self.width))

    def _run(self, carry, us, steps: Steps):
        """See Chunks."""

        def kernel(weights, fresh, carry, us, steps: Steps):
            rows = self._rows(carry.h.shape[:-1])
            every = self.trained or not has_plain_output(self.cell, carry)
            kept = jax.tree.map(lambda _: jnp.float32 if every else None, carry)
            end, carries = self._kernels.forward(
                self._update(weights),
                self._constants(weights, rows),
                fresh=jax.tree.map(lambda x: rows.constant(x[None]), fresh),
                carry=rows.merge(carry),
                us=rows.merge(us, 1),
                flags=rows.flags(steps.time, steps.acting, steps.resets),
                kept=kept if every else kept._replace(h=steps.dtype),
                plan=self.plan,
                reverse=self.reverse,
                interpret=self.interpret,
            )
            return rows.part(end), rows.part(carries, 1)

        def scan(weights, fresh, carry, us, steps: Steps):
            return Chunks._run(replace(self, weights=weights, fresh=fresh), carry, us, steps)[:2]

        end, carries = _differentiable(kernel, scan)(self.weights, self.fresh, carry, us, steps)
        return end, carries, None

    def _run_adjoints(self, d_carry, befores, gates: Gates, d_outputs, steps: Steps) -> tuple[PyTree, Adjoints]:
        """See Chunks."""

        def kernel(weights, d_carry, befores, gates, d_outputs, steps):
            rows = self._rows(d_carry.h.shape[:-1])
            d_first, dv, du, d_pointwise = self._kernels.backward(
                self._update(weights),
                self._constants(weights, rows, adjoint=True),
                befores=rows.merge(befores, 1),
                us=rows.merge(gates.us, 1),
                vs=rows.merge(gates.vs, 1),
                d_carries=rows.merge(d_outputs, 1, zeros=True),
                d_last=rows.merge(d_carry, zeros=True),
                flags=rows.flags(steps.time, steps.acting, steps.resets),
                plan=self.plan,
                reverse=self.reverse,
                interpret=self.interpret,
            )
            d_pointwise = jax.tree.map(
                lambda d, x: rows.part(d) if x.ndim > 1 else rows.own_units(d).reshape(x.shape),
                d_pointwise,
                weights.pointwise,
            )
            return rows.part(d_first), Adjoints(d_pointwise, rows.part(du, 1), rows.part(dv, 1))

        def scan(weights, *streams):
            return Chunks._run_adjoints(replace(self, weights=weights), *streams)

        return _differentiable(kernel, scan)(self.weights, d_carry, befores, gates, d_outputs, steps)

    def _constants(self, weights: Weights, rows: Rows, adjoint: bool = False) -> Constants:
        """What all steps share; pointwise parameters as arrays of two axes, see _update."""
        matrices = pack(weights.recurrent, self.cell.gates, self._units)
        missing, none = (0, self.width - self._units), (0, 0)
        if self.width > self._units:  # what fills a head up are copies of its last unit, which no unit reads
            matrices = jnp.pad(matrices, [none, none, missing, none])
            matrices = jnp.pad(matrices, [none, none, none, missing], mode="edge")
        pointwise = jax.tree.map(
            lambda x: rows.merge(x) if x.ndim > 1 else rows.constant(x.reshape(1, x.size)), weights.pointwise
        )
        return Constants(matrices.swapaxes(-1, -2) if adjoint else matrices, pointwise)

    def _update(self, weights: Weights) -> Callable:
        """The cell's, which takes pointwise parameters in their own shapes."""
        if self.platform != "tpu":  # there all of them are as full as the states
            return self.cell.update
        axes = jax.tree.map(lambda x: x.ndim, weights.pointwise)

        def update(pointwise, carry, u, v):
            own = jax.tree.map(lambda x, n: x if n > 1 else jnp.squeeze(x, tuple(range(2 - n))), pointwise, axes)
            return self.cell.update(own, carry, u, v)

        return update
