"""Fused kernels for gated and linear cells, made from the cell's own equations: a sequence in one launch each way."""

import dataclasses
import functools
import os
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn.backends.base import Steps, fresh_carry, project
from jaxrnn.backends.chunk import read_as_sum
from jaxrnn.backends.fused import FusedChunks
from jaxrnn.backends.fused_linear import fused_scan
from jaxrnn.backends.in_chunks import InChunks, unroll_in_chunks
from jaxrnn.backends.linear import run_linear
from jaxrnn.backends.meeting import are_units_apart, check_sequences_apart
from jaxrnn.backends.scan import Scan
from jaxrnn.backends.shared import Weights, gated_weights, has_plain_output
from jaxrnn.cell import Cell, GatedCell, LinearCell, recurrent_product
from jaxrnn.errors import UnsupportedBackend
from jaxrnn.kernels.chips import CHIPS, Chip, chip_at_hand
from jaxrnn.kernels.grid import LANES, round_up
from jaxrnn.kernels.plan import UNITS, Plan, Problem, plan
from jaxrnn.numerics import carry_dtype

_THREADS = 8  # fewer can all be waiting for a warpgroup that none of them is left to run
_ROWS = 7919  # sequences of a tile whose equations are read: a prime, as no other axis should be as long


@dataclass(frozen=True)
class Pallas(InChunks):
    """Fused kernels for gated and linear cells, forward and backward; on Hopper GPUs, and TPUs (not run on one yet).

    Gated cells: the recurrent matrix stays on the chip for all steps and the carry in float32 beside it; `update` and
    its `jax.vjp` are traced inside the kernels, and the gradients of all weights are products outside. Carries of every
    step are kept for the gradient, or with `checkpoint_every=k` those of every k-th step. Sequences that meet in
    `update` are refused. Linear cells: `h' = a * h + b`, real or complex; its gradient is the same kernel against time.

    TPUs: bfloat16 and float32, whose products are of highest precision where `jax.default_matmul_precision` asks for
    more than its default; `update` may do anything within a sequence that a TPU kernel can. GPUs, from JAX 0.11 on:
    bfloat16 (linear cells float32), `update` has to work unit by unit, and a head, or the whole of one that has none,
    fits one thread block: 128 units of an LSTM or GRU, 256 of an Elman network.

    Reverse mode to any order, of gated cells beyond the first by the steps of ChunkedScan; forward mode needs Scan().
    On several devices a kernel runs inside `jax.shard_map`. Under `jax.vmap`, one launch on a GPU follows the other.

    `target`: the chip to plan for, one of "v4", "v5e", "v5p", "v6e", "7x", "h100" and "h200", also on a machine without
    it, to compile ahead of time. Default: the chip at hand, and "v5e" where that is none and `interpret` holds.
    `interpret`: run the kernels' equations on any device, slowly: for tests. Default: no. `plan`: tiles of the kernels
    for gated cells, a `jaxrnn.kernels.plan.Plan`. Default: chosen by what the chip's memory holds.

    Raises:
        ValueError: `target` is no chip of the list, `checkpoint_every` or a tile below 1.
        TypeError: `plan` is no Plan.
    """

    target: str | None = None
    interpret: bool = False
    checkpoint_every: int | None = None
    plan: Plan | None = None

    def __post_init__(self):  # noqa: D105
        self._check_positive(checkpoint_every=self.checkpoint_every)
        if self.plan is not None:
            if not isinstance(self.plan, Plan):
                raise TypeError(f"Pallas: `plan` must be a jaxrnn.kernels.plan.Plan or None, got {self.plan!r}.")
            self._check_positive(batch_tile=self.plan.batch_tile, chunk=self.plan.chunk, limit=self.plan.limit)
        if self.target is not None and (not isinstance(self.target, str) or self.target not in CHIPS):
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
                f"its kernels are for TPUs and Hopper GPUs, and the first device is {jax.devices()[0].device_kind}; "
                f"`target` of {chips} compiles for another machine, `interpret=True` runs anywhere, slowly"
            )
        leaves, structure = jax.tree.flatten(xs)
        if self.chip.platform == "cuda" and (reason := self._refusal_of_gpus(cell, leaves[0].dtype)):
            return reason
        if leaves[0].dtype not in (jnp.float32, jnp.bfloat16):
            return f"its kernels take float32 and bfloat16, and `xs` is {leaves[0].dtype}"
        if isinstance(cell, LinearCell):
            if self.checkpoint_every is None and self.plan is None:
                return None
            return "`checkpoint_every` and `plan` are for gated cells; leave them None"
        settings = _settings(jax.config)
        shapes = tuple((x.shape, jnp.dtype(x.dtype)) for x in leaves)
        return _refusal(self, self.chip, cell, structure, shapes, settings)

    def _refusal_of_gpus(self, cell: Cell, dtype) -> str | None:
        """What kernels for GPUs cannot do and those for TPUs can."""
        if jax.__version_info__ < (0, 11):
            return f"its kernels for GPUs need JAX 0.11 or newer, and this is {jax.__version__}"
        if isinstance(cell, GatedCell) and dtype != jnp.bfloat16:
            return f"its kernels of gated cells for GPUs take bfloat16, and `xs` is {dtype}"
        if self.plan is not None and self.plan.batch_tile % CHIPS["h100"].rows:
            return f"a GPU takes sequences by the sixteen, and the `batch_tile` of `plan` is {self.plan.batch_tile}"
        return None

    def sized(self, cell: Cell, xs: PyTree) -> "Pallas":
        """See Backend."""
        if not isinstance(cell, GatedCell) or any(x.size == 0 for x in jax.tree.leaves(xs)):
            return self
        assert self.chip is not None  # see `refuses`
        chip = self.chip
        planned = _abstractly(
            cell, xs, lambda *run: self._plan(_problem(chip, self.interpret, cell, *run), trained=True)
        )
        return dataclasses.replace(self, plan=planned)

    def run(self, cell: Cell, params, carry, steps: Steps, reverse: bool):
        """See Backend."""
        assert isinstance(cell, GatedCell | LinearCell) and self.chip is not None  # see `refuses`
        if steps.time == 0 or carry.h.size == 0:
            return Scan().run(cell, params, carry, steps, reverse)
        if isinstance(cell, LinearCell):
            return run_linear(cell, params, carry, steps, reverse, fused_scan(self.chip, self.interpret))
        return unroll_in_chunks(cell, self, reverse, gated_weights(cell, params, steps), carry, steps)

    def chunks(self, cell: Cell, reverse: bool, weights: Weights, carry, steps: Steps, trained: bool) -> FusedChunks:
        """See InChunks: one chunk between checkpoints."""
        assert isinstance(cell, GatedCell)
        assert self.chip is not None  # see `refuses`
        problem = _problem(self.chip, self.interpret, cell, weights, carry, steps)
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
            platform=self.chip.platform,
            plan=self._plan(problem, trained),
            width=problem.width,
            trained=trained,
            interpret=self.interpret,
        )

    def _plan(self, problem: Problem, trained: bool) -> Plan:
        assert self.chip is not None  # see `refuses`
        return self.plan or plan(problem, self.chip, trained)


