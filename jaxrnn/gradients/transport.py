"""The transport ds_T/ds_t of a state over a lag: all its singular values, exactly."""

import functools
import operator
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from jaxrnn.cell import Cell, is_size
from jaxrnn.gradients.graded import Graded, identity, log_singular_values, times_left
from jaxrnn.gradients.jacobian import over_batch, to_vector, vector_step, without_batch
from jaxrnn.gradients.statistics import root_mean_square
from jaxrnn.gradients.trajectory import check_some_steps, checked_inputs, or_nan, recurrence, refuse_nan, run


class Transport(NamedTuple):
    """ln of the singular values of P = ds_T/ds_(T-lag), largest first; -inf for an exact zero."""

    lags: Int[Array, " lags"]
    log_values: Float[Array, "lags *batch state"]

    @property
    def log_largest(self) -> Float[Array, "lags *batch"]:
        """ln ||P||: how much a gradient can grow at most."""
        return self.log_values[..., 0]

    @property
    def log_smallest(self) -> Float[Array, "lags *batch"]:
        """ln of the smallest: how much every gradient grows at least."""
        return self.log_values[..., -1]

    @property
    def log_root_mean_square(self) -> Float[Array, "lags *batch"]:
        """ln ||P||_F / sqrt(state): how much a gradient of random direction grows, in root mean square."""
        return root_mean_square(self.log_values, axis=-1)

    @property
    def log_condition(self) -> Float[Array, "lags *batch"]:
        """ln of the condition number, the largest over the smallest; 0 where P only turns and scales."""
        return log_condition(self.log_largest, self.log_smallest)


def log_condition(log_largest: Float[Array, "..."], log_smallest: Float[Array, "..."]) -> Float[Array, "..."]:
    """ln of largest / smallest; inf where the smallest is exactly 0."""
    return jnp.where(log_smallest == -jnp.inf, jnp.inf, log_largest - log_smallest)


class Histogram(NamedTuple):
    """Fractions of ln singular values in bins of equal width, and of those that are exactly 0; rows add up to 1."""

    edges: Float[Array, " edges"]
    fractions: Float[Array, "lags bins"]
    fraction_zero: Float[Array, " lags"]


def spaced_lags(time: int, count: int = 24) -> tuple[int, ...]:
    """At most `count` lags, of which there are two or more, from 0 to `time`, ever further apart.

    Example:
        >>> spaced_lags(100, 8)
        (0, 1, 2, 4, 9, 20, 45, 100)
    """
    lags, value = [0], 1.0
    while lags[-1] < time:
        left = count - len(lags)
        lags.append(max(lags[-1] + 1, round(value)) if left > 1 else time)
        value = max(lags[-1], 1) * (time / max(lags[-1], 1)) ** (1 / max(left - 1, 1))
    return tuple(lags)


def transport(cell, params: PyTree, xs: PyTree, lags: Sequence[int] | None = None) -> Transport:
    """All singular values of P(T, t) = ds_T/ds_t = J_T ... J_(t+1) at chosen lags T - t, for each sample.

    Exact at any lag: the product is kept with a scale for each row (see `graded`), so values a thousand decades
    apart stand side by side. One pass of QR, O(time * state^3), and O(state^3) for each lag: meant for states up to
    a few hundred. For larger ones see `extreme_transport`. All singular values near 1 is dynamical isometry.

    A value is -inf, exactly 0, where rows or columns of zeros in the Jacobians take a direction away, as a relu that is
    off does. Where rank is lost otherwise, as by equal rows or by zeros inside a sparse matrix, it has the size of
    rounding errors instead. It is not made to be differentiated.

    Args:
        cell: Any Cell, or a Stack, whose state is that of all its layers.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such. The sequence starts from `init_carry`.
        lags: Which, each from 0 to `time`; lag `time` reaches the starting carry. Default: 24 or fewer, ever
            further apart.

    Source: Pascanu, Mikolov & Bengio (2013, https://arxiv.org/abs/1211.5063), equation 5, of which this is the
    product; the singular values, not the eigenvalues, say how far gradients reach.

    Raises:
        TypeError: `cell` is neither Cell nor Stack, or `xs` is not floating point.
        ValueError: a lag does not fit the sequence, or shapes do not fit.
        FloatingPointError: there is NaN (not inside `jax.jit`).

    Example:
        >>> from jaxrnn import Elman
        >>> cell = Elman(4, "identity")  # an orthogonal matrix: gradients keep their length
        >>> found = transport(cell, cell.init(jax.random.key(0), 2), jnp.ones((100, 2), jnp.float32))
        >>> bool(jnp.all(jnp.abs(found.log_values) < 1e-4))
        True
    """
    cell = recurrence("transport", cell)
    xs, batch_shape = checked_inputs(cell, params, xs)
    lags = checked_lags("transport", lags, xs)
    trajectory, _ = run(cell, params, xs)
    logs = _log_values(cell, len(batch_shape), lags, params, trajectory)
    refuse_nan("transport", logs, trajectory)
    return Transport(jnp.array(lags), or_nan(logs, trajectory, len(batch_shape), 1))


