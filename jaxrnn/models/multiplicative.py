"""Multiplicative scores of attention: products of query and state."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.initializers import Glorot
from jaxrnn.models.attention import Attention
from jaxrnn.numerics import matmul


class DotParams(NamedTuple):
    """None."""


@dataclass(frozen=True)
class Dot(Attention):
    """The inner product of query and state (Luong, Pham & Manning, 2015, https://arxiv.org/abs/1508.04025).

        e_s = q . m_s

    Raises:
        ValueError: in `init`, queries and states differ in size.

    Example:
        >>> Dot().scores((), jnp.array([2.0, 1.0]), jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])).tolist()
        [2.0, 1.0, 3.0]
    """

    def init(self, key, query_size: int, memory_size: int, dtype=jnp.float32) -> DotParams:
        """No parameters."""
        if query_size != memory_size:
            raise ValueError(
                f"Dot.init: `query_size` and `memory_size` must be equal, got {query_size} and {memory_size}. "
                "Choose the cells' sizes so, or take General()."
            )
        return DotParams()

    def keys(self, params, memory):
        """The memory itself."""
        return memory

    def scores(self, params, query, keys):
        """q . m."""
        return jnp.sum(query * keys, axis=-1)


class GeneralParams(NamedTuple):
    """W."""

    weight: Float[Array, "query memory"]


@dataclass(frozen=True)
class General(Attention):
    """A bilinear form of query and state (Luong, Pham & Manning, 2015, https://arxiv.org/abs/1508.04025).

        e_s = q W m_s        keys: W m_s

    Shapes: q (..., query), m (source_time, ..., memory), e (source_time, ...); weight = W (query, memory). Default:
    Glorot.

    Example:
        >>> import jax
        >>> General().init(jax.random.key(0), query_size=3, memory_size=4).weight.shape
        (3, 4)
    """

    def init(self, key, query_size: int, memory_size: int, dtype=jnp.float32) -> GeneralParams:
        """Glorot."""
        return GeneralParams(Glorot()(key, (query_size, memory_size), dtype))

    def keys(self, params, memory):
        """W m."""
        return matmul(memory, params.weight.T).astype(memory.dtype)

    def scores(self, params, query, keys):
        """q . keys."""
        return jnp.sum(query * keys, axis=-1)
