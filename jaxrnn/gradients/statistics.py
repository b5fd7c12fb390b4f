"""Statistics over samples of gradient norms, from logarithms to logarithms.

They have different exponents: over independent factors of 1/2 and 3/2 the median norm and the geometric mean
decay by 0.866 a step, the mean stays, and the root mean square grows by 1.118. Say which one a curve shows.
"""

import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

Axes = int | tuple[int, ...] | None


def quantile(log_norms: Float[Array, "..."], q: float, axis: Axes = None) -> Float[Array, "..."]:
    """The logarithm of the q-quantile: the sample nearest to it, so that exact zeros (-inf) do no harm.

    Raises:
        ValueError: q lies outside [0, 1].

    Example:
        >>> float(quantile(jnp.array([0.0, 1.0, -jnp.inf]), 0.0))
        -inf
    """
    if not 0 <= q <= 1:
        raise ValueError(f"quantile: `q` must lie between 0 and 1, got {q}.")
    return jnp.quantile(log_norms, q, axis=axis, method="nearest")


def median(log_norms: Float[Array, "..."], axis: Axes = None) -> Float[Array, "..."]:
    """The logarithm of the median norm, a sample's own.

    Example:
        >>> float(median(jnp.array([0.0, 1.0, 5.0])))
        1.0
    """
    return quantile(log_norms, 0.5, axis)


def mean(log_norms: Float[Array, "..."], axis: Axes = None) -> Float[Array, "..."]:
    """The logarithm of the arithmetic mean of the norms, in which signs and directions do not cancel.

    Example:
        >>> print(f"{mean(jnp.log(jnp.array([1.0, 2.0]))):.4f}")  # ln 1.5
        0.4055
    """
    total = logsumexp(log_norms, axis=axis)
    return total - jnp.log(jnp.asarray(log_norms.size // max(total.size, 1), log_norms.dtype))


def geometric_mean(log_norms: Float[Array, "..."], axis: Axes = None) -> Float[Array, "..."]:
    """The logarithm of the geometric mean, exp(mean(ln ||a||)), whose rate over the lag is a Lyapunov exponent.

    Example:
        >>> float(geometric_mean(jnp.array([1.0, 3.0])))
        2.0
    """
    return jnp.mean(log_norms, axis=axis)


def root_mean_square(log_norms: Float[Array, "..."], axis: Axes = None) -> Float[Array, "..."]:
    """The logarithm of sqrt(mean(||a||^2)): ruled by the largest samples.

    Example:
        >>> print(f"{root_mean_square(jnp.log(jnp.array([3.0, 4.0]))):.4f}")  # ln sqrt(12.5)
        1.2629
    """
    return 0.5 * mean(2 * log_norms, axis)
