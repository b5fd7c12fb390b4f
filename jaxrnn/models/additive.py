"""Additive scores of attention: a small network of query and state."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.cell import check_sizes
from jaxrnn.initializers import Glorot
from jaxrnn.models.attention import Attention
from jaxrnn.numerics import matmul


class BahdanauParams(NamedTuple):
    """W, U and v."""

    query: Float[Array, "query hidden"]
    memory: Float[Array, "memory hidden"]
    score: Float[Array, " hidden"]


@dataclass(frozen=True)
class Bahdanau(Attention):
    """Additive attention (Bahdanau, Cho & Bengio, 2015, https://arxiv.org/abs/1409.0473).

        e_s = v . tanh(W q + U m_s)        keys: U m_s

    Shapes: q (..., query), m (source_time, ..., memory), e (source_time, ...); query = W (query, hidden),
    memory = U (memory, hidden), score = v (hidden,). Defaults: Glorot; the paper draws W and U from N(0, 0.001^2) and
    starts v at zero.

    Raises:
        ValueError: `hidden` is below 1.

    Example:
        >>> attention = Bahdanau(hidden=5)
        >>> params = attention.init(jax.random.key(0), query_size=3, memory_size=4)
        >>> keys = attention.keys(params, jnp.ones((7, 2, 4), jnp.float32))
        >>> attention.scores(params, jnp.ones((2, 3), jnp.float32), keys).shape
        (7, 2)
    """

    hidden: int

    def __post_init__(self):  # noqa: D105
        check_sizes(self, "hidden")

    def init(self, key, query_size: int, memory_size: int, dtype=jnp.float32) -> BahdanauParams:
        """Glorot."""
        query_key, memory_key, score_key = jax.random.split(key, 3)
        return BahdanauParams(
            query=Glorot()(query_key, (query_size, self.hidden), dtype),
            memory=Glorot()(memory_key, (memory_size, self.hidden), dtype),
            score=Glorot()(score_key, (self.hidden, 1), dtype)[:, 0],
        )

    def keys(self, params, memory):
        """U m."""
        return matmul(memory, params.memory).astype(memory.dtype)

    def scores(self, params, query, keys):
        """v . tanh(W q + keys)."""
        return _additive(matmul(query, params.query), keys, params.score)


class ConcatParams(NamedTuple):
    """W, the rows of the query first, and v."""

    weight: Float[Array, "query_and_memory hidden"]
    score: Float[Array, " hidden"]


@dataclass(frozen=True)
class Concat(Attention):
    """Additive attention of query and state side by side (Luong et al., 2015, https://arxiv.org/abs/1508.04025).

        e_s = v . tanh(W [q; m_s])        keys: the columns of W that meet m, times m_s

    Since W [q; m] is W_q q + W_m m, it is the same function as `Bahdanau`. What differs is the start, W drawn as one
    matrix and so a little smaller, and the decoders of the two papers: there q is the state before a step, here after.

    Shapes: q (..., query), m (source_time, ..., memory), e (source_time, ...); weight = W (query + memory, hidden),
    score = v (hidden,). Default: Glorot.

    Raises:
        ValueError: `hidden` is below 1.

    Example:
        >>> Concat(hidden=5).init(jax.random.key(0), query_size=3, memory_size=4).weight.shape
        (7, 5)
    """

    hidden: int

    def __post_init__(self):  # noqa: D105
        check_sizes(self, "hidden")

    def init(self, key, query_size: int, memory_size: int, dtype=jnp.float32) -> ConcatParams:
        """Glorot."""
        weight_key, score_key = jax.random.split(key)
        return ConcatParams(
            weight=Glorot()(weight_key, (query_size + memory_size, self.hidden), dtype),
            score=Glorot()(score_key, (self.hidden, 1), dtype)[:, 0],
        )

    def keys(self, params, memory):
        """W_m m."""
        return matmul(memory, params.weight[-memory.shape[-1] :]).astype(memory.dtype)

    def scores(self, params, query, keys):
        """v . tanh(W_q q + keys)."""
        return _additive(matmul(query, params.weight[: query.shape[-1]]), keys, params.score)


def _additive(query, keys, score):
    hidden = jnp.tanh(query + keys.astype(query.dtype))
    return jnp.sum(hidden * score.astype(hidden.dtype), axis=-1)