def _problem(chip: Chip, interpret: bool, cell: GatedCell, weights: Weights, carry, steps: Steps) -> Problem:
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
                f"its kernels take pointwise parameters of {name} as (hidden,), (*batch, hidden) or one number, "
                f"and one is {leaf.shape}"
            )
    check_sequences_apart(cell.update, *_seen_by_update(hidden, hidden, weights.pointwise, carry, u, v))
    width = hidden
    if chip.platform == "cuda":
        part = weights.recurrent.shape[-2]
        if not are_units_apart(cell.update, *_seen_by_update(part, hidden, weights.pointwise, carry, u, v)):
            raise UnsupportedBackend(
                f"its kernels for GPUs take an update unit by unit, and units of {name} meet in its own"
            )
        width = round_up(part, UNITS)
        threads = max(os.cpu_count() or 1, len(jax.devices("cpu")))
        if interpret and width > UNITS and threads < _THREADS:
            raise UnsupportedBackend(
                f"interpreting heads of more than {UNITS} units takes {_THREADS} threads, and JAX has {threads} here; "
                f"start Python with XLA_FLAGS=--xla_force_host_platform_device_count={_THREADS}"
            )
    elif weights.recurrent.ndim == 3:
        part = _width(weights.recurrent.shape[1], hidden)
        if are_units_apart(cell.update, *_seen_by_update(part, hidden, weights.pointwise, carry, u, v)):
            width = part
    own = sum(leaf.ndim > 1 for leaf in jax.tree.leaves(weights.pointwise))
    return Problem(
        time=steps.time,
        batch=carry.h.size // hidden,
        width=width,
        gates=cell.gates,
        apart=cell.gates - sum(read_as_sum(cell, weights, carry, steps)),
        extras=len(extras),
        carries=len(jax.tree.leaves(carry)),
        outputs=1 if has_plain_output(cell, carry) else len(jax.tree.leaves(carry)),
        pointwise=len(jax.tree.leaves(weights.pointwise)) - own,
        own_pointwise=own,
        itemsize=steps.dtype.itemsize,
    )


