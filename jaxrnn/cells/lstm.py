"""The LSTM family: the constant error carousel, the original, the popular, peephole and coupled gates."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import sigmoid
from jaxtyping import Array, Float

from jaxrnn.cell import Cell, GatedCell, GatedParams, check_sizes
from jaxrnn.initializers import BiasInitializer, ForgetBias, Glorot, Initializer, Orthogonal, ZeroBias
from jaxrnn.numerics import affine, matmul


class LSTMCarry(NamedTuple):
    """Hidden state h and memory c: both are the state, and gradients travel through both."""

    h: Float[Array, "*batch hidden"]
    c: Float[Array, "*batch hidden"]


class CarouselCarry(NamedTuple):
    """The memory c of a carousel; its hidden state tanh(c) follows from it."""

    c: Float[Array, "*batch hidden"]

    @property
    def h(self):
        """tanh(c)."""
        return jnp.tanh(self.c)


class Peepholes(NamedTuple):
    """Diagonal weights from the memory into the gates."""

    input: Float[Array, " hidden"]
    forget: Float[Array, " hidden"]
    output: Float[Array, " hidden"]


@dataclass(frozen=True)
class ConstantErrorCarousel(Cell):
    """The idea behind the LSTM (Hochreiter & Schmidhuber, 1997): a memory that is only ever added to.

        c_t = c_{t-1} + tanh(U x_t + W h_{t-1} + b)
        h_t = tanh(c_t)

    Along c the error is carried on unchanged. With `cut=True` no error flows back through h_{t-1} (its gradient
    is stopped, W still learns), as the 1997 learning rule truncates it: then dL/dc is the same at every lag.
    Nothing erases, so c drifts and tanh(c) saturates.

    Shapes: x (..., i), c (..., h); input = U (i, h), recurrent = W (h, h), bias = b (h,).
    Defaults: paths not cut.

    Raises:
        ValueError: hidden_size is below 1.

    Example:
        >>> ConstantErrorCarousel(3, cut=True).init_carry()._fields
        ('c',)
    """

    hidden_size: int
    cut: bool = False
    input_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()

    def __post_init__(self):  # noqa: D105
        check_sizes(self, "hidden_size")

    @property
    def output_size(self) -> int:
        """The hidden size."""
        return self.hidden_size

    def init(self, key, input_size: int, dtype=jnp.float32) -> GatedParams:
        """Weights from the initialisers, zero bias."""
        input_key, recurrent_key = jax.random.split(key)
        return GatedParams(
            input=self.input_init(input_key, (input_size, self.hidden_size), dtype),
            recurrent=self.recurrent_init(recurrent_key, (self.hidden_size, self.hidden_size), dtype),
            bias=jnp.zeros(self.hidden_size, dtype),
        )

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> CarouselCarry:
        """Zeros."""
        return CarouselCarry(jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def project(self, params, xs):
        """U x + b."""
        return affine(xs, params.input, params.bias)

    def advance(self, params, carry, u) -> CarouselCarry:
        """See the class."""
        h = lax.stop_gradient(carry.h) if self.cut else carry.h
        return CarouselCarry(carry.c + jnp.tanh(u + matmul(h, params.recurrent)))


@dataclass(frozen=True)
class OriginalLSTM(GatedCell):
    """LSTM of 1997, without forget gate (Hochreiter & Schmidhuber, https://doi.org/10.1162/neco.1997.9.8.1735).

        i = sigmoid(W_i x + U_i h + b_i)     input gate
        g = tanh(W_g x + U_g h + b_g)        candidate
        o = sigmoid(W_o x + U_o h + b_o)     output gate
        c' = c + i * g
        h' = o * tanh(c')

    Not the paper's squashing ranges ([-2, 2] for g, [-1, 1] for h) nor its truncated gradient.

    Shapes: x (..., i), h and c (..., h); input = W (i, 3h), recurrent = U (h, 3h), bias = b (3h,); columns i | g | o.
    Defaults: Glorot input, orthogonal recurrent per gate, zero bias.
    With `heads` of k, recurrent is (k, h / k, 3h / k): k blocks on the diagonal of U.

    Raises:
        ValueError: hidden_size is below 1 or no multiple of heads.

    Example:
        >>> OriginalLSTM(3).gates
        3
    """

    hidden_size: int
    input_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()
    bias_init: BiasInitializer = ZeroBias()
    heads: int = 1
    gates: ClassVar[int] = 3
    gate_names: ClassVar[tuple[str, ...]] = ("input gate", "candidate", "output gate")
    carry_type: ClassVar[type] = LSTMCarry

    def update(self, pointwise, carry, u, v):
        """See the class."""
        i, g, o = sigmoid(u[0] + v[0]), jnp.tanh(u[1] + v[1]), sigmoid(u[2] + v[2])
        c = carry.c + i * g
        return LSTMCarry(h=o * jnp.tanh(c), c=c)


@dataclass(frozen=True)
class LSTM(GatedCell):
    """The popular LSTM, with forget gate (Gers, Schmidhuber & Cummins, 2000).

        i = sigmoid(W_i x + U_i h + b_i)     input gate
        f = sigmoid(W_f x + U_f h + b_f)     forget gate
        g = tanh(W_g x + U_g h + b_g)        candidate
        o = sigmoid(W_o x + U_o h + b_o)     output gate
        c' = f * c + i * g
        h' = o * tanh(c')

    Shapes: x (..., i), h and c (..., h); input = W (i, 4h), recurrent = U (h, 4h), bias = b (4h,); columns
    i | f | g | o, one bias per gate.
    Defaults: Glorot input, orthogonal recurrent per gate, forget bias 1; `ForgetBias(0.0)` or `Chrono(T)` for others.
    With `heads` of k, recurrent is (k, h / k, 4h / k): k blocks on the diagonal of U.

    Raises:
        ValueError: hidden_size is below 1 or no multiple of heads.

    Example:
        >>> LSTM(3, bias_init=ForgetBias(0.0)) == LSTM(3, bias_init=ForgetBias(0.0))
        True
    """

    hidden_size: int
    input_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()
    bias_init: BiasInitializer = ForgetBias(1.0)
    heads: int = 1
    gates: ClassVar[int] = 4
    gate_names: ClassVar[tuple[str, ...]] = ("input gate", "forget gate", "candidate", "output gate")
    carry_type: ClassVar[type] = LSTMCarry
    keep_gate: ClassVar[int | None] = 1
    write_gate: ClassVar[int | None] = 0

    def update(self, pointwise, carry, u, v):
        """See the class."""
        i, f = sigmoid(u[0] + v[0]), sigmoid(u[1] + v[1])
        g, o = jnp.tanh(u[2] + v[2]), sigmoid(u[3] + v[3])
        c = f * carry.c + i * g
        return LSTMCarry(h=o * jnp.tanh(c), c=c)


@dataclass(frozen=True)
class PeepholeLSTM(GatedCell):
    """LSTM whose gates see the memory (Gers, Schraudolph & Schmidhuber, 2002).

        i = sigmoid(W_i x + U_i h + p_i * c + b_i)
        f = sigmoid(W_f x + U_f h + p_f * c + b_f)
        g = tanh(W_g x + U_g h + b_g)
        c' = f * c + i * g
        o = sigmoid(W_o x + U_o h + p_o * c' + b_o)     the NEW memory
        h' = o * tanh(c')

    Shapes: as in LSTM, columns i | f | g | o; pointwise = Peepholes(p_i, p_f, p_o), each (h,).
    Defaults: as in LSTM; peepholes start at zero.
    With `heads` of k, recurrent is (k, h / k, 4h / k): k blocks on the diagonal of U.

    Raises:
        ValueError: hidden_size is below 1 or no multiple of heads.

    Example:
        >>> PeepholeLSTM(3).init(jax.random.key(0), 2).pointwise.forget.shape
        (3,)
    """

    hidden_size: int
    input_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()
    bias_init: BiasInitializer = ForgetBias(1.0)
    heads: int = 1
    gates: ClassVar[int] = 4
    gate_names: ClassVar[tuple[str, ...]] = ("input gate", "forget gate", "candidate", "output gate")
    carry_type: ClassVar[type] = LSTMCarry
    keep_gate: ClassVar[int | None] = 1
    write_gate: ClassVar[int | None] = 0

    def init(self, key, input_size: int, dtype=jnp.float32) -> GatedParams:
        """The defaults of a gated cell, and peepholes of zero."""
        peepholes = Peepholes(*(jnp.zeros(self.hidden_size, dtype) for _ in Peepholes._fields))
        return super().init(key, input_size, dtype)._replace(pointwise=peepholes)

    def update(self, pointwise, carry, u, v):
        """See the class."""
        i = sigmoid(u[0] + v[0] + pointwise.input * carry.c)
        f = sigmoid(u[1] + v[1] + pointwise.forget * carry.c)
        c = f * carry.c + i * jnp.tanh(u[2] + v[2])
        o = sigmoid(u[3] + v[3] + pointwise.output * c)
        return LSTMCarry(h=o * jnp.tanh(c), c=c)


@dataclass(frozen=True)
class CoupledLSTM(GatedCell):
    """LSTM that writes as much as it forgets (CIFG, Greff et al., 2017, https://arxiv.org/abs/1503.04069).

        f = sigmoid(W_f x + U_f h + b_f)     forget gate; the input gate is 1 - f
        g = tanh(W_g x + U_g h + b_g)
        o = sigmoid(W_o x + U_o h + b_o)
        c' = f * c + (1 - f) * g
        h' = o * tanh(c')

    Without peepholes. Shapes: as in LSTM, with columns f | g | o.
    Defaults: as in LSTM.
    With `heads` of k, recurrent is (k, h / k, 3h / k): k blocks on the diagonal of U.

    Raises:
        ValueError: hidden_size is below 1 or no multiple of heads.

    Example:
        >>> CoupledLSTM(3).gates
        3
    """

    hidden_size: int
    input_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()
    bias_init: BiasInitializer = ForgetBias(1.0)
    heads: int = 1
    gates: ClassVar[int] = 3
    gate_names: ClassVar[tuple[str, ...]] = ("forget gate", "candidate", "output gate")
    carry_type: ClassVar[type] = LSTMCarry
    keep_gate: ClassVar[int | None] = 0

    def update(self, pointwise, carry, u, v):
        """See the class."""
        f, g, o = sigmoid(u[0] + v[0]), jnp.tanh(u[1] + v[1]), sigmoid(u[2] + v[2])
        c = f * carry.c + (1 - f) * g
        return LSTMCarry(h=o * jnp.tanh(c), c=c)
