"""The extreme singular values of the transport of large states, by products with vectors alone."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from jaxrnn.cell import Cell, is_size
from jaxrnn.gradients.jacobian import over_batch, to_vector, vector_step, without_batch
from jaxrnn.gradients.statistics import root_mean_square
from jaxrnn.gradients.trajectory import checked_inputs, or_nan, recurrence, refuse_nan, run
from jaxrnn.gradients.transport import checked_lags, log_condition

Product = Callable[[Array], tuple[Array, Array]]


class ExtremeTransport(NamedTuple):
    """ln of singular values of P = ds_T/ds_(T-lag): the largest, an upper bound of the smallest, and their RMS."""

    lags: Int[Array, " lags"]
    log_largest: Float[Array, "lags *batch"]
    log_smallest: Float[Array, "lags *batch"]
    log_root_mean_square: Float[Array, "lags *batch"]

    @property
    def log_condition(self) -> Float[Array, "lags *batch"]:
        """ln of the condition number, or a lower bound of it while the smallest value has not converged."""
        return log_condition(self.log_largest, self.log_smallest)


def extreme_transport(
    cell,
    params: PyTree,
    xs: PyTree,
    key,
    lags: Sequence[int] | None = None,
    iterations: int = 32,
    probes: int = 32,
) -> ExtremeTransport:
    """The largest and smallest singular value of P(T, t) = ds_T/ds_t without a matrix, and their root mean square.

    Golub-Kahan bidiagonalisation with full reorthogonalisation: each iteration is one product with P (a JVP through
    the steps of the lag) and one with its transpose (a VJP), both with a logarithmic scale of their own. The root
    mean square is that of ||P v|| over random unit vectors v, since E ||P v||^2 = ||P||_F^2 / state.

    Args:
        cell: Any Cell, or a Stack.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such. The sequence starts from `init_carry`.
        key: For the first vector and the probes.
        lags: As in `transport`.
        iterations: At most the size of the state, at which both ends are exact. The largest value converges long
            before; the smallest is an upper bound, and is never told below the rounding error of the largest.
            Default: 32.
        probes: Random vectors for the root mean square, whose error falls with their root. Default: 32.

    Returns:
        Natural logarithms (lags, *batch).

    Raises:
        TypeError, ValueError, FloatingPointError: as `transport`; ValueError for `iterations` or `probes` below 1.

    Source: Golub & Kahan (1965, https://doi.org/10.1137/0702016).

    Example:
        >>> from jaxrnn import Elman
        >>> cell = Elman(8, "identity")
        >>> params = cell.init(jax.random.key(0), 2)
        >>> found = extreme_transport(cell, params, jnp.ones((9, 2), jnp.float32), jax.random.key(1), lags=(8,))
        >>> bool(abs(found.log_largest[0]) < 1e-4)
        True
    """
    cell = recurrence("extreme_transport", cell)
    for name, value in (("iterations", iterations), ("probes", probes)):
        if not is_size(value):
            raise ValueError(f"extreme_transport: `{name}` must be a whole number of at least 1, got {value!r}.")
    xs, batch_shape = checked_inputs(cell, params, xs)
    lags = checked_lags("extreme_transport", lags, xs)
    trajectory, _ = run(cell, params, xs)
    found = _extremes(cell, len(batch_shape), iterations, probes, params, trajectory, jnp.array(lags), key)
    refuse_nan("extreme_transport", found, trajectory)
    return ExtremeTransport(jnp.array(lags), *or_nan(found, trajectory, len(batch_shape), 1))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _extremes(cell: Cell, rank: int, iterations: int, probes: int, params, trajectory, lags, key):
    step = vector_step(cell, params, without_batch(trajectory.befores, rank))
    time = jax.tree.leaves(trajectory.us)[0].shape[0]

    def one(befores, us):
        start = to_vector(jax.tree.map(lambda x: x[0], befores))
        draws = jax.random.normal(key, (iterations + probes, start.size), start.dtype)

        def inputs_of(index):
            before, u = jax.tree.map(lambda x: x[index], (befores, us))
            return to_vector(before), u

        def at_lag(lag):
            def forward(vector) -> tuple[Array, Array]:
                def body(index, state):
                    before, u = inputs_of(index)
                    _, moved = jax.jvp(lambda s: step(s, u), (before,), (state[0],))
                    return _rescaled(moved, state[1])

                return lax.fori_loop(time - lag, time, body, _rescaled(vector, jnp.zeros((), start.dtype)))

            def backward(vector) -> tuple[Array, Array]:
                def body(count, state):
                    before, u = inputs_of(time - 1 - count)
                    _, transposed = jax.vjp(lambda s: step(s, u), before)
                    return _rescaled(transposed(state[0])[0], state[1])

                return lax.fori_loop(0, lag, body, _rescaled(vector, jnp.zeros((), start.dtype)))

            count = min(iterations, start.size)
            largest, smallest = _golub_kahan(forward, backward, draws[:count])
            _, grown = lax.map(forward, _unit(draws[iterations:]))
            return largest, smallest, root_mean_square(grown)

        return lax.map(at_lag, lags)

    found = over_batch(one, rank)(trajectory.befores, trajectory.us)
    return tuple(jnp.moveaxis(x, rank, 0) for x in found)


def _unit(vector):
    length = jnp.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / jnp.where(length == 0, 1, length)


def _rescaled(vector, log_scale) -> tuple[Array, Array]:
    """A vector of length 1 or 0, and the logarithm of what it is to be multiplied by."""
    peak = jnp.max(jnp.abs(vector))
    vector = vector / jnp.where(peak == 0, 1, peak)
    length = jnp.linalg.norm(vector)
    log_scale = jnp.where(peak == 0, -jnp.inf, log_scale + jnp.log(peak) + jnp.log(length))
    return vector / jnp.where(length == 0, 1, length), log_scale


def _golub_kahan(forward: Product, backward: Product, draws) -> tuple[Array, Array]:
    """ln of the largest and the smallest singular value of the bidiagonal matrix after as many steps as `draws`.

    Where the Krylov space ends early a fresh direction takes its place, so that no value is missed or made up.
    """
    count, size = draws.shape
    dtype = draws.dtype
    small = 10 * jnp.finfo(dtype).eps
    _, scale = forward(_unit(draws[0]))
    scale = jnp.where(scale == -jnp.inf, 0, scale)

    def apart(vector, basis):
        for _ in range(2):  # twice is enough (Kahan, Parlett)
            vector = vector - basis.T @ (basis @ vector)
        return vector

    def direction(vector, basis, fresh):
        """The part of a vector outside a basis, its length and direction."""
        vector = apart(vector, basis)
        length = jnp.linalg.norm(vector)
        ended = length <= small
        return jnp.where(ended, 0, length), _unit(jnp.where(ended, apart(_unit(fresh), basis), vector))

    def body(n, state):
        right, left, diagonal, above, v = state
        right = right.at[n].set(v)
        p, grown = forward(v)
        alpha, u = direction(p * jnp.exp(grown - scale), left, draws[n])
        left = left.at[n].set(u)
        q, grown = backward(u)
        beta, v = direction(q * jnp.exp(grown - scale), right, draws[(n + 1) % count])
        return right, left, diagonal.at[n].set(alpha), above.at[n].set(beta), v

    basis, entries = jnp.zeros((count, size), dtype), jnp.zeros(count, dtype)
    state = (basis, basis, entries, entries, _unit(draws[0]))
    _, _, diagonal, above, _ = lax.fori_loop(0, count, body, state)
    values = jnp.linalg.svd(jnp.diag(diagonal) + jnp.diag(above[:-1], 1), compute_uv=False)
    least = jnp.maximum(values[-1], count * jnp.finfo(dtype).eps * values[0])
    largest, smallest = (jnp.where(x == 0, -jnp.inf, jnp.log(x) + scale) for x in (values[0], least))
    return largest, smallest
