"""The Lyapunov spectrum of a recurrence by QR, forward and adjoint, and what follows from it."""

import functools
import math
import numbers
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn.cell import Cell, is_size
from jaxrnn.gradients.graded import qr_zeros_last
from jaxrnn.gradients.jacobian import over_batch, to_vector, vector_step, without_batch
from jaxrnn.gradients.trajectory import check_some_steps, checked_inputs, or_nan, recurrence, refuse_nan, run

Direction = Literal["forward", "adjoint"]


class LyapunovSpectrum(NamedTuple):
    """Lyapunov exponents in nats per step, largest first, and two estimates of how far they have converged.

    `standard_error` is that of the mean over about sqrt(steps) blocks of time; `drift` is the mean of the second half
    less that of the first; both are inf where fewer than four steps are left, which tell nothing. An exponent is -inf
    where a direction is lost altogether: taken away by rows or columns of zeros in the Jacobians, as by a relu that is
    off. Where rank is lost otherwise it has the size of rounding errors.
    """

    exponents: Float[Array, "*batch count"]
    standard_error: Float[Array, "*batch count"]
    drift: Float[Array, "*batch count"]


def lyapunov_spectrum(
    cell, params: PyTree, xs: PyTree, count: int | None = None, transient: int | None = None
) -> LyapunovSpectrum:
    """The exponents by which small differences between states grow.

        Q_t R_t = J_t Q_(t-1),    lambda_i = mean over t of ln |R_t,ii|

    The state is the whole carry: for the LSTM (h, c), without which the memory's own path would be left out. With
    all exponents their sum is the mean of ln |det J_t|, see `mean_log_determinant`. A largest exponent below 0 means
    that the recurrence forgets its start, and that Newton's iteration over the sequence converges well.

    Args:
        cell: Any Cell, or a Stack.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such. The sequence starts from `init_carry`.
        count: How many, the largest. Default: as many as the state has numbers.
        transient: Steps at the start that are left out of the mean. Default: a tenth of the sequence.

    Source: Benettin et al. (1980, https://doi.org/10.1007/BF02128236); for recurrent networks Engelken, Wolf & Abbott
    (2020, https://arxiv.org/abs/2006.02427) and Vogt et al. (2020, https://arxiv.org/abs/2006.14123).

    Raises:
        TypeError: `cell` is neither Cell nor Stack, or `xs` is not floating point.
        ValueError: `count` or `transient` does not fit, or shapes do not.
        FloatingPointError: there is NaN (not inside `jax.jit`).

    Example:
        >>> from jaxrnn import Elman
        >>> from jaxrnn.initializers import Orthogonal
        >>> cell = Elman(3, "identity", recurrent_init=Orthogonal(0.5))
        >>> found = lyapunov_spectrum(cell, cell.init(jax.random.key(0), 1), jnp.zeros((50, 1), jnp.float32))
        >>> [round(float(exponent), 3) for exponent in found.exponents]
        [-0.693, -0.693, -0.693]
    """
    return _spectrum("lyapunov_spectrum", "forward", cell, params, xs, count, transient)


def adjoint_lyapunov_spectrum(
    cell, params: PyTree, xs: PyTree, count: int | None = None, transient: int | None = None
) -> LyapunovSpectrum:
    """The exponents by which gradients grow on their way back: those of J_t^T, from the last step to the first.

    They agree with `lyapunov_spectrum` as the sequence grows. The transient is left out at the end of the sequence,
    where the adjoints start. Arguments, errors and sources as there.

    Example:
        >>> from jaxrnn import Elman
        >>> cell = Elman(3, "identity")
        >>> found = adjoint_lyapunov_spectrum(cell, cell.init(jax.random.key(0), 1), jnp.zeros((50, 1), jnp.float32))
        >>> bool(jnp.all(jnp.abs(found.exponents) < 1e-5))
        True
    """
    return _spectrum("adjoint_lyapunov_spectrum", "adjoint", cell, params, xs, count, transient)


