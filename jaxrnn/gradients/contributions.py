"""What each step contributes to the gradient of the parameters: its own copy of them, in one backward pass."""

import functools
import numbers
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, PyTree

from jaxrnn.cell import Cell
from jaxrnn.gradients.adjoint import Loss, check_losses
from jaxrnn.gradients.scaled import Scaled, add, align, log_norm, normalise, scaled
from jaxrnn.gradients.trajectory import Trajectory, checked_inputs, is_finite, recurrence, refuse_nan, run
from jaxrnn.numerics import carry_dtype, cast, cast_like


class Contributions(NamedTuple):
    """The gradient by the parameters of each step: e^log_norms times `directions`, which have length 1 or are 0."""

    log_norms: Float[Array, " time"]
    directions: PyTree


def contributions(cell, params: PyTree, xs: PyTree, loss: Loss) -> Contributions:
    """What the copy of the parameters at each step j contributes to the gradient of the summed loss.

        g_j = dL/ds_j d+s_j/dtheta + d+L/dtheta at step j,    sum over j of g_j = dL/dtheta,    L = sum of loss(ys)

    d+ holds earlier states fixed. With a loss on the last output alone g_j is the share of lag T - j. Long lags may
    vanish from the gradient although its norm does not; `share_beyond` tells by how much.

    Args:
        cell: Any Cell, or a Stack.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such. The sequence starts from `init_carry`.
        loss: Takes outputs (time, *batch, output) to one value for each sample (*batch); these are added. For the
            gradient of their mean divide by the number of samples.

    Returns:
        Norms on a logarithmic scale, so that none underflows, and directions with a leading time axis. Memory
        O(time * parameters).

    Source: Pascanu, Mikolov & Bengio (2013, https://arxiv.org/abs/1211.5063), equation 4.

    Raises:
        TypeError, ValueError, FloatingPointError: as `adjoint_norms`.

    Example:
        >>> from jaxrnn import GRU
        >>> cell = GRU(4)
        >>> xs = jnp.ones((9, 3, 2), jnp.float32)
        >>> found = contributions(cell, cell.init(jax.random.key(0), 2), xs, lambda ys: ys[-1].sum(axis=-1))
        >>> found.log_norms.shape, found.directions.recurrent.shape
        ((9,), (9, 4, 12))
    """
    cell = recurrence("contributions", cell)
    xs, batch_shape = checked_inputs(cell, params, xs)
    trajectory, ys = run(cell, params, xs)
    losses, loss_vjp = jax.vjp(loss, ys)
    check_losses("contributions", losses, batch_shape)
    (d_ys,) = loss_vjp(jnp.ones_like(losses))
    found = _contributions(cell, params, xs, trajectory, cast(d_ys, carry_dtype(d_ys.dtype)))
    refuse_nan("contributions", found, trajectory)
    finite = is_finite(trajectory, len(batch_shape)).all()  # one sample that is not spoils the sum of all
    return found._replace(log_norms=jnp.where(finite, found.log_norms, jnp.nan))


