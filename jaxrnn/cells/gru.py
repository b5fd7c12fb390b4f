"""Gated recurrent units with both reset conventions; z keeps in both."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxrnn.cell import Cell, GatedCell, GatedParams, HiddenCarry, check_sizes
from jaxrnn.initializers import BiasInitializer, Glorot, Initializer, Orthogonal, ZeroBias
from jaxrnn.numerics import affine, matmul


@dataclass(frozen=True)
class GRU(GatedCell):
    """Gated recurrent unit, reset after the product: the form of cuDNN, one product per step.

        z = sigmoid(W_z x + U_z h + b_z)             update gate, z KEEPS
        r = sigmoid(W_r x + U_r h + b_r)             reset gate
        n = tanh(W_n x + b_n + r * (U_n h + b_h))    candidate
        h' = z * h + (1 - z) * n

    From Cho et al., 2014, https://arxiv.org/abs/1406.1078, with the reset moved behind the product; their form is
    ResetBeforeGRU, and the weights of the two do not convert. For weights of a model in which z writes, see
    `negate_update_gate`.

    Shapes: x (..., i), h (..., h); input = W (i, 3h), recurrent = U (h, 3h), bias = b (3h,), pointwise = b_h (h,);
    columns z | r | n. Defaults: Glorot input, orthogonal recurrent per gate, zero biases.
    With `heads` of k, recurrent is (k, h / k, 3h / k): k blocks on the diagonal of U.

    Raises:
        ValueError: hidden_size is below 1 or no multiple of heads.

    Example:
        >>> import jax
        >>> GRU(hidden_size=3).init(jax.random.key(0), input_size=2).recurrent.shape
        (3, 9)
    """

    hidden_size: int
    input_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()
    bias_init: BiasInitializer = ZeroBias()
    heads: int = 1
    gates: ClassVar[int] = 3
    gate_names: ClassVar[tuple[str, ...]] = ("update gate", "reset gate", "candidate")
    keep_gate: ClassVar[int | None] = 0

    def init(self, key, input_size: int, dtype=jnp.float32) -> GatedParams:
        """The defaults of a gated cell, and b_h = 0."""
        return super().init(key, input_size, dtype)._replace(pointwise=jnp.zeros(self.hidden_size, dtype))

    def update(self, pointwise, carry, u, v):
        """See the class."""
        z = jax.nn.sigmoid(u[0] + v[0])
        r = jax.nn.sigmoid(u[1] + v[1])
        n = jnp.tanh(u[2] + r * (v[2] + pointwise))
        return HiddenCarry(z * carry.h + (1 - z) * n)


@dataclass(frozen=True)
class ResetBeforeGRU(Cell):
    """Gated recurrent unit, reset before the product (Cho et al., 2014, https://arxiv.org/abs/1406.1078).

        z = sigmoid(W_z x + U_z h + b_z)             update gate, z KEEPS
        r = sigmoid(W_r x + U_r h + b_r)             reset gate
        n = tanh(W_n x + U_n (r * h) + b_n)          candidate
        h' = z * h + (1 - z) * n

    Two products that depend on one another per step, so not a GatedCell. Equal to GRU only where U_n is diagonal.

    Shapes: input = W (i, 3h), recurrent = U (h, 3h), bias = b (3h,); columns z | r | n.
    Defaults: as in GRU.

    Raises:
        ValueError: hidden_size is below 1.

    Example:
        >>> ResetBeforeGRU(3).init_carry().h.shape
        (3,)
    """

    gate_names: ClassVar[tuple[str, ...]] = ("update gate", "reset gate", "candidate")
    keep_gate: ClassVar[int | None] = 0
    hidden_size: int
    input_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()
    bias_init: BiasInitializer = ZeroBias()

    def __post_init__(self):  # noqa: D105
        check_sizes(self, "hidden_size")

    @property
    def output_size(self) -> int:
        """The hidden size."""
        return self.hidden_size

    def init(self, key, input_size: int, dtype=jnp.float32) -> GatedParams:
        """Parameters as of a GRU, without b_h."""
        twin = GRU(self.hidden_size, self.input_init, self.recurrent_init, self.bias_init)
        return twin.init(key, input_size, dtype)._replace(pointwise=())

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> HiddenCarry:
        """Zeros."""
        return HiddenCarry(jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def project(self, params, xs):
        """W x + b, as a tuple of three arrays."""
        return tuple(jnp.split(affine(xs, params.input, params.bias), 3, axis=-1))

    def advance(self, params, carry, u) -> HiddenCarry:
        """See the class."""
        gate_columns, candidate_columns = jnp.split(params.recurrent, [2 * self.hidden_size], axis=-1)
        v_z, v_r = jnp.split(matmul(carry.h, gate_columns), 2, axis=-1)
        z = jax.nn.sigmoid(u[0] + v_z)
        r = jax.nn.sigmoid(u[1] + v_r)
        n = jnp.tanh(u[2] + matmul(r * carry.h, candidate_columns))
        return HiddenCarry(z * carry.h + (1 - z) * n)


def negate_update_gate(params: GatedParams) -> GatedParams:
    """Turns GRU weights in which z writes, h' = (1 - z) * h + z * n, into ones in which z keeps, and back.

    Exact, since 1 - sigmoid(a) = sigmoid(-a): the z columns of input, recurrent and bias change sign.

    Example:
        >>> import jax
        >>> params = GRU(2).init(jax.random.key(0), 2)
        >>> bool((negate_update_gate(negate_update_gate(params)).input == params.input).all())
        True
    """

    def negate(weight):
        return weight.at[..., : weight.shape[-1] // 3].multiply(-1)

    return params._replace(input=negate(params.input), recurrent=negate(params.recurrent), bias=negate(params.bias))
