"""The one door: a recurrence over a sequence, with lengths, masks, resets, direction and choice of backend."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn import validation
from jaxrnn.backends.associative import Associative
from jaxrnn.backends.base import Backend, Steps, fresh_carry, restart
from jaxrnn.backends.chunked import ChunkedScan
from jaxrnn.backends.pallas import Pallas
from jaxrnn.backends.scan import Scan
from jaxrnn.cell import Cell
from jaxrnn.errors import UnsupportedBackend
from jaxrnn.network import Network
from jaxrnn.numerics import carry_dtype


def best_first() -> tuple[Backend, ...]:
    """The backends to try, best first for the platform.

    A parallel scan does more work in less depth, which the few cores of a CPU do not repay. Kernels come first on a
    single TPU or GPU; on several, whose arrays may be spread over them, one has to be asked for inside `jax.shard_map`.
    CuDNN() has to be asked for anywhere: ChunkedScan is faster where it was measured.
    """
    scans = Associative(), ChunkedScan(), Scan()
    if jax.default_backend() == "cpu":
        return ChunkedScan(), Associative(), Scan()
    return (Pallas(), *scans) if jax.device_count() == 1 else scans


@dataclass(frozen=True)
class Explanation:
    """Which backend runs a cell, and why each better one does not."""

    cell: Cell
    backend: Backend
    refused: tuple[tuple[Backend, str], ...] = ()

    def __str__(self):  # noqa: D105
        lines = [f"{self.cell}: {self.backend}"]
        return "\n".join(lines + [f"    not {backend}: {reason}" for backend, reason in self.refused])


def explain(cell, xs: PyTree, *, backend=None) -> Explanation:
    """Tells which backend `unroll` would run for a cell and inputs, and why each better one would not.

    Its options are those of a run with a gradient; one without keeps nothing, and its chunks may be longer or, of small
    cells on a CPU, single steps. For a Stack or Bidirectional ask for each of its cells: each is unrolled, and so
    chosen, by itself.

    Raises:
        UnsupportedBackend: `backend` was named and cannot run this; the message is its reason.
        TypeError: `cell` is not a Cell, or `backend` is not a backend.

    Example:
        >>> from jaxrnn import Elman
        >>> print(explain(Elman(4), jnp.zeros((8, 2))).backend)
        ChunkedScan(chunk=8, checkpoint_every=None, keep_gates=True)
    """
    if not isinstance(cell, Cell):
        raise TypeError(
            f"explain: `cell` must be a Cell, got {cell!r}. Ask for each cell of a Stack or Bidirectional by itself."
        )
    chosen, refused = _choose(cell, xs, backend)
    return Explanation(cell, chosen.sized(cell, xs), refused)


def _choose(cell, xs: PyTree, backend, **flags: bool) -> tuple[Backend, tuple[tuple[Backend, str], ...]]:
    """The backend, and what refused before it; what it raises of `backend` is told at `explain`."""
    if backend is not None:
        if not isinstance(backend, Backend):
            raise TypeError(
                f"`backend` must be a backend such as jaxrnn.Scan() or jaxrnn.ChunkedScan(), got {backend!r}. "
                "Leave it None to take the best one."
            )
        reason = _refusal(backend, cell, xs, flags)
        if reason is not None:
            raise UnsupportedBackend(
                f"`backend` {backend} cannot run {cell}: {reason}. "
                "Leave `backend` None, or name one that can; jaxrnn.explain(cell, xs) lists them."
            )
        return backend, ()
    refused = []
    for candidate in best_first():
        reason = _refusal(candidate, cell, xs, flags)
        if reason is None:
            return candidate, tuple(refused)
        refused.append((candidate, reason))
    raise AssertionError("Scan() refuses nothing")


def _refusal(backend: Backend, cell: Cell, xs: PyTree, flags: dict[str, bool]) -> str | None:
    return backend.refuses(cell, xs) or (backend.refuses_flags(**flags) if flags else None)


def unroll(
    cell,
    params: PyTree,
    xs: PyTree,
    carry: PyTree = None,
    *,
    lengths=None,
    mask=None,
    resets=None,
    reverse: bool = False,
    backend=None,
):
    """Runs a cell over a sequence: `(carry, ys)`, the carry after the last step of the run and all outputs.

        carry_t, y_t = step(params, carry_{t-1}, project(params, x_t))

    Args:
        cell: A Cell, Stack or Bidirectional.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), any number of batch axes, or a pytree of such.
        carry: Where the run starts; None for `cell.init_carry`. float32 for 16-bit inputs, else the inputs' dtype.
        lengths: Valid steps of right-padded sequences, integers (*batch,). Beyond them nothing acts, a reset neither;
            a length of 0 returns the starting carry.
        mask: Booleans (time, *batch); False leaves the carry as it is at that step.
        resets: Booleans (time, *batch); a sequence begins at t. Forward, the carry becomes `init_carry` before step t
            (also where the mask is False); in reverse, after it.
        reverse: Run from the last (valid) step to the first; `ys` keep the order of `xs`, and the carry is the one
            after the first step in time.
        backend: A backend by name, such as `Scan()`; None takes the best that does not refuse (see `explain`).

    Returns:
        The last carry and the outputs (time, *batch, output_size) in the dtype of `xs`, zero at padded and masked
        steps. What `xs` holds there reaches no value and no gradient; a cell sees zeros in its place, where its
        derivatives have to be finite.

    Values and gradients are the same on every backend, to rounding. Reverse mode works to any order;
    forward mode (`jax.jvp`, `jax.jacfwd`) needs `Scan()`.

    Raises:
        ValueError: shapes do not fit, `lengths` out of range, a carry of another cell or batch.
        TypeError: integer or mixed dtypes, a mask that is not boolean, a backend that is none.
        UnsupportedBackend: the named backend cannot run this cell.

    Example:
        >>> from jaxrnn import LSTM
        >>> cell = LSTM(hidden_size=4)
        >>> params = cell.init(jax.random.key(0), input_size=3)
        >>> carry, ys = unroll(cell, params, jnp.ones((10, 2, 3), jnp.float32))
        >>> ys.shape, carry.c.shape
        ((10, 2, 4), (2, 4))
    """
    xs = jax.tree.map(jnp.asarray, xs)
    lengths, mask, resets = (None if flags is None else jnp.asarray(flags) for flags in (lengths, mask, resets))
    batch_shape = validation.check_inputs(xs)
    time, dtype = jax.tree.leaves(xs)[0].shape[0], jax.tree.leaves(xs)[0].dtype
    validation.check_lengths(lengths, time, batch_shape)
    validation.check_flags("mask", mask, time, batch_shape)
    validation.check_flags("resets", resets, time, batch_shape)
    if isinstance(cell, Network):
        how = {"lengths": lengths, "mask": mask, "resets": resets, "reverse": reverse, "backend": backend}
        return cell.unroll_with(unroll, params, xs, carry, how)
    if not isinstance(cell, Cell):
        raise TypeError(f"`cell` must be a Cell, Stack or Bidirectional, got {cell!r}.")
    validation.check_params(type(cell).__name__, params, dtype)
    validation.check_fit(cell, params, xs)
    if carry is None:
        carry = cell.init_carry(batch_shape, carry_dtype(dtype))
    else:
        validation.check_carry(cell, carry, batch_shape, dtype)
    backend, _ = _choose(cell, xs, backend, mask=mask is not None, resets=resets is not None)
    return _unroll(cell, backend, bool(reverse), params, xs, carry, lengths, mask, resets)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _unroll(cell: Cell, backend: Backend, reverse: bool, params, xs, carry, lengths, mask, resets):
    time = jax.tree.leaves(xs)[0].shape[0]
    active = mask
    if lengths is not None:
        numbers = jnp.arange(time, dtype=jnp.int32)  # lengths may be of any whole dtype
        valid = numbers.reshape(-1, *(1,) * lengths.ndim) < lengths.astype(jnp.int32)
        active = valid if mask is None else valid & mask
        resets = None if resets is None else valid & resets
    last_reset = None
    if resets is not None and reverse and time:
        # In reverse a reset acts after its step, that is before the next one of the run.
        last_reset, resets = resets[0], jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
    steps = Steps(xs, active, resets)
    carry, ys = backend.run(cell, params, carry, steps, reverse)
    return restart(fresh_carry(cell, steps), last_reset, carry), ys
