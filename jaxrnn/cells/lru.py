"""The linear recurrent unit: a diagonal complex recurrence with eigenvalues on a ring."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxrnn.cell import HiddenCarry, LinearCell, check_sizes
from jaxrnn.numerics import carry_dtype, complex_dtype, matmul


class LRUParams(NamedTuple):
    """Real arrays only; complex matrices are kept as real and imaginary part."""

    log_decay: Float[Array, " hidden"]
    log_phase: Float[Array, " hidden"]
    log_gain: Float[Array, " hidden"]
    input_real: Float[Array, "features hidden"]
    input_imag: Float[Array, "features hidden"]
    output_real: Float[Array, "hidden features"]
    output_imag: Float[Array, "hidden features"]
    skip: Float[Array, " features"]


@dataclass(frozen=True)
class LRU(LinearCell):
    """Linear recurrent unit (Orvieto et al., 2023, https://arxiv.org/abs/2303.06349).

        lambda = exp(-exp(nu) + i exp(theta))
        h_t = lambda * h_{t-1} + exp(gamma) * (B x_t)        complex
        y_t = Re(C h_t) + D * x_t

    Shapes: x, y (..., features), h (..., h) complex; log_decay = nu, log_phase = theta, log_gain = gamma (h,),
    input = B (features, h), output = C (h, features), skip = D (features,).
    Init: |lambda|^2 uniform on [min_radius^2, max_radius^2], phase uniform on [0, max_phase] in radians,
    exp(gamma) = sqrt(1 - |lambda|^2), B and C normal with variances 1/(2 features) and 1/h a part, D normal.
    Defaults: the ring from 0.4 to 0.99, all phases.

    Raises:
        ValueError: a size is below 1, the radii do not satisfy 0 <= min < max < 1, max_phase is not positive, or
            `init` is called with an input size other than `features`.

    Example:
        >>> LRU(hidden_size=4, features=2).init_carry().h.dtype
        dtype('complex64')
    """

    hidden_size: int
    features: int
    min_radius: float = 0.4
    max_radius: float = 0.99
    max_phase: float = 2 * math.pi

    def __post_init__(self):  # noqa: D105
        check_sizes(self, "hidden_size", "features")
        if not 0 <= self.min_radius < self.max_radius < 1:
            raise ValueError(
                "LRU: `min_radius` and `max_radius` must satisfy 0 <= min < max < 1, "
                f"got {self.min_radius} and {self.max_radius}."
            )
        if not self.max_phase > 0:
            raise ValueError(f"LRU: `max_phase` must be positive (radians), got {self.max_phase}.")

    @property
    def output_size(self) -> int:
        """As many as the inputs."""
        return self.features

    def init(self, key, input_size: int, dtype=jnp.float32) -> LRUParams:
        """Draws eigenvalues on the ring."""
        if input_size != self.features:
            raise ValueError(
                f"LRU.init: `input_size` must equal features={self.features}, got {input_size}. "
                "Build the cell with features=input_size."
            )
        keys = jax.random.split(key, 7)
        wide = carry_dtype(dtype)
        square = jax.random.uniform(keys[0], (self.hidden_size,), wide, self.min_radius**2, self.max_radius**2)
        phase = jax.random.uniform(keys[1], (self.hidden_size,), wide, 1e-6, self.max_phase)

        def normal(key, shape, deviation=1.0):
            return (jax.random.normal(key, shape, wide) * deviation).astype(dtype)

        into, out = (self.features, self.hidden_size), (self.hidden_size, self.features)
        return LRUParams(
            log_decay=jnp.log(-0.5 * jnp.log(square)).astype(dtype),
            log_phase=jnp.log(phase).astype(dtype),
            log_gain=(0.5 * jnp.log1p(-square)).astype(dtype),
            input_real=normal(keys[2], into, (2 * self.features) ** -0.5),
            input_imag=normal(keys[3], into, (2 * self.features) ** -0.5),
            output_real=normal(keys[4], out, self.hidden_size**-0.5),
            output_imag=normal(keys[5], out, self.hidden_size**-0.5),
            skip=normal(keys[6], (self.features,)),
        )

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> HiddenCarry:
        """Complex zeros."""
        return HiddenCarry(jnp.zeros((*batch_shape, self.hidden_size), complex_dtype(dtype)))

    def project(self, params, xs):
        """(Re B x, Im B x, x)."""
        return matmul(xs, params.input_real), matmul(xs, params.input_imag), xs

    def coefficients(self, params, us):
        """a = lambda, b = exp(gamma) B x."""
        modulus, phase = jnp.exp(-jnp.exp(params.log_decay)), jnp.exp(params.log_phase)
        eigenvalue = lax.complex(modulus * jnp.cos(phase), modulus * jnp.sin(phase))
        gain = jnp.exp(params.log_gain)
        return eigenvalue, lax.complex(gain * us[0], gain * us[1])

    def readout(self, params, hs, us):
        """Re(C h) + D * x."""
        return matmul(hs.real, params.output_real) - matmul(hs.imag, params.output_imag) + params.skip * us[2]
