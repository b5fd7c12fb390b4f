"""Initialisers: frozen dataclasses that are called, so that equal cells stay equal and print what they use.

A weight initialiser is called once for each gate, `init(key, (rows, columns), dtype)`; applied to the
columns of all gates at once, an orthogonal matrix would give each gate singular values below one.
A bias initialiser is called once for all gates, `init(key, (gates, hidden), dtype, keep, write)`, where
`keep` and `write` are the rows of the gates that keep the memory and that admit to it (None: there is none).
"""

import abc
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.numerics import carry_dtype


def _draw(rule, key, shape, dtype) -> Array:
    """Draws in at least float32 (QR knows no 16-bit types) and rounds to `dtype`."""
    return rule(key, shape, carry_dtype(dtype)).astype(dtype)


class Initializer(abc.ABC):
    """A rule for one weight matrix."""

    @abc.abstractmethod
    def __call__(self, key, shape: tuple[int, int], dtype=jnp.float32) -> Float[Array, "rows columns"]:
        """Draws a (rows, columns) matrix that maps rows to columns by `x @ weight`."""


@dataclass(frozen=True)
class Glorot(Initializer):
    """Uniform on +-sqrt(6 / (rows + columns)) (Glorot & Bengio, 2010)."""

    def __call__(self, key, shape, dtype=jnp.float32):
        """See Initializer."""
        return _draw(jax.nn.initializers.glorot_uniform(), key, shape, dtype)


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """`spectral_radius * Q` with Q orthogonal, uniform by the Haar measure (Saxe et al., 2014).

    Every singular value and every eigenvalue's modulus equals `spectral_radius`.
    """

    spectral_radius: float = 1.0

    def __call__(self, key, shape, dtype=jnp.float32):
        """See Initializer."""
        return _draw(jax.nn.initializers.orthogonal(self.spectral_radius), key, shape, dtype)


@dataclass(frozen=True)
class Identity(Initializer):
    """`scale` times the identity matrix (Le, Jaitly & Hinton, 2015, https://arxiv.org/abs/1504.00941)."""

    scale: float = 1.0

    def __call__(self, key, shape, dtype=jnp.float32):
        """See Initializer."""
        return self.scale * jnp.eye(*shape, dtype=dtype)


@dataclass(frozen=True)
class Gaussian(Initializer):
    """Normal with standard deviation `sigma_w / sqrt(rows)`, the scaling of mean-field theory."""

    sigma_w: float = 1.0

    def __call__(self, key, shape, dtype=jnp.float32):
        """See Initializer."""
        return _draw(jax.nn.initializers.normal(self.sigma_w / shape[0] ** 0.5), key, shape, dtype)


class BiasInitializer(abc.ABC):
    """A rule for the biases of all gates of a cell."""

    @abc.abstractmethod
    def __call__(
        self, key, shape: tuple[int, int], dtype=jnp.float32, keep: int | None = None, write: int | None = None
    ) -> Float[Array, "gates hidden"]:
        """Draws a (gates, hidden) array; rows `keep` and `write` belong to the memory's gates."""


def _require_keep(name: str, keep: int | None) -> int:
    if keep is None:
        raise ValueError(
            f"bias_init: {name} sets the gate that keeps the memory, but this cell has none (keep_gate is None). "
            "Use ZeroBias(), or a cell with a forget or update gate."
        )
    return keep


@dataclass(frozen=True)
class ZeroBias(BiasInitializer):
    """Zeros."""

    def __call__(self, key, shape, dtype=jnp.float32, keep=None, write=None):
        """See BiasInitializer."""
        return jnp.zeros(shape, dtype)


@dataclass(frozen=True)
class ForgetBias(BiasInitializer):
    """`value` on the gate that keeps the memory, zeros elsewhere (Gers et al., 2000; Jozefowicz et al., 2015).

    Alone it lets a memory live for ln 2 / -ln sigmoid(value) steps by half: 1.0 steps for 0, 2.2 for 1, 14 for 3.
    """

    value: float = 1.0

    def __call__(self, key, shape, dtype=jnp.float32, keep=None, write=None):
        """See BiasInitializer."""
        return jnp.zeros(shape, dtype).at[_require_keep("ForgetBias", keep)].set(self.value)


@dataclass(frozen=True)
class Chrono(BiasInitializer):
    """ln U[1, longest - 1] on the gate that keeps, its negative on the one that writes, zeros elsewhere.

    Spreads the time constants of the units up to `longest` steps (Tallec & Ollivier, 2018,
    https://arxiv.org/abs/1804.11188).

    Raises:
        ValueError: `longest` is below 2.
    """

    longest: int

    def __post_init__(self):  # noqa: D105
        if self.longest < 2:
            raise ValueError(f"Chrono: `longest` must be at least 2 steps, got {self.longest}.")

    def __call__(self, key, shape, dtype=jnp.float32, keep=None, write=None):
        """See BiasInitializer."""
        row = _require_keep("Chrono", keep)
        wide = carry_dtype(dtype)
        draw = jnp.log(jax.random.uniform(key, shape[1:], wide, 1.0, max(self.longest - 1.0, 1.0))).astype(dtype)
        bias = jnp.zeros(shape, dtype).at[row].set(draw)
        return bias if write is None else bias.at[write].set(-draw)
