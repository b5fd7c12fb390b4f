"""Upper bounds of the transport ds_T/ds_t, to be held against the truth of `transport`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxrnn.activations import activation
from jaxrnn.cells import Elman
from jaxrnn.gradients.jacobian import step_jacobians
from jaxrnn.gradients.trajectory import checked_inputs, refuse_nan, run
from jaxrnn.gradients.transport import checked_lags

SLOPES = {"tanh": 1.0, "sigmoid": 0.25, "relu": 1.0, "identity": 1.0}


def largest_slope(name: str) -> float:
    """gamma, the largest slope of a nonlinearity: 1 of tanh, relu and the identity, 1/4 of the logistic function.

    Raises:
        ValueError: none is known for this name.

    Example:
        >>> largest_slope("sigmoid")
        0.25
    """
    if name not in SLOPES:
        raise ValueError(f"largest_slope: `name` must be one of {', '.join(SLOPES)}, got {name!r}.")
    return SLOPES[name]


def norm_bound(recurrent: Float[Array, "hidden hidden"], slope: float, lags: Sequence[int]) -> Float[Array, " lags"]:
    """ln of Pascanu's bound (gamma sigma_max(W))^lag >= ||ds_T/ds_t|| of h' = phi(W h + ...).

    Below gamma sigma_max = 1 gradients vanish for certain; above, they need not explode: the bound says nothing then.

    Args:
        recurrent: W, or its transpose.
        slope: gamma, see `largest_slope`.
        lags: Which.

    Source: Pascanu, Mikolov & Bengio (2013, https://arxiv.org/abs/1211.5063), equation 7; for one logistic unit, where
    gradients vanish for |w| < 4, Hochreiter (1991).

    Example:
        >>> norm_bound(2 * jnp.eye(3), 0.25, (0, 1, 2)).round(4).tolist()[1] < 0
        True
    """
    largest = jnp.linalg.norm(recurrent, 2)
    steps = jnp.array(lags, recurrent.dtype)
    return jnp.where(steps == 0, 0, steps * jnp.log(slope * largest))


def product_bound(
    cell, params: PyTree, xs: PyTree, lags: Sequence[int] | None = None
) -> tuple[tuple[int, ...], Float[Array, "lags *batch"]]:
    """The lags and ln of the tighter bound prod ||D_t|| ||W||, D_t = diag phi'(a_t) along the run of a network.

    It knows how far the units are saturated, but still takes the worst unit and the worst direction of W at each step.

    Args:
        cell: An Elman network, of any nonlinearity that works entry by entry.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features).
        lags: As in `transport`.

    Raises:
        TypeError: `cell` is no Elman network; for other cells see `step_bound`.

    Example:
        >>> cell, xs = Elman(3), jnp.ones((5, 2), jnp.float32)
        >>> lags, bound = product_bound(cell, cell.init(jax.random.key(0), 2), xs, lags=(1, 4))
        >>> bool((bound < 0).all())  # an orthogonal matrix, and units away from 0
        True
    """
    if not isinstance(cell, Elman):
        raise TypeError(f"product_bound: `cell` must be an Elman network, got {cell!r}. Take step_bound.")
    xs, _ = checked_inputs(cell, params, xs)
    lags = checked_lags("product_bound", lags, xs)
    trajectory, _ = run(cell, params, xs)
    refuse_nan("product_bound", (), trajectory)
    recurrent = params.recurrent.astype(trajectory.us[0].dtype)
    sums = trajectory.us[0] + trajectory.befores.h @ recurrent
    slopes = jax.vmap(jax.grad(activation(cell.activation)))(sums.reshape(-1)).reshape(sums.shape)
    steps = jnp.log(jnp.max(jnp.abs(slopes), axis=-1)) + jnp.log(jnp.linalg.norm(recurrent, 2))
    return lags, _by_lag(steps, lags)


def step_bound(
    cell, params: PyTree, xs: PyTree, lags: Sequence[int] | None = None
) -> tuple[tuple[int, ...], Float[Array, "lags *batch"]]:
    """The lags and ln of prod ||J_t||, the tightest bound that looks at each step by itself, of any Cell or Stack.

    What lies between it and `transport` is that steps stretch different directions.

    Example:
        >>> from jaxrnn import GRU
        >>> cell, xs = GRU(3), jnp.ones((5, 2), jnp.float32)
        >>> lags, bound = step_bound(cell, cell.init(jax.random.key(0), 2), xs, lags=(0, 5))
        >>> float(bound[0])
        0.0
    """
    lags = checked_lags("step_bound", lags, xs)
    jacobians = step_jacobians(cell, params, xs)
    return lags, _by_lag(jnp.log(jnp.linalg.norm(jacobians, 2, axis=(-2, -1))), lags)


def _by_lag(steps: Float[Array, "time *batch"], lags: Sequence[int]) -> Float[Array, "lags *batch"]:
    """Sums over the last steps, as many as each lag has."""
    sums = jnp.concatenate([jnp.zeros_like(steps[:1]), jnp.cumsum(jnp.flip(steps, 0), axis=0)])
    return sums[jnp.array(lags)]
