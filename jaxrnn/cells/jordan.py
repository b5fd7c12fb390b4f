"""Networks that feed their output back: Jordan, and Elman and Jordan at once."""

import abc
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.activations import Activation, activation
from jaxrnn.cell import Cell, check_sizes
from jaxrnn.initializers import Glorot, Initializer, Orthogonal
from jaxrnn.numerics import affine, matmul


class JordanCarry(NamedTuple):
    """Hidden state h and output o; Jordan's recurrence reads o alone."""

    h: Float[Array, "*batch hidden"]
    o: Float[Array, "*batch outputs"]


class JordanParams(NamedTuple):
    """Parameters of a Jordan network: U, W, b, and V, c of the output inside the loop."""

    input: Float[Array, "input hidden"]
    feedback: Float[Array, "outputs hidden"]
    bias: Float[Array, " hidden"]
    output: Float[Array, "hidden outputs"]
    output_bias: Float[Array, " outputs"]


class ElmanJordanParams(NamedTuple):
    """Parameters of a network with both feedbacks: U, W, W_o, b, V, c."""

    input: Float[Array, "input hidden"]
    recurrent: Float[Array, "hidden hidden"]
    feedback: Float[Array, "outputs hidden"]
    bias: Float[Array, " hidden"]
    output: Float[Array, "hidden outputs"]
    output_bias: Float[Array, " outputs"]


class _OutputFeedback(Cell):
    """What the two share: o_t = phi(V h_t + c) is part of the carry and is what the cell puts out."""

    hidden_size: int
    outputs: int
    activation: Activation
    output_activation: Activation

    def __post_init__(self):  # noqa: D105
        check_sizes(self, "hidden_size", "outputs")
        activation(self.activation)
        activation(self.output_activation)

    @property
    def output_size(self) -> int:
        """Features of o."""
        return self.outputs

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> JordanCarry:
        """Zeros."""
        return JordanCarry(
            h=jnp.zeros((*batch_shape, self.hidden_size), dtype), o=jnp.zeros((*batch_shape, self.outputs), dtype)
        )

    def project(self, params, xs):
        """U x + b."""
        return affine(xs, params.input, params.bias)

    @abc.abstractmethod
    def feedback(self, params, carry) -> Array:
        """What reaches the hidden layer from the step before."""

    def advance(self, params, carry, u) -> JordanCarry:
        """h = s(u + feedback), o = phi(V h + c)."""
        h = activation(self.activation)(u + self.feedback(params, carry))
        return JordanCarry(h, activation(self.output_activation)(matmul(h, params.output) + params.output_bias))

    def output(self, params, carry, u):
        """The output o."""
        return carry.o


@dataclass(frozen=True)
class Jordan(_OutputFeedback):
    """Jordan network (Jordan, 1986): the output, after its nonlinearity, is fed back.

        h_t = s(U x_t + W o_{t-1} + b)
        o_t = phi(V h_t + c)

    Shapes: x (..., i), h (..., h), o (..., o); input = U (i, h), feedback = W (o, h), bias = b (h,),
    output = V (h, o), output_bias = c (o,). The output is o; o_0 = 0.
    Defaults: s = tanh, phi = sigmoid; names as in Elman, and "softmax" for phi.

    Raises:
        ValueError: a size is below 1, or an activation's name is not known.

    Example:
        >>> Jordan(hidden_size=3, outputs=2).output_size
        2
    """

    hidden_size: int
    outputs: int
    activation: Activation = "tanh"
    output_activation: Activation = "sigmoid"
    weight_init: Initializer = Glorot()

    def init(self, key, input_size: int, dtype=jnp.float32) -> JordanParams:
        """Weights from `weight_init`, zero biases."""
        keys = jax.random.split(key, 3)
        return JordanParams(
            input=self.weight_init(keys[0], (input_size, self.hidden_size), dtype),
            feedback=self.weight_init(keys[1], (self.outputs, self.hidden_size), dtype),
            bias=jnp.zeros(self.hidden_size, dtype),
            output=self.weight_init(keys[2], (self.hidden_size, self.outputs), dtype),
            output_bias=jnp.zeros(self.outputs, dtype),
        )

    def feedback(self, params, carry):
        """W o."""
        return matmul(carry.o, params.feedback)


@dataclass(frozen=True)
class ElmanJordan(_OutputFeedback):
    """Elman and Jordan at once: hidden state and output are both fed back.

        h_t = s(U x_t + W h_{t-1} + W_o o_{t-1} + b)
        o_t = phi(V h_t + c)

    Shapes: as in Jordan, and recurrent = W (h, h), feedback = W_o (o, h).
    Defaults: as in Jordan; `recurrent_init` draws W.

    Raises:
        ValueError: a size is below 1, or an activation's name is not known.

    Example:
        >>> ElmanJordan(hidden_size=3, outputs=2).init_carry().o.shape
        (2,)
    """

    hidden_size: int
    outputs: int
    activation: Activation = "tanh"
    output_activation: Activation = "sigmoid"
    weight_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()

    def init(self, key, input_size: int, dtype=jnp.float32) -> ElmanJordanParams:
        """Weights from the initialisers, zero biases."""
        keys = jax.random.split(key, 4)
        return ElmanJordanParams(
            input=self.weight_init(keys[0], (input_size, self.hidden_size), dtype),
            recurrent=self.recurrent_init(keys[1], (self.hidden_size, self.hidden_size), dtype),
            feedback=self.weight_init(keys[2], (self.outputs, self.hidden_size), dtype),
            bias=jnp.zeros(self.hidden_size, dtype),
            output=self.weight_init(keys[3], (self.hidden_size, self.outputs), dtype),
            output_bias=jnp.zeros(self.outputs, dtype),
        )

    def feedback(self, params, carry):
        """W h + W_o o."""
        return matmul(carry.h, params.recurrent) + matmul(carry.o, params.feedback)
