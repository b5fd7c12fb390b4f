"""The decoder of Luong et al.: attention by the state after a step, fed into the next."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.cell import check_sizes
from jaxrnn.initializers import Glorot
from jaxrnn.models.attention import weighted_sum
from jaxrnn.models.decoder_cells import Attended, AttentionCell
from jaxrnn.numerics import matmul, real_dtype


class LuongCellParams(NamedTuple):
    """The inner cell's parameters, what its input weights do to h~, the score's, W_c with the context's rows first."""

    cell: Any
    feedback: Float[Array, "attentional columns"]
    attention: Any
    combine: Float[Array, "memory_and_hidden attentional"]
    memory: Attended | tuple[()] = ()


class LuongCarry(NamedTuple):
    """The inner carry and the attentional state h~."""

    cell: Any
    attentional: Float[Array, "*batch attentional"]

    @property
    def h(self):
        """The inner hidden state."""
        return self.cell.h


@dataclass(frozen=True)
class LuongCell(AttentionCell):
    """Decoder that steps before it looks, with input feeding (Luong et al., 2015, https://arxiv.org/abs/1508.04025).

        h_t = cell([x_t; h~_{t-1}], h_{t-1})
        a = softmax_s(score(h_t, m_s)),   c_t = sum_s a_s m_s
        h~_t = tanh(W_c [c_t; h_t]),      y_t = h~_t

    The paper's global attention; its cell is a stack of LSTMs.

    Shapes: x (..., i), m (source_time, ..., memory_size), y and h~ (..., attentional_size);
    combine = W_c (memory_size + hidden, attentional_size). Default: Glorot.

    Fields:
        cell: Any gated cell whose input enters by one product.
        attention: The score: `Dot`, `General` or `Concat` in the paper.
        memory_size: Features of the memory.
        attentional_size: Features of h~.

    Raises:
        TypeError: `cell` or `attention` is none.
        ValueError: a size is below 1.

    Example:
        >>> from jaxrnn import LSTM, unroll
        >>> from jaxrnn.models.multiplicative import General
        >>> cell = LuongCell(LSTM(5), General(), memory_size=4, attentional_size=6)
        >>> params = cell.init(jax.random.key(0), input_size=3)
        >>> params = cell.remember(params, jnp.ones((7, 2, 4), jnp.float32), jnp.ones((7, 2), bool))
        >>> carry, ys = unroll(cell, params, jnp.ones((10, 2, 3), jnp.float32))
        >>> ys.shape
        (10, 2, 6)
    """

    attentional_size: int

    def __post_init__(self):  # noqa: D105
        super().__post_init__()
        check_sizes(self, "attentional_size")

    @property
    def output_size(self) -> int:
        """That of h~."""
        return self.attentional_size

    def init(self, key, input_size: int, dtype=jnp.float32) -> LuongCellParams:
        """As cell and attention draw them."""
        cell_key, attention_key, combine_key = jax.random.split(key, 3)
        inner, feedback = self.init_inner(cell_key, input_size, self.attentional_size, dtype)
        scores = self.attention.init(attention_key, self.cell.hidden_size, self.memory_size, dtype)
        rows = self.memory_size + self.cell.hidden_size
        combine = Glorot()(combine_key, (rows, self.attentional_size), dtype)
        return LuongCellParams(inner, feedback, scores, combine)

    def start(self, carry) -> LuongCarry:
        """See AttentionCell; h~ starts at zero."""
        return LuongCarry(carry, jnp.zeros((*carry.h.shape[:-1], self.attentional_size), carry.h.dtype))

    def weights(self, params, before, after):
        """See AttentionCell."""
        return self.look(self.widen(params, real_dtype(after)), after.h)

    def advance(self, params, carry, u) -> LuongCarry:
        """See the class."""
        inner = self.advance_inner(params, carry.cell, u, carry.attentional)
        context = weighted_sum(self.look(params, inner.h), params.memory.states)
        both = jnp.concatenate([context, inner.h], axis=-1)
        return LuongCarry(inner, jnp.tanh(matmul(both, params.combine)))

    def output(self, params, carry, u):
        """h~."""
        return carry.attentional
