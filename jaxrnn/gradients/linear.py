"""The linear recurrent network h' = W h: powers of its matrix, by eigenvalues and by singular values."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float, Int

from jaxrnn.gradients.graded import identity, log_singular_values, times_left
from jaxrnn.gradients.statistics import root_mean_square
from jaxrnn.gradients.transport import whole_lags
from jaxrnn.numerics import carry_dtype


class LinearFlow(NamedTuple):
    """Gradients over W^lag: what singular values say, which is the truth, and what eigenvalues promise.

    `log_values` are ln of all singular values of W^lag, largest first. `log_radius` is lag times ln of the spectral
    radius, with which log_norm shares its rate as lags grow, log_norm / lag, and not its size. `departure` is Henrici's
    departure from normality over ||W||_F, 0 for a matrix whose eigenvectors are orthogonal.
    """

    lags: Int[Array, " lags"]
    log_values: Float[Array, "lags size"]
    log_radius: Float[Array, " lags"]
    eigenvalues: Complex[np.ndarray, " size"]
    departure: float

    @property
    def log_norm(self) -> Float[Array, " lags"]:
        """ln ||W^lag||, the largest growth of any direction."""
        return self.log_values[:, 0]

    @property
    def log_root_mean_square(self) -> Float[Array, " lags"]:
        """ln ||W^lag||_F / sqrt(size), the growth of a random direction in root mean square."""
        return root_mean_square(self.log_values, axis=-1)

    @property
    def peak(self) -> tuple[int, float]:
        """The lag, of those there are, at which the norm is largest, and the norm there."""
        at = int(np.argmax(self.log_norm))
        return int(self.lags[at]), float(np.exp(self.log_norm[at]))


def linear_flow(weight, lags: Sequence[int]) -> LinearFlow:
    """Singular values of W^lag, exact at every lag, beside the eigenvalues of W.

    Only for normal matrices, orthogonal and symmetric ones, do the two say the same. Others can let gradients grow for
    a while though all eigenvalues promise that they vanish; and for ever in a nonlinear network, whose Jacobians
    diag phi' W have other eigenvalues than W. Computed in NumPy in part: not for use inside `jax.jit`.

    Args:
        weight: W.
        lags: Which, each 0 or more.

    Returns:
        A `LinearFlow`, arrays of the dtype of `weight`, at least float32.

    Source: for transients of non-normal matrices Trefethen & Embree (2005, Spectra and Pseudospectra); the departure is
    sqrt(||W||_F^2 - sum |lambda|^2), Henrici (1962, https://doi.org/10.1007/BF01386294).

    Raises:
        TypeError: `weight` is not real floating point.
        ValueError: it is no square matrix of finite numbers; there are no lags, or one is below 0.

    Example:
        >>> found = linear_flow(jnp.array([[0.9, 10.0], [0.0, 0.9]]), range(101))
        >>> lag, norm = found.peak
        >>> print(f"spectral radius 0.9, and yet the norm peaks at {norm:.2f}, lag {lag}")
        spectral radius 0.9, and yet the norm peaks at 38.75, lag 9
    """
    weight = jnp.asarray(weight)
    if not jnp.issubdtype(weight.dtype, jnp.floating):
        raise TypeError(f"linear_flow: `weight` must be real floating point, got {weight.dtype}. Convert it.")
    weight = weight.astype(carry_dtype(weight.dtype))
    if weight.ndim != 2 or weight.shape[0] != weight.shape[1] or not jnp.isfinite(weight).all():
        raise ValueError(
            f"linear_flow: `weight` must be a square matrix of finite numbers, got shape {weight.shape}"
            f"{'' if jnp.isfinite(weight).all() else ' with inf or NaN'}."
        )
    lags = whole_lags("linear_flow", lags)
    eigenvalues = np.linalg.eigvals(np.asarray(weight, np.float64))
    frobenius = float(np.linalg.norm(np.asarray(weight, np.float64)))
    lost = max(frobenius**2 - float(np.sum(np.abs(eigenvalues) ** 2)), 0.0) ** 0.5
    radius = float(np.abs(eigenvalues).max())
    with np.errstate(divide="ignore", invalid="ignore"):
        log_radius = np.where(np.array(lags) == 0, 0.0, np.array(lags) * np.log(radius))
    return LinearFlow(
        lags=jnp.array(lags),
        log_values=_powers(weight, lags),
        log_radius=jnp.asarray(log_radius, weight.dtype),
        eigenvalues=eigenvalues,
        departure=lost / frobenius if frobenius else 0.0,
    )


@functools.partial(jax.jit, static_argnums=1)
def _powers(weight, lags: tuple[int, ...]):
    start = identity(weight.shape[0], weight.dtype)

    def multiply(product, _):
        product = times_left(weight, product)
        return product, (product.rows, product.log_scales)

    _, found = lax.scan(multiply, start, length=max(lags))
    found = jax.tree.map(lambda s, x: jnp.concatenate([s[None], x]), (start.rows, start.log_scales), found)
    return jax.vmap(log_singular_values)(*jax.tree.map(lambda x: x[jnp.array(lags)], found))