def _seen_by_update(width: int, hidden: int, *arguments) -> list:
    """Shapes of what `update` is given for a tile of sequences, as many as no other axis is long, and some units."""
    rows = _ROWS if hidden != _ROWS else _ROWS + 1

    def leaf(x):
        shape = (rows, width) if x.ndim > 1 else x.shape
        return jax.ShapeDtypeStruct((width,) if shape == (hidden,) else shape, x.dtype)

    pointwise, *states = arguments
    of_sequences = jax.tree.map(lambda x: jax.ShapeDtypeStruct((rows, width), x.dtype), states)
    return [jax.tree.map(leaf, pointwise), *of_sequences]


def _width(units: int, hidden: int) -> int:
    """The fewest units that form a group: whole heads, and whole lanes of a TPU, else all units."""
    return next((w for w in range(units, hidden, units) if w % LANES == 0 and hidden % w == 0), hidden)


def _as_init_makes(cell: GatedCell, key, xs: PyTree) -> tuple[Any, Any, Steps]:
    """(parameters, carry, steps with all flags) of a run over `xs`."""
    leaf = jax.tree.leaves(xs)[0]
    acts = jnp.zeros(leaf.shape[:-1], bool)
    carry = cell.init_carry(leaf.shape[1:-1], carry_dtype(leaf.dtype))
    return cell.init(key, leaf.shape[-1], leaf.dtype), carry, Steps(xs, acts, acts)


def _abstractly(cell: GatedCell, xs: PyTree, ask) -> Any:
    """What `ask(weights, carry, steps)` answers for parameters as `init` makes them, and all flags."""
    answers = []

    def run(key, xs):
        params, carry, steps = _as_init_makes(cell, key, xs)
        answers.append(ask(gated_weights(cell, params, steps), carry, steps))

    jax.eval_shape(run, jax.random.key(0), xs)
    return answers[0]


def _settings(config: Any) -> tuple:
    """What tracing a kernel reads of JAX's configuration."""
    return config.jax_default_matmul_precision, config.jax_enable_x64


@functools.lru_cache(maxsize=1024)
def _refusal(backend: Pallas, chip: Chip, cell: GatedCell, structure, leaves, settings) -> str | None:
    """Why not; cached by all that the answer depends on, `settings` of JAX among it, as a first answer takes long."""
    xs = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
    if jax.tree.leaves(xs)[0].size == 0:
        return None
    try:
        problem = functools.partial(_problem, chip, backend.interpret, cell)
        _abstractly(cell, xs, lambda *run: backend._plan(problem(*run), trained=True))
    except UnsupportedBackend as error:
        return str(error)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, NotImplementedError) as error:
        return f"the shapes of its parameters cannot be told from `xs` ({error})"
    return None if backend.interpret else _lowering_error(backend, chip, cell, xs)


def _lowering_error(backend: Pallas, chip: Chip, cell: GatedCell, xs: PyTree) -> str | None:
    """What the lowering of both kernels says of an `update` that holds what they do not know; None if it knows all."""

    def both(key, xs):
        params, carry, steps = _as_init_makes(cell, key, xs)
        value, pullback = jax.vjp(lambda p, c: backend.run(cell, p, c, steps, False), params, carry)
        return value, pullback(value)

    try:
        jax.jit(both).trace(jax.eval_shape(jax.random.key, 0), xs).lower(lowering_platforms=(chip.platform,))
    except Exception as error:  # noqa: BLE001 - whatever a compiler says of an update that it does not know
        return f"its kernels cannot hold the update of {type(cell).__name__}: {str(error).splitlines()[0]}"
    return None
