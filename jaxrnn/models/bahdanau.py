"""The decoder of Bahdanau et al.: attention by the state before a step."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.models.attention import weighted_sum
from jaxrnn.models.decoder_cells import Attended, AttentionCell
from jaxrnn.numerics import real_dtype


class BahdanauCellParams(NamedTuple):
    """The inner cell's parameters, what its input weights do to the context, the score's, and the memory."""

    cell: Any
    feedback: Float[Array, "memory columns"]
    attention: Any
    memory: Attended | tuple[()] = ()


class BahdanauCarry(NamedTuple):
    """The inner carry and the context that was read on the way to it."""

    cell: Any
    context: Float[Array, "*batch memory"]

    @property
    def h(self):
        """The inner hidden state."""
        return self.cell.h


@dataclass(frozen=True)
class BahdanauCell(AttentionCell):
    """Decoder that looks before it steps (Bahdanau, Cho & Bengio, 2015, https://arxiv.org/abs/1409.0473).

        a = softmax_s(score(h_{t-1}, m_s)),   c_t = sum_s a_s m_s
        h_t = cell([x_t; c_t], h_{t-1}),      y_t = [h_t; c_t]

    The paper's cell is a GRU with the reset before the product, and its output layer is a maxout of y_t and x_t.

    Shapes: x (..., i), m (source_time, ..., memory_size), y (..., hidden + memory_size).

    Fields:
        cell: Any gated cell whose input enters by one product.
        attention: The score; the paper's is `Bahdanau`.
        memory_size: Features of the memory.

    Raises:
        TypeError: `cell` or `attention` is none.
        ValueError: `memory_size` is below 1.

    Example:
        >>> from jaxrnn import GRU, unroll
        >>> from jaxrnn.models.additive import Bahdanau
        >>> cell = BahdanauCell(GRU(5), Bahdanau(6), memory_size=4)
        >>> params = cell.init(jax.random.key(0), input_size=3)
        >>> params = cell.remember(params, jnp.ones((7, 2, 4), jnp.float32), jnp.ones((7, 2), bool))
        >>> carry, ys = unroll(cell, params, jnp.ones((10, 2, 3), jnp.float32))
        >>> ys.shape
        (10, 2, 9)
    """

    @property
    def output_size(self) -> int:
        """Hidden size and memory size."""
        return self.cell.hidden_size + self.memory_size

    def init(self, key, input_size: int, dtype=jnp.float32) -> BahdanauCellParams:
        """As cell and attention draw them."""
        cell_key, attention_key = jax.random.split(key)
        inner, feedback = self.init_inner(cell_key, input_size, self.memory_size, dtype)
        scores = self.attention.init(attention_key, self.cell.hidden_size, self.memory_size, dtype)
        return BahdanauCellParams(inner, feedback, scores)

    def start(self, carry) -> BahdanauCarry:
        """See AttentionCell; no step reads the context of the one before."""
        return BahdanauCarry(carry, jnp.zeros((*carry.h.shape[:-1], self.memory_size), carry.h.dtype))

    def weights(self, params, before, after):
        """See AttentionCell."""
        return self.look(self.widen(params, real_dtype(before)), before.h)

    def advance(self, params, carry, u) -> BahdanauCarry:
        """See the class."""
        context = weighted_sum(self.look(params, carry.h), params.memory.states)
        return BahdanauCarry(self.advance_inner(params, carry.cell, u, context), context)

    def output(self, params, carry, u):
        """[h; c]."""
        return jnp.concatenate([carry.h, carry.context], axis=-1)
