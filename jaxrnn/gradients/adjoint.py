"""The adjoint dL/ds_t of every state along a sequence, by one backward pass on a logarithmic scale."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn.backends.base import Steps, project
from jaxrnn.cell import Cell
from jaxrnn.gradients.scaled import Scaled, add, log_norm, normalise, scaled
from jaxrnn.gradients.trajectory import Trajectory, checked_inputs, or_nan, recurrence, refuse_nan, run
from jaxrnn.numerics import carry_dtype, cast
from jaxrnn.sequence import Bidirectional, Stack

Loss = Callable[[Array], Array]
Norms = Callable[[Scaled], PyTree]


def adjoint_norms(cell, params: PyTree, xs: PyTree, loss: Loss) -> Float[Array, "time *batch"]:
    """ln ||dL/ds_t|| for every step t and every sample, L = loss(ys), s_t the whole state after step t.

        a_T = dL_direct/ds_T,    a_t = dL_direct/ds_t + (ds_{t+1}/ds_t)^T a_{t+1}

    The total derivative: for a loss on every step, what comes from later steps is added. For a loss on the last
    output alone, entry t is the norm at lag `time - 1 - t`, a pure curve of decay over the lag.

    Args:
        cell: Any Cell, whose `advance` and `output` are differentiated as they are; or a Stack, whose state is that
            of all its layers together.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such. The sequence starts from `init_carry`.
        loss: Takes outputs (time, *batch, output) to one value for each sample (*batch).

    Returns:
        Natural logarithms (time, *batch) in the carry's real dtype, -inf for an exact zero. The pass carries an
        exponent of its own for each sample, so nothing underflows: a rate of 0.5 per step is right at lag 1000.
        For the LSTM s = (h, c), see `adjoint_parts` for each alone; for complex states the norm is that of the real
        vector of both parts.

    Source: the error signals of Hochreiter (1991), as in Pascanu, Mikolov & Bengio (2013,
    https://arxiv.org/abs/1211.5063), equations 3 to 5.

    Raises:
        TypeError: `cell` is neither Cell nor Stack, `xs` is not floating point, or `loss` returns no real array.
        ValueError: `loss` does not return one value for each sample, or shapes do not fit.
        FloatingPointError: a norm is NaN, or the run is not finite; the message names the first such step. Inside
            `jax.jit` the norms of such a sample are NaN.

    Example:
        >>> from jaxrnn import Elman
        >>> cell = Elman(4, "identity")
        >>> params = cell.init(jax.random.key(0), input_size=2)
        >>> norms = adjoint_norms(cell, params, jnp.ones((6, 3, 2), jnp.float32), loss=lambda ys: ys[-1].sum(axis=-1))
        >>> norms.shape
        (6, 3)
    """
    return _measure("adjoint_norms", recurrence("adjoint_norms", cell), params, xs, loss, log_norm)


def adjoint_parts(cell, params: PyTree, xs: PyTree, loss: Loss) -> PyTree:
    """As `adjoint_norms`, for each array of the carry by itself: ln ||dL/dh_t|| beside ln ||dL/dc_t||.

    Of a Stack or a Bidirectional layer by layer: an array's derivative takes in all that follows from it, the layers
    above at the same step too, as automatic differentiation has it. So the layers' norms do not add up to
    `adjoint_norms`, for which states of one step do not depend on one another.

    Returns:
        A carry like the cell's, with natural logarithms (time, *batch) in the place of its arrays.

    Example:
        >>> from jaxrnn import LSTM
        >>> cell = LSTM(4)
        >>> xs = jnp.ones((6, 3, 2), jnp.float32)
        >>> parts = adjoint_parts(cell, cell.init(jax.random.key(0), 2), xs, lambda ys: ys[-1].sum(axis=-1))
        >>> parts.h.shape, bool(parts.c[-1, 0] == -jnp.inf)  # the last output reads h alone
        ((6, 3), True)
    """
    return _measure("adjoint_parts", cell, params, xs, loss, _part_norms)


def _part_norms(adjoint: Scaled) -> PyTree:
    return jax.tree.map(lambda leaf: log_norm(Scaled(leaf, adjoint.exponent)), adjoint.mantissa)


class Record(NamedTuple):
    """What the backward pass of one cell needs."""

    trajectory: Trajectory
    xs: PyTree


def _measure(owner: str, cell, params, xs, loss: Loss, norms: Norms) -> PyTree:
    batch_shape = jax.tree.leaves(xs)[0].shape[1:-1] if jax.tree.leaves(xs) else ()
    record, ys = _forward(owner, cell, params, xs)
    losses, loss_vjp = jax.vjp(loss, ys)
    check_losses(owner, losses, batch_shape)
    (d_ys,) = loss_vjp(jnp.ones_like(losses))
    found, _ = _backward(cell, params, record, _of_steps(d_ys), norms, False)
    runs = [r.trajectory for r in jax.tree.leaves(record, is_leaf=lambda r: isinstance(r, Record))]
    refuse_nan(owner, found, runs)
    return functools.reduce(lambda logs, run: or_nan(logs, run, len(batch_shape), 1), runs, found)


def _forward(owner: str, cell, params, xs) -> tuple[Any, Array]:
    """Records in the form of the network, and its outputs."""
    if isinstance(cell, Cell):
        xs, _ = checked_inputs(cell, params, xs)
        trajectory, ys = run(cell, params, xs)
        return Record(trajectory, xs), ys
    if isinstance(cell, Stack):
        records = []
        for layer, weights in zip(cell.cells, params, strict=True):
            record, ys = _forward(owner, layer, weights, xs)
            records.append(record)
            xs = xs + ys if _is_residual(cell, xs, ys) else ys
        return tuple(records), xs
    if isinstance(cell, Bidirectional):
        ahead, forward = _forward(owner, cell.forward, params[0], xs)
        back, backward = _forward(owner, cell.backward, params[1], _flip(xs))
        ys = jnp.concatenate([forward, _flip(backward)], axis=-1)
        return (ahead, back), xs + ys if _is_residual(cell, xs, ys) else ys
    raise TypeError(f"{owner}: `cell` must be a Cell, Stack or Bidirectional, got {cell!r}.")


def _backward(cell, params, record, d_ys: Scaled, norms: Norms, inputs: bool) -> tuple[PyTree, Any]:
    """Norms in the form of the network's carry, and, with `inputs`, the adjoints of its inputs."""
    if isinstance(cell, Cell):
        found, d_us = _pass(cell, norms, inputs, params, record.trajectory, d_ys)
        return found, _input_adjoint(cell, params, record.xs, d_us) if inputs else None
    if isinstance(cell, Stack):
        found, d_outputs = [], d_ys
        for number in reversed(range(len(cell.cells))):
            below = inputs or number > 0
            norm, d_xs = _backward(cell.cells[number], params[number], record[number], d_outputs, norms, below)
            found.insert(0, norm)
            if below:
                residual = _is_residual(cell, d_xs.mantissa, d_outputs.mantissa)
                d_outputs = add(d_xs, d_outputs) if residual else d_xs
        return tuple(found), d_outputs
    size = cell.forward.output_size
    ahead = d_ys._replace(mantissa=d_ys.mantissa[..., :size])
    back = _flip(d_ys._replace(mantissa=d_ys.mantissa[..., size:]))
    forward, d_forward = _backward(cell.forward, params[0], record[0], ahead, norms, inputs)
    backward, d_backward = _backward(cell.backward, params[1], record[1], back, norms, inputs)
    if inputs:
        d_xs = add(d_forward, _flip(d_backward))
        return (forward, _flip(backward)), add(d_xs, d_ys) if cell.residual else d_xs
    return (forward, _flip(backward)), None


def _is_residual(cell, xs, ys) -> bool:
    return cell.residual and isinstance(xs, jax.Array) and jnp.shape(xs) == jnp.shape(ys)


def _flip(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.flip(x, axis=0), tree)


def _of_steps(d_ys) -> Scaled:
    """Derivatives by outputs (time, *batch, output) in the carry's precision; steps are normalised one by one later.

    Here, of a loss that is linear in the outputs they are constants, which XLA would fold for many seconds.
    """
    return Scaled(cast(d_ys, carry_dtype(d_ys.dtype)), jnp.zeros(d_ys.shape[:-1], jnp.int32))


def check_losses(owner: str, losses, batch_shape: tuple[int, ...]) -> None:
    """Raises TypeError or ValueError unless the loss is one real value for each sample."""
    if not isinstance(losses, jax.Array) or not jnp.issubdtype(losses.dtype, jnp.floating):
        raise TypeError(
            f"{owner}: `loss` must return one real array, got {jax.tree.map(jnp.asarray, losses)}. "
            "Return a differentiable value for each sample, for example lambda ys: (ys[-1] ** 2).sum(axis=-1)."
        )
    if losses.shape != batch_shape:
        raise ValueError(
            f"{owner}: `loss` must return one value for each sample, shape {batch_shape}, got "
            f"{losses.shape}. Reduce time and features only, for example "
            "lambda ys: (ys[-1] ** 2).sum(axis=-1)."
        )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _pass(cell: Cell, norms: Norms, inputs: bool, params, trajectory: Trajectory, d_ys: Scaled):
    """The pass against time; `d_ys` are the loss's derivatives by the outputs. Norms, and adjoints of us or None."""
    rank, dtype = d_ys.exponent.ndim - 1, d_ys.mantissa.dtype
    wide, readout = cell.widen(params, dtype), cast(params, dtype)

    def step(later: Scaled, at_step):
        before, carry, u, d_y = at_step
        _, output_vjp = jax.vjp(lambda c, u: cell.output(readout, c, u), carry, u)
        d_carry, d_u = output_vjp(d_y.mantissa)
        total = add(later, normalise(Scaled(d_carry, d_y.exponent)))
        _, advance_vjp = jax.vjp(lambda c, u: cell.advance(wide, c, u), before, u)
        d_before, d_u_later = advance_vjp(total.mantissa)
        earlier = normalise(Scaled(d_before, total.exponent))
        if not inputs:
            return earlier, (norms(total), None)
        d_u = add(normalise(Scaled(d_u, d_y.exponent)), normalise(Scaled(d_u_later, total.exponent)))
        return earlier, (norms(total), d_u)

    nothing = scaled(jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), trajectory.befores), rank)
    _, found = lax.scan(step, nothing, (trajectory.befores, trajectory.carries, trajectory.us, d_ys), reverse=True)
    return found


@functools.partial(jax.jit, static_argnums=0)
def _input_adjoint(cell: Cell, params, xs, d_us: Scaled) -> Scaled:
    """Adjoints of us taken back to xs; entries of the batch, and steps, keep their exponents."""
    _, project_vjp = jax.vjp(lambda xs: project(cell, params, Steps(xs)), xs)
    (d_xs,) = project_vjp(d_us.mantissa)
    return normalise(Scaled(cast(d_xs, carry_dtype(jax.tree.leaves(d_xs)[0].dtype)), d_us.exponent))
