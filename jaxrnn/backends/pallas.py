"""Fused kernels for gated cells, made from the cell's own `update`: a whole sequence in one launch each way."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn.backends.base import Steps, fresh_carry, project
from jaxrnn.backends.chunk import read_as_sum
from jaxrnn.backends.elementwise import is_elementwise
from jaxrnn.backends.fused import FusedChunks
from jaxrnn.backends.fused_linear import fused_scan
from jaxrnn.backends.in_chunks import InChunks, unroll_in_chunks
from jaxrnn.backends.linear import run_linear
from jaxrnn.backends.scan import Scan
from jaxrnn.backends.shared import Weights, has_plain_output
from jaxrnn.cell import Cell, GatedCell, LinearCell, recurrent_product
from jaxrnn.errors import UnsupportedBackend
from jaxrnn.kernels.chips import CHIPS, Chip, chip_at_hand
from jaxrnn.kernels.grid import LANES
from jaxrnn.kernels.plan import Plan, Problem, plan
from jaxrnn.numerics import carry_dtype, cast


@dataclass(frozen=True)
class Pallas(InChunks):
    """Any gated cell in fused kernels, forward and backward; on TPUs (no time of one was ever measured).

    The recurrent matrix stays on the chip for all steps and the carry in float32 beside it; `update` and its `jax.vjp`
    are traced inside the kernels, and the gradients of all weights are products outside. bfloat16 and float32; products
    of float32 as exact as `jax.default_matmul_precision` says. Carries of every step are kept for the gradient, or
    with `checkpoint_every=k` those of every k-th step. Reverse mode to any order, beyond the first at the speed of
    ChunkedScan; forward mode needs Scan().

    `target`: the chip to plan for, one of "v4", "v5e", "v5p", "v6e" and "7x", also on a machine without it, to compile
    ahead of time. Default: the chip at hand. `interpret`: run the kernels' equations on any device, slowly: for tests.
    Default: no. `plan`: tiles of the kernels. Default: chosen by what the chip's memory holds.

    Raises:
        ValueError: `target` is no chip of the list, or `checkpoint_every` below 1.
    """

    target: str | None = None
    interpret: bool = False
    checkpoint_every: int | None = None
    plan: Plan | None = None

    def __post_init__(self):  # noqa: D105
        self._check_positive(checkpoint_every=self.checkpoint_every)
        if self.target is not None and self.target not in CHIPS:
            raise ValueError(f"Pallas: `target` must be one of {', '.join(CHIPS)}, or None, got {self.target!r}.")

    @property
    def chip(self) -> Chip | None:
        """The chip that kernels are planned for."""
        if self.target is not None:
            return CHIPS[self.target]
        return chip_at_hand() or (CHIPS["v5e"] if self.interpret else None)

    def refuses(self, cell: Cell, xs: PyTree) -> str | None:
        """See Backend."""
        if not isinstance(cell, GatedCell | LinearCell):
            return f"{type(cell).__name__} is neither a GatedCell nor a LinearCell, the two that kernels are made for"
        if self.chip is None:
            chips = ", ".join(f'"{name}"' for name in CHIPS)
            return (
                f"its kernels are for TPUs, and the default device is {jax.devices()[0].device_kind}; "
                f"`target` of {chips} compiles for another machine, `interpret=True` runs anywhere, slowly"
            )
        leaves, structure = jax.tree.flatten(xs)
        if leaves[0].dtype not in (jnp.float32, jnp.bfloat16):
            return f"its kernels take float32 and bfloat16, and `xs` is {leaves[0].dtype}"
        if isinstance(cell, LinearCell):
            return None
        return _refusal(self, self.chip, cell, structure, tuple((x.shape, jnp.dtype(x.dtype)) for x in leaves))

    def sized(self, cell: Cell, xs: PyTree) -> "Pallas":
        """See Backend."""
        if not isinstance(cell, GatedCell):
            return self
        planned = _abstractly(self, cell, xs, lambda *run: self._plan(_problem(cell, *run), trained=True))
        return dataclasses.replace(self, plan=planned)

    def run(self, cell: Cell, params, carry, steps: Steps, reverse: bool):
        """See Backend."""
        assert isinstance(cell, GatedCell | LinearCell) and self.chip is not None  # see `refuses`
        if steps.time == 0 or carry.h.size == 0:
            return Scan().run(cell, params, carry, steps, reverse)
        if isinstance(cell, LinearCell):
            return run_linear(cell, params, carry, steps, reverse, fused_scan(self.chip.memory, self.interpret))
        pointwise = cast(cell.pointwise(params), carry_dtype(steps.dtype))
        return unroll_in_chunks(cell, self, reverse, Weights(params, cell.recurrent(params), pointwise), carry, steps)

    def chunks(self, cell: Cell, reverse: bool, weights: Weights, carry, steps: Steps, trained: bool) -> FusedChunks:
        """See InChunks: one chunk between checkpoints."""
        assert isinstance(cell, GatedCell)
        problem = _problem(cell, weights, carry, steps)
        return FusedChunks(
            cell=cell,
            length=self.stretch(steps.time),
            single=True,
            reverse=reverse,
            keep=False,
            weights=weights,
            fresh=fresh_carry(cell, steps),
            summed=read_as_sum(cell, weights, carry, steps),
            transposed=None,
            plan=self._plan(problem, trained),
            width=problem.width,
            trained=trained,
            interpret=self.interpret,
        )

    def _plan(self, problem: Problem, trained: bool) -> Plan:
        assert self.chip is not None  # see `refuses`
        return self.plan or plan(problem, self.chip, trained)


def _problem(cell: GatedCell, weights: Weights, carry, steps: Steps) -> Problem:
    """What the plan of a kernel depends on; UnsupportedBackend where no kernel is for such shapes."""
    name, hidden, batch = type(cell).__name__, cell.hidden_size, carry.h.shape[:-1]
    first = jax.tree.map(lambda x: x[0], steps)
    u = jax.eval_shape(lambda params, step: project(cell, params, step), weights.params, first)
    v = jax.eval_shape(lambda h, recurrent: recurrent_product(h, recurrent, cell.gates), carry.h, weights.recurrent)
    extras = jax.tree.leaves(u[cell.gates :])
    for what, leaves in {"the carry": jax.tree.leaves(carry), "u": jax.tree.leaves(u)}.items():
        for leaf in leaves:
            if leaf.shape != (*batch, hidden) or not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise UnsupportedBackend(
                    f"its kernels take {what} of {name} as real arrays (*batch, hidden), and one is {leaf.dtype} "
                    f"{leaf.shape} for a batch {batch} and {hidden} units"
                )
    for leaf in jax.tree.leaves(weights.pointwise):
        if leaf.shape not in ((), (1,), (hidden,), (*batch, hidden)):
            raise UnsupportedBackend(
                f"its kernels take pointwise parameters of {name} as (hidden,) or (*batch, hidden), "
                f"and one is {leaf.shape}"
            )
    units = hidden
    if weights.recurrent.ndim == 3 and is_elementwise(cell, weights.pointwise, carry, u, v):
        units = weights.recurrent.shape[1]
    return Problem(
        time=steps.time,
        batch=carry.h.size // hidden,
        width=_width(units, hidden),
        gates=cell.gates,
        groups=hidden // _width(units, hidden),
        apart=cell.gates - sum(read_as_sum(cell, weights, carry, steps)),
        extras=len(extras),
        carries=len(jax.tree.leaves(carry)),
        outputs=1 if has_plain_output(cell, carry) else len(jax.tree.leaves(carry)),
        pointwise=len(jax.tree.leaves(weights.pointwise)),
        itemsize=steps.dtype.itemsize,
    )


def _width(units: int, hidden: int) -> int:
    """The fewest units that form a group: whole heads, and whole lanes of a TPU, else all units."""
    return next((w for w in range(units, hidden, units) if w % LANES == 0 and hidden % w == 0), hidden)


def _abstractly(backend: Pallas, cell: GatedCell, xs: PyTree, ask) -> Any:
    """What `ask(weights, carry, steps)` answers for parameters as `init` makes them, and all flags."""
    answers = []

    def run(key, xs):
        leaf = jax.tree.leaves(xs)[0]
        batch, dtype = leaf.shape[1:-1], leaf.dtype
        params = cell.init(key, leaf.shape[-1], dtype)
        pointwise = cast(cell.pointwise(params), carry_dtype(dtype))
        acts = jnp.zeros(leaf.shape[:-1], bool)
        weights = Weights(params, cell.recurrent(params), pointwise)
        answers.append(ask(weights, cell.init_carry(batch, carry_dtype(dtype)), Steps(xs, acts, acts)))

    jax.eval_shape(run, jax.random.key(0), xs)
    return answers[0]


@functools.lru_cache(maxsize=1024)
def _refusal(backend: Pallas, chip: Chip, cell: GatedCell, structure, leaves) -> str | None:
    """Why not; cached, so that a call that was made before costs nothing."""
    xs = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
    if jax.tree.leaves(xs)[0].size == 0:
        return None
    try:
        _abstractly(backend, cell, xs, lambda *run: backend._plan(_problem(cell, *run), trained=True))
    except UnsupportedBackend as error:
        return str(error)
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        return f"the shapes of its parameters cannot be told from `xs` ({error})"
    return None if backend.interpret else _lowering_error(backend, chip, cell, xs)


def _lowering_error(backend: Pallas, chip: Chip, cell: GatedCell, xs: PyTree) -> str | None:
    """What the lowering of both kernels says of an `update` that holds what they do not know; None if it knows all."""
    leaf = jax.tree.leaves(xs)[0]
    key = jax.eval_shape(lambda: jax.random.key(0))

    def both(key, xs, acts):
        params = cell.init(key, leaf.shape[-1], leaf.dtype)
        carry = cell.init_carry(leaf.shape[1:-1], carry_dtype(leaf.dtype))
        value, pullback = jax.vjp(lambda p, c: backend.run(cell, p, c, Steps(xs, acts, acts), False), params, carry)
        return value, pullback(value)

    acts = jax.ShapeDtypeStruct(leaf.shape[:-1], bool)
    try:
        jax.jit(both).trace(key, xs, acts).lower(lowering_platforms=(chip.platform,))
    except (NotImplementedError, ValueError, TypeError) as error:
        return f"its kernels cannot hold the update of {type(cell).__name__}: {str(error).splitlines()[0]}"
    return None
