"""Upper bounds of the transport ds_T/ds_t, to be held against the truth of `transport`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import core
from jaxtyping import Array, Float, Int, PyTree

from jaxrnn.activations import activation
from jaxrnn.cell import recurrent_product
from jaxrnn.cells import Elman
from jaxrnn.gradients.jacobian import step_jacobians
from jaxrnn.gradients.trajectory import checked_inputs, or_nan, refuse_nan, run
from jaxrnn.gradients.transport import Transport, checked_lags, whole_lags
from jaxrnn.numerics import carry_dtype

SLOPES = {"tanh": 1.0, "sigmoid": 0.25, "relu": 1.0, "identity": 1.0, "softmax": 0.5}


class Bound(NamedTuple):
    """ln of an upper bound of ||ds_T/ds_(T-lag)||; of `norm_bound` one for all samples."""

    lags: Int[Array, " lags"]
    log_values: Float[Array, "lags *batch"]


def largest_slope(name: str) -> float:
    """gamma, the largest slope of a nonlinearity: 1 of tanh, relu and the identity, 1/4 of the logistic function.

    Of softmax 1/2, the largest norm of its Jacobian diag(p) - p p^T.

    Raises:
        ValueError: none is known for this name.

    Example:
        >>> largest_slope("sigmoid")
        0.25
    """
    if name not in SLOPES:
        raise ValueError(f"largest_slope: `name` must be one of {', '.join(SLOPES)}, got {name!r}.")
    return SLOPES[name]


def norm_bound(recurrent: Float[Array, "*heads hidden hidden"], slope: float, lags: Sequence[int]) -> Bound:
    """ln of Pascanu's bound (gamma sigma_max(W))^lag >= ||ds_T/ds_t|| of h' = phi(W h + ...).

    Below gamma sigma_max = 1 gradients vanish for certain; above, they need not explode: the bound says nothing then.

    Args:
        recurrent: W, or its transpose; with heads (heads, n, n), the blocks of its diagonal.
        slope: gamma, see `largest_slope`.
        lags: Which, each 0 or more.

    Raises:
        ValueError: one of them cannot be meant.
        FloatingPointError: W holds NaN (not inside `jax.jit`).

    Source: Pascanu, Mikolov & Bengio (2013, https://arxiv.org/abs/1211.5063), equation 7; for one logistic unit, where
    gradients vanish for |w| < 4, Hochreiter (1991).

    Example:
        >>> print(f"{norm_bound(2 * jnp.eye(3), 0.25, (0, 2)).log_values[1]:.4f}")  # 2 ln(1/2)
        -1.3863
    """
    recurrent = jnp.asarray(recurrent)
    if recurrent.ndim not in (2, 3) or not jnp.issubdtype(recurrent.dtype, jnp.floating):
        raise ValueError(
            "norm_bound: `recurrent` must be a real matrix, or blocks (heads, n, n) of one, "
            f"got {recurrent.dtype} of shape {recurrent.shape}."
        )
    if not 0 <= slope < jnp.inf:
        raise ValueError(f"norm_bound: `slope` must be a finite number of 0 or more, got {slope}. See largest_slope.")
    lags = whole_lags("norm_bound", lags)
    recurrent = recurrent.astype(carry_dtype(recurrent.dtype))
    largest = _largest_singular_value(recurrent)
    refuse_nan("norm_bound", largest, ())
    steps = jnp.array(lags, recurrent.dtype)
    return Bound(jnp.array(lags), jnp.where(steps == 0, 0, steps * jnp.log(slope * largest)))


def _largest_singular_value(recurrent):
    """Of a matrix, or of one that has these blocks on its diagonal."""
    return jnp.max(jnp.linalg.norm(recurrent, 2, axis=(-2, -1)))


def product_bound(cell, params: PyTree, xs: PyTree, lags: Sequence[int] | None = None) -> Bound:
    """The tighter bound prod ||D_t|| ||W||, D_t = diag phi'(a_t) along the run of a network.

    It knows how far the units are saturated, but still takes the worst unit and the worst direction of W at each step.

    Args:
        cell: An Elman network, of any nonlinearity that works entry by entry.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features).
        lags: As in `transport`.

    Returns:
        Natural logarithms (lags, *batch).

    Source: Pascanu, Mikolov & Bengio (2013, https://arxiv.org/abs/1211.5063), the factors of equation 5 one by one
    instead of their common bound in equation 7.

    Raises:
        FloatingPointError, ValueError: as `transport`.
        TypeError: `cell` is no Elman network, or its nonlinearity does not work entry by entry; see `step_bound`.

    Example:
        >>> cell, xs = Elman(3), jnp.ones((5, 2), jnp.float32)
        >>> bound = product_bound(cell, cell.init(jax.random.key(0), 2), xs, lags=(1, 4))
        >>> bool((bound.log_values < 0).all())  # an orthogonal matrix, and units away from 0
        True
    """
    if not isinstance(cell, Elman) or not _by_entry(activation(cell.activation)):
        raise TypeError(
            "product_bound: `cell` must be an Elman network whose nonlinearity works entry by entry, "
            f"got {cell!r}. Take step_bound."
        )
    xs, _ = checked_inputs(cell, params, xs)
    lags = checked_lags("product_bound", lags, xs)
    trajectory, _ = run(cell, params, xs)
    refuse_nan("product_bound", (), trajectory)
    recurrent = params.recurrent.astype(trajectory.us[0].dtype)
    sums = trajectory.us[0] + recurrent_product(trajectory.befores.h, recurrent, gates=1)[0]
    slopes = jax.vmap(jax.grad(activation(cell.activation)))(sums.reshape(-1)).reshape(sums.shape)
    steps = jnp.log(jnp.max(jnp.abs(slopes), axis=-1)) + jnp.log(_largest_singular_value(recurrent))
    return _by_lag(or_nan(steps, trajectory, steps.ndim - 1, 1), lags)


def step_bound(cell, params: PyTree, xs: PyTree, lags: Sequence[int] | None = None) -> Bound:
    """prod ||J_t||, the tightest bound that looks at each step by itself, of any Cell or Stack.

    What lies between it and `transport` is that steps stretch different directions; `log_gap` says how much.

    Args:
        cell: Any Cell, or a Stack.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such.
        lags: As in `transport`.

    Returns:
        Natural logarithms (lags, *batch).

    Source: submultiplicativity of the norm; for equation 5 of Pascanu, Mikolov & Bengio (2013,
    https://arxiv.org/abs/1211.5063).

    Raises:
        TypeError, ValueError, FloatingPointError: as `transport`.

    Example:
        >>> from jaxrnn import GRU
        >>> cell, xs = GRU(3), jnp.ones((5, 2), jnp.float32)
        >>> float(step_bound(cell, cell.init(jax.random.key(0), 2), xs, lags=(0, 5)).log_values[0])
        0.0
    """
    lags = checked_lags("step_bound", lags, xs)
    norms = jax.jit(lambda jacobians: jnp.linalg.svd(jacobians, compute_uv=False)[..., 0])
    return _by_lag(jnp.log(norms(step_jacobians(cell, params, xs))), lags)


def log_gap(bound: Bound, truth: Transport) -> Float[Array, "lags *batch"]:
    """ln of how many times too large a bound is: bound / ||ds_T/ds_(T-lag)||, 0 where it is reached.

    inf where the truth is exactly 0 and the bound is not.

    Args:
        bound: One of the three.
        truth: `transport` of the same run at the same lags.

    Raises:
        ValueError: their lags differ (not inside `jax.jit`).

    Example:
        >>> from jaxrnn import GRU
        >>> from jaxrnn.gradients import transport
        >>> cell, xs = GRU(3), jax.random.normal(jax.random.key(1), (40, 2), jnp.float32)
        >>> example = cell, cell.init(jax.random.key(0), 2), xs
        >>> gap = log_gap(step_bound(*example), transport(*example))
        >>> bool(gap[-1] > 5)  # after 40 steps it is more than e^5 times too large
        True
    """
    traced = isinstance(bound.lags, core.Tracer) or isinstance(truth.lags, core.Tracer)
    if not traced and bound.lags.tolist() != truth.lags.tolist():
        raise ValueError(
            f"log_gap: `bound` and `truth` must be of the same lags, got {bound.lags.tolist()} and "
            f"{truth.lags.tolist()}. Pass one `lags` to both."
        )
    values = bound.log_values
    values = values.reshape(values.shape + (1,) * (truth.log_largest.ndim - values.ndim))
    return jnp.where(values == truth.log_largest, 0, values - truth.log_largest)


def _by_entry(function: Callable[[Array], Array]) -> bool:
    """Whether a function does to each entry by itself what it does to a vector of them."""
    try:
        with jax.ensure_compile_time_eval():  # so that it is known inside `jax.jit` too
            vector = jnp.array([-2.0, -0.3, 0.7, 1.9], jnp.float32)
            return bool(jnp.allclose(function(vector), jax.vmap(function)(vector), rtol=1e-5, atol=1e-6))
    except (TypeError, ValueError):
        return False


def _by_lag(steps: Float[Array, "time *batch"], lags: Sequence[int]) -> Bound:
    """Sums over the last steps, as many as each lag has."""
    sums = jnp.concatenate([jnp.zeros_like(steps[:1]), jnp.cumsum(jnp.flip(steps, 0), axis=0)])
    return Bound(jnp.array(lags), sums[jnp.array(lags)])
