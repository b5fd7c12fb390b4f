"""Fused kernels for gated and linear cells, made from the cell's own equations: a sequence in one launch each way."""

import dataclasses
import functools
import os
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn.backends.base import Steps, fresh_carry
from jaxrnn.backends.chunk import read_as_sum
from jaxrnn.backends.fused import FusedChunks
from jaxrnn.backends.fused_linear import fused_scan
from jaxrnn.backends.in_chunks import InChunks, unroll_in_chunks
from jaxrnn.backends.linear import run_linear
from jaxrnn.backends.problem import problem_of
from jaxrnn.backends.scan import Scan
from jaxrnn.backends.shared import Weights, gated_weights
from jaxrnn.cell import Cell, GatedCell, LinearCell
from jaxrnn.errors import UnsupportedBackend
from jaxrnn.kernels.chips import CHIPS, Chip, chip_at_hand
from jaxrnn.kernels.plan import SEQUENCES, UNITS, Plan, Problem, block_memory, plan
from jaxrnn.numerics import carry_dtype

_THREADS = 8  # fewer can all be waiting for a warpgroup that none of them is left to run


@dataclass(frozen=True)
class Pallas(InChunks):
    """Fused kernels for gated and linear cells, forward and backward; on Hopper GPUs, and TPUs (not run on one yet).

    Gated cells: the recurrent matrix stays on the chip for all steps and the carry in float32 beside it; `update` and
    its `jax.vjp` are traced inside the kernels, and the gradients of all weights are products outside. Carries of every
    step are kept for the gradient, or with `checkpoint_every=k` those of every k-th step. Sequences that meet in
    `update` are refused. Linear cells: `h' = a * h + b`, real or complex; its gradient is the same kernel against time.

    TPUs: bfloat16 and float32, whose products are of highest precision where `jax.default_matmul_precision` asks for
    more than its default; `update` may do anything within a sequence that a TPU kernel can. GPUs, from JAX 0.11 on:
    gated cells in bfloat16, whose `update` has to work unit by unit, and of which a head (or all of h, without heads)
    fits one thread block: 128 units of an LSTM or GRU, 256 of an Elman network. Linear cells run in float32.

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
        return None

    def sized(self, cell: Cell, xs: PyTree) -> "Pallas":
        """See Backend."""
        if not isinstance(cell, GatedCell) or 0 in jax.tree.leaves(xs)[0].shape[:-1]:
            return self
        assert self.chip is not None  # see `refuses`
        problem = functools.partial(problem_of, self.chip, cell)
        planned = _abstractly(cell, xs, lambda *run: self._plan(problem(*run), trained=True))
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
        problem = problem_of(self.chip, cell, weights, carry, steps)
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
        if self.chip.platform == "cuda":
            self._check_block(problem, self.chip, trained)
        return self.plan or plan(problem, self.chip, trained)

    def _check_block(self, problem: Problem, chip: Chip, trained: bool) -> None:
        if self.plan is not None:
            rows, ahead, _ = self.plan
            needed = block_memory(problem, rows, ahead, trained)
            if rows not in SEQUENCES or needed > chip.memory:
                raise UnsupportedBackend(
                    f"a block takes {' or '.join(map(str, SEQUENCES))} sequences and has {chip.memory / 1024:.0f} KiB, "
                    f"and `plan` asks for {rows} sequences and {needed / 1024:.0f} KiB"
                )
        if self.interpret and problem.width > UNITS:
            threads = max(os.cpu_count() or 1, len(jax.devices("cpu")))
            if threads < _THREADS:
                raise UnsupportedBackend(
                    f"interpreting heads of more than {UNITS} units takes {_THREADS} threads, and JAX has {threads} "
                    f"here; start Python with XLA_FLAGS=--xla_force_host_platform_device_count={_THREADS}"
                )


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
    if 0 in jax.tree.leaves(xs)[0].shape[:-1]:
        return None
    try:
        problem = functools.partial(problem_of, chip, cell)
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
        words = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"its kernels cannot hold the update of {type(cell).__name__}: {words}"
    return None