def histogram(found: Transport, bins: int = 40) -> Histogram:
    """How the ln singular values of all samples are spread at each lag.

    Raises:
        ValueError: `bins` is below 1.

    Example:
        >>> spread = histogram(Transport(jnp.array([3]), jnp.log(jnp.array([[[4.0, 1.0]]]))), bins=2)
        >>> spread.fractions.tolist(), spread.fraction_zero.tolist()
        ([[0.5, 0.5]], [0.0])
    """
    if not is_size(bins):
        raise ValueError(f"histogram: `bins` must be a whole number of at least 1, got {bins!r}. Give another.")
    return _histogram(found.log_values.reshape(found.log_values.shape[0], -1), bins)


@functools.partial(jax.jit, static_argnums=1)
def _histogram(logs: Float[Array, "lags values"], bins: int) -> Histogram:
    finite = jnp.isfinite(logs)
    some = finite.any()  # exact zeros alone have no range: the bins are then any
    low = jnp.where(some, jnp.min(jnp.where(finite, logs, jnp.inf)), 0)
    high = jnp.where(some, jnp.max(jnp.where(finite, logs, -jnp.inf)), 0)
    low, high = (jnp.where(high > low, end, low + side) for end, side in ((low, -0.5), (high, 0.5)))
    edges = low + (high - low) * jnp.linspace(0, 1, bins + 1, dtype=logs.dtype)
    place = jnp.clip(jnp.floor((logs - low) / (high - low) * bins), 0, bins - 1)
    inside = (place[..., None] == jnp.arange(bins, dtype=place.dtype)) & finite[..., None]
    return Histogram(edges, jnp.mean(inside, axis=1, dtype=logs.dtype), jnp.mean(~finite, axis=1, dtype=logs.dtype))


def checked_lags(owner: str, lags: Sequence[int] | None, xs: PyTree) -> tuple[int, ...]:
    """The lags as whole numbers, or the default ones.

    Raises:
        ValueError: one does not fit the sequence.
    """
    check_some_steps(owner, xs)
    time = jax.tree.leaves(xs)[0].shape[0]
    lags = spaced_lags(time) if lags is None else whole_lags(owner, lags)
    if max(lags) > time or len(set(lags)) < len(lags):
        raise ValueError(
            f"{owner}: `lags` must be one or more whole numbers from 0 to the {time} steps of `xs`, each once, got "
            f"{lags}. Leave the others out, or give None."
        )
    return lags


def whole_lags(owner: str, lags: Sequence[int]) -> tuple[int, ...]:
    """The lags as whole numbers.

    Raises:
        ValueError: they are none, or not whole, or below 0.
    """
    try:
        found = tuple(map(operator.index, lags))
    except TypeError:
        found = ()
    if not found or min(found) < 0:
        raise ValueError(
            f"{owner}: `lags` must be one or more whole numbers of at least 0, got {lags!r}. Give a list, as (1, 10)."
        )
    return found


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _log_values(cell: Cell, rank: int, lags: tuple[int, ...], params, trajectory):
    step = vector_step(cell, params, without_batch(trajectory.befores, rank))
    time = jax.tree.leaves(trajectory.us)[0].shape[0]
    # Where the product of each lag is kept, those that are not asked for beyond the end, where `drop` loses them.
    places = np.array([lags.index(lag) if lag in lags else len(lags) for lag in range(time + 1)])

    def one(befores, us):
        start = to_vector(jax.tree.map(lambda x: x[0], befores))
        product = identity(start.size, start.dtype)
        kept = jax.tree.map(lambda x: jnp.zeros((len(lags), *x.shape), x.dtype), (product.rows, product.log_scales))

        def keep(kept, place, product: Graded):
            return jax.tree.map(
                lambda buffer, x: buffer.at[place].set(x, mode="drop"), kept, (product.rows, product.log_scales)
            )

        def back(state, inputs):
            product, kept = state
            before, u, place = inputs
            product = times_left(jax.jacrev(step)(to_vector(before), u).T, product)
            return (product, keep(kept, place, product)), None

        state = product, keep(kept, places[0], product)
        (_, kept), _ = lax.scan(back, state, (befores, us, jnp.array(places[:0:-1])), reverse=True)
        return jax.vmap(log_singular_values)(*kept)

    return jnp.moveaxis(over_batch(one, rank)(trajectory.befores, trajectory.us), rank, 0)