def cosines(found: Contributions) -> Float[Array, "time time"]:
    """The cosines between the contributions of every two steps; 0 where one of them is zero.

    Near 1 they add up; near 0 or below, the norms by step say little of the whole gradient.

    Example:
        >>> cosines(Contributions(jnp.zeros(2), jnp.array([[1.0, 0.0], [-1.0, 0.0]]))).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    return functools.reduce(jnp.add, [_inner(leaf, leaf) for leaf in jax.tree.leaves(found.directions)])


def log_gradient_norm(found: Contributions, first: int = 0, last: int | None = None) -> Float[Array, ""]:
    """ln of the norm of the sum of the contributions of steps first to last - 1; by default of all: ln ||dL/dtheta||.

    Example:
        >>> float(log_gradient_norm(Contributions(jnp.zeros(2), jnp.array([[1.0, 0.0], [-1.0, 0.0]]))))
        -inf
    """
    steps = range(found.log_norms.shape[0])[first:last]
    return _log_norm_of_sum(found, steps.start, steps.stop)


@jax.jit
def _log_norm_of_sum(found: Contributions, first, last):
    steps = jnp.arange(found.log_norms.shape[0])
    logs = jnp.where((first <= steps) & (steps < last), found.log_norms, -jnp.inf)
    peak = jnp.max(logs, initial=-jnp.inf)
    weights = jnp.exp(logs - jnp.where(peak == -jnp.inf, 0, peak))
    parts = [jnp.tensordot(weights.astype(leaf.dtype), leaf, 1) for leaf in jax.tree.leaves(found.directions)]
    length = jnp.sqrt(sum(jnp.sum(jnp.square(part.real) + jnp.square(part.imag)) for part in parts))
    return jnp.where(length == 0, -jnp.inf, jnp.log(length) + peak)


def share_beyond(found: Contributions, lag: int) -> Float[Array, ""]:
    """||sum of the contributions of lags above `lag`|| / ||dL/dtheta||, lag 0 being the last step.

    0 where nothing comes from further back, or at all. It can exceed 1, where near and far steps cancel.

    Raises:
        ValueError: `lag` is not one of the sequence's.

    Example:
        >>> found = Contributions(jnp.log(jnp.array([3.0, 4.0])), jnp.array([[1.0, 0.0], [0.0, 1.0]]))
        >>> print(f"{share_beyond(found, 0):.2f}")
        0.60
    """
    time = found.log_norms.shape[0]
    if not isinstance(lag, numbers.Integral) or not 0 <= lag < time:
        raise ValueError(
            f"share_beyond: `lag` must be a whole number from 0 to {time - 1}, got {lag!r}. Choose one of the sequence."
        )
    far, whole = log_gradient_norm(found, 0, time - 1 - lag), log_gradient_norm(found)
    return jnp.where(far == -jnp.inf, 0, jnp.exp(far - whole))


def log_norms_summed(found: Contributions) -> Float[Array, ""]:
    """ln of the sum of the norms of all contributions, what ||dL/dtheta|| would be if none cancelled.

    Example:
        >>> print(f"{log_norms_summed(Contributions(jnp.log(jnp.array([3.0, 4.0])), jnp.eye(2))):.4f}")  # ln 7
        1.9459
    """
    return logsumexp(found.log_norms)


def _inner(a, b):
    """Real inner products of all steps with all."""
    a, b = (x.reshape(x.shape[0], -1) for x in (a, b))
    return (a @ jnp.conj(b).T).real


@functools.partial(jax.jit, static_argnums=0)
def _contributions(cell: Cell, params, xs, trajectory: Trajectory, d_ys) -> Contributions:
    """The pass against time, in which every sample has its exponent; they are made one before samples are added."""
    rank, dtype = d_ys.ndim - 2, d_ys.dtype

    def step_of(wide, before, x):
        narrow = cast_like(wide, params)
        return cell.step(narrow, before, cast(cell.project(narrow, x), dtype))

    def step(later: Scaled, inputs):
        before, x, d_y = inputs
        nothing = jax.tree.map(jnp.zeros_like, (later.mantissa, d_y))
        both = add(later._replace(mantissa=(later.mantissa, nothing[1])), scaled((nothing[0], d_y), rank))
        _, step_vjp = jax.vjp(lambda p, b: step_of(p, b, x), cast(params, dtype), before)
        _, d_before = step_vjp(both.mantissa)
        together = align(both)
        d_params, _ = step_vjp(together.mantissa)
        total = normalise(Scaled(d_params, together.exponent))
        length = jnp.exp(log_norm(total._replace(exponent=jnp.zeros((), jnp.int32))))
        unit = jax.tree.map(lambda x: x / jnp.where(length == 0, 1, length).astype(x.dtype), total.mantissa)
        return normalise(Scaled(d_before, both.exponent)), (log_norm(total), unit)

    start = scaled(jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), trajectory.befores), rank)
    _, (logs, directions) = lax.scan(step, start, (trajectory.befores, xs, d_ys), reverse=True)
    return Contributions(logs, directions)
