"""Attention: the mean of a memory, weighted by how well each of its states answers a query.

A score is a frozen dataclass; its parameters stand beside it. What it makes of the memory alone, the keys, is computed
once a sentence and not once a step.
"""

import abc
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrnn.numerics import zero_unless


class Attention(abc.ABC):
    """A score of every state of a memory for a query."""

    @abc.abstractmethod
    def init(self, key, query_size: int, memory_size: int, dtype=jnp.float32) -> Any:
        """Draws parameters, a NamedTuple."""

    @abc.abstractmethod
    def keys(self, params, memory: Float[Array, "source_time *batch memory"]) -> Float[Array, "source_time *batch key"]:
        """All that needs no query, once a sentence."""

    @abc.abstractmethod
    def scores(
        self, params, query: Float[Array, "*batch query"], keys: Float[Array, "source_time *batch key"]
    ) -> Float[Array, "source_time *batch"]:
        """The score of each state."""


def normalize(
    scores: Float[Array, "source_time *batch"], mask: Bool[Array, "source_time *batch"] | None
) -> Float[Array, "source_time *batch"]:
    """The softmax of scores over the steps where the mask holds; exactly 0 at the others, and where it never holds.

    Example:
        >>> normalize(jnp.array([1.0, 1.0, jnp.nan]), jnp.array([True, True, False])).tolist()
        [0.5, 0.5, 0.0]
    """
    return jax.nn.softmax(zero_unless(mask, scores), axis=0, where=mask)


def attend(
    scores: Float[Array, "source_time *batch"],
    memory: Float[Array, "source_time *batch memory"],
    mask: Bool[Array, "source_time *batch"] | None = None,
) -> tuple[Float[Array, "*batch memory"], Float[Array, "source_time *batch"]]:
    """(context, weights): the mean of the memory, weighted by the softmax of the scores.

        a = softmax(e) over the valid steps,   c = sum_s a_s m_s

    Where the mask is False the weight is exactly 0, and scores and memory, NaN too, reach neither value nor gradient. A
    source of length 0 gives zeros. None: every step is valid.

    Example:
        >>> context, weights = attend(jnp.zeros(3), jnp.array([[1.0], [3.0], [8.0]]), jnp.array([True, True, False]))
        >>> context.tolist(), weights.tolist()
        ([2.0], [0.5, 0.5, 0.0])
    """
    weights = normalize(scores, mask)
    return weighted_sum(weights, zero_unless(mask, memory)), weights


def weighted_sum(
    weights: Float[Array, "source_time *batch"], memory: Float[Array, "source_time *batch memory"]
) -> Float[Array, "*batch memory"]:
    """sum_s a_s m_s, of a memory that is finite in its padding too.

    Example:
        >>> weighted_sum(jnp.array([0.5, 0.5]), jnp.array([[1.0], [3.0]])).tolist()
        [2.0]
    """
    return jnp.sum(weights[..., None] * memory, axis=0)