def mean_log_determinant(cell, params: PyTree, xs: PyTree, transient: int | None = None) -> Float[Array, "*batch"]:
    """The mean of ln |det J_t| over the steps after the transient: by how much volumes shrink or grow, nats per step.

    From an LU decomposition of every Jacobian, so a check of the sum of all exponents that shares nothing with QR.
    Arguments and errors as in `lyapunov_spectrum`; -inf where a Jacobian is singular.

    Example:
        >>> from jaxrnn import Elman
        >>> cell = Elman(3, "identity")
        >>> xs = jnp.zeros((9, 1), jnp.float32)
        >>> bool(jnp.abs(mean_log_determinant(cell, cell.init(jax.random.key(0), 1), xs)) < 1e-5)
        True
    """
    cell = recurrence("mean_log_determinant", cell)
    xs, batch_shape = checked_inputs(cell, params, xs)
    transient = _checked_transient("mean_log_determinant", transient, xs)
    trajectory, _ = run(cell, params, xs)
    found = _log_determinants(cell, len(batch_shape), params, trajectory)[..., transient:].mean(axis=-1)
    refuse_nan("mean_log_determinant", found, trajectory)
    return or_nan(found, trajectory, len(batch_shape), 0)


def kaplan_yorke_dimension(exponents: Float[Array, "*batch count"]) -> Float[Array, "*batch"]:
    """The Kaplan-Yorke dimension k + (lambda_1 + ... + lambda_k) / |lambda_(k+1)|, k the last with a sum of 0 or more.

    0 where the largest exponent is negative; the number of exponents where their whole sum is positive, and then a
    lower bound if some were left out.

    Source: Kaplan & Yorke (1979, https://doi.org/10.1007/BFb0064319).

    Raises:
        ValueError: there is no axis of exponents.

    Example:
        >>> print(f"{kaplan_yorke_dimension(jnp.array([0.419, -1.623])):.3f}")  # the Henon map
        1.258
    """
    if jnp.ndim(exponents) == 0:
        raise ValueError("kaplan_yorke_dimension: `exponents` must have an axis of exponents, got one number.")
    return _dimension(exponents)


@jax.jit
def _dimension(exponents):
    count = exponents.shape[-1]
    exponents = -jnp.sort(-exponents, axis=-1)
    sums = jnp.cumsum(exponents, axis=-1)
    kept = jnp.sum(jnp.cumprod(sums >= 0, axis=-1), axis=-1)
    total = jnp.take_along_axis(sums, jnp.maximum(kept - 1, 0)[..., None], axis=-1)[..., 0]
    total = jnp.where(kept == 0, 0, total)
    following = jnp.take_along_axis(exponents, jnp.minimum(kept, count - 1)[..., None], axis=-1)[..., 0]
    share = jnp.where((kept == count) | (following == 0), 0, total / jnp.where(following == 0, 1, jnp.abs(following)))
    dimension = kept.astype(exponents.dtype) + share
    return jnp.where(jnp.isnan(sums).any(axis=-1), jnp.nan, dimension)


def entropy_rate(exponents: Float[Array, "*batch count"]) -> Float[Array, "*batch"]:
    """The sum of the positive exponents in nats per step, an upper bound of the entropy rate.

    Source: Pesin (1977, https://doi.org/10.1070/RM1977v032n04ABEH001639).

    Example:
        >>> print(f"{entropy_rate(jnp.array([0.419, -1.623])):.3f}")
        0.419
    """
    return jnp.sum(jnp.maximum(exponents, 0), axis=-1)


def _checked_transient(owner: str, transient: int | None, xs) -> int:
    check_some_steps(owner, xs)
    time = jax.tree.leaves(xs)[0].shape[0]
    steps = time // 10 if transient is None else transient
    if not isinstance(steps, numbers.Integral) or not 0 <= int(steps) < time:
        raise ValueError(
            f"{owner}: `transient` must be a whole number of steps from 0 to {time - 1}, one less than those of `xs`, "
            f"got {transient!r}. Choose a smaller one, or a longer sequence."
        )
    return int(steps)


