"""The minimal gated unit whose gates do not see the state, so that it is linear in it."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.cell import HiddenCarry, LinearCell, check_sizes
from jaxrnn.initializers import Glorot, Initializer
from jaxrnn.numerics import matmul


class MinGRUParams(NamedTuple):
    """Input weights of gate and candidate, columns z | n; the paper has no biases."""

    input: Float[Array, "input columns"]


@dataclass(frozen=True)
class MinGRU(LinearCell):
    """Minimal gated recurrent unit (Feng et al., 2024, https://arxiv.org/abs/2410.01201).

        z = sigmoid(W_z x)                   update gate, z WRITES
        n = g(W_n x)                         candidate
        h' = (1 - z) * h + z * n

    Shapes: x (..., i), h (..., h); input = (W_z | W_n) (i, 2h).
    Defaults: g is the identity, as in the paper's section 3.1; `positive=True` takes the g of its log-space
    form, a + 1/2 for a >= 0 and sigmoid(a) below, which keeps h above zero.

    Raises:
        ValueError: hidden_size is below 1.

    Example:
        >>> MinGRU(hidden_size=3)
        MinGRU(hidden_size=3, positive=False, input_init=Glorot())
    """

    hidden_size: int
    positive: bool = False
    input_init: Initializer = Glorot()

    def __post_init__(self):  # noqa: D105
        check_sizes(self, "hidden_size")

    @property
    def output_size(self) -> int:
        """The hidden size."""
        return self.hidden_size

    def init(self, key, input_size: int, dtype=jnp.float32) -> MinGRUParams:
        """Weights drawn gate by gate."""
        keys = jax.random.split(key)
        return MinGRUParams(
            jnp.concatenate([self.input_init(k, (input_size, self.hidden_size), dtype) for k in keys], axis=-1)
        )

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> HiddenCarry:
        """Zeros."""
        return HiddenCarry(jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def project(self, params, xs):
        """(W_z x, W_n x)."""
        return tuple(jnp.split(matmul(xs, params.input), 2, axis=-1))

    def coefficients(self, params, us):
        """a = 1 - z, b = z * n."""
        gate, candidate = us
        if self.positive:
            candidate = jnp.where(candidate >= 0, candidate + 0.5, jax.nn.sigmoid(candidate))
        return jax.nn.sigmoid(-gate), jax.nn.sigmoid(gate) * candidate

    def readout(self, params, hs, us):
        """The hidden states."""
        return hs