def _spectrum(owner: str, direction: Direction, cell, params, xs, count, transient) -> LyapunovSpectrum:
    cell = recurrence(owner, cell)
    xs, batch_shape = checked_inputs(cell, params, xs)
    transient = _checked_transient(owner, transient, xs)
    trajectory, _ = run(cell, params, xs)
    start = jax.eval_shape(lambda: to_vector(cell.init_carry((), jax.tree.leaves(trajectory.us)[0].dtype)))
    count = start.size if count is None else count
    if not is_size(count) or count > start.size:
        raise ValueError(
            f"{owner}: `count` must be a whole number from 1 to the {start.size} numbers of the state, got {count!r}. "
            "Choose one of these, or None for all."
        )
    growth = _growth(cell, len(batch_shape), direction, int(count), params, trajectory)  # (*batch, time, count)
    found = _statistics(growth[..., transient:, :])
    refuse_nan(owner, found.exponents, trajectory)
    return or_nan(found, trajectory, len(batch_shape), 0)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _growth(cell: Cell, rank: int, direction: Direction, count: int, params, trajectory):
    """ln |R_t,ii| in the order of the products."""
    step = vector_step(cell, params, without_batch(trajectory.befores, rank))

    def one(befores, us):
        start = to_vector(jax.tree.map(lambda x: x[0], befores))

        draws = jax.random.normal(jax.random.key(0), (start.size, count + 1), start.dtype)

        def turn(frame, inputs):
            before, u = to_vector(inputs[0]), inputs[1]
            _, ahead = jax.linearize(lambda s: step(s, u), before)
            back = lambda row: jax.linear_transpose(ahead, row)(row)[0]  # noqa: E731
            product, transposed = (ahead, back) if direction == "forward" else (back, ahead)
            # What the product does not read at all is taken out first, so that it is exactly 0 and no rounding error.
            unread = transposed(draws[:, 0]) == 0
            frame, kept = _without_lost(jnp.where(unread[:, None], 0, frame))
            frame, grown = _without_lost(jax.vmap(product, 1, 1)(frame))
            return frame, kept + grown

        frame, _ = jnp.linalg.qr(draws[:, 1:])
        return lax.scan(turn, frame, (befores, us), reverse=direction == "adjoint")[1]

    growth = over_batch(one, rank)(trajectory.befores, trajectory.us)
    return jnp.flip(growth, axis=rank) if direction == "adjoint" else growth


def _without_lost(frame):
    """The frame made orthonormal again, with zeros in the place of directions that are lost, and ln |R_ii|."""
    orthogonal, upper = qr_zeros_last(frame)
    diagonal = jnp.abs(jnp.diagonal(upper))
    lost = diagonal == 0
    return jnp.where(lost, 0, orthogonal), jnp.where(lost, -jnp.inf, jnp.log(diagonal))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _log_determinants(cell: Cell, rank: int, params, trajectory):
    step = vector_step(cell, params, without_batch(trajectory.befores, rank))

    def one(befores, us):
        def at(_, inputs):
            return None, jnp.linalg.slogdet(jax.jacrev(step)(to_vector(inputs[0]), inputs[1]))[1]

        return lax.scan(at, None, (befores, us))[1]

    return over_batch(one, rank)(trajectory.befores, trajectory.us)


@jax.jit
def _statistics(growth: Float[Array, "*batch time count"]) -> LyapunovSpectrum:
    """Means over time with their standard error from blocks and their drift, the largest mean first."""
    time = growth.shape[-2]
    blocks = max(math.isqrt(time), 1)
    ends = np.linspace(0, time, blocks + 1).astype(int)
    means = jnp.stack([jnp.mean(growth[..., a:b, :], axis=-2) for a, b in zip(ends, ends[1:], strict=False)])
    mean = jnp.mean(growth, axis=-2)
    spread = jnp.sqrt(jnp.sum((means - mean) ** 2, axis=0) / max(blocks * (blocks - 1), 1))
    halves = growth[..., time // 2 :, :], growth[..., : max(time // 2, 1), :]
    drift = jnp.mean(halves[0], axis=-2) - jnp.mean(halves[1], axis=-2)
    lost = mean == -jnp.inf
    order = jnp.argsort(-mean, axis=-1)
    found = LyapunovSpectrum(mean, *(jnp.where(lost, 0, x) for x in (spread, drift)))
    ordered = LyapunovSpectrum(*(jnp.take_along_axis(x, order, axis=-1) for x in found))
    if blocks > 1:
        return ordered
    unknown = jnp.full_like(mean, jnp.inf)
    return ordered._replace(standard_error=unknown, drift=unknown)
