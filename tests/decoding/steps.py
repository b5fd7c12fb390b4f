"""Steps with a state, the same in JAX and in NumPy, and how a decoder's traces are counted."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

STATE = 3


class Weights(NamedTuple):
    read: np.ndarray  # (vocabulary, state)
    recurrent: np.ndarray  # (state, state)
    write: np.ndarray  # (state, vocabulary)


class Carry(NamedTuple):
    h: np.ndarray  # (state,)
    age: np.ndarray  # ()


def draw(seed: int, vocabulary: int, scale: float = 2.0) -> tuple[Weights, Carry]:
    """Weights and a starting carry, in float64."""
    rng = np.random.default_rng(seed)
    shapes = (vocabulary, STATE), (STATE, STATE), (STATE, vocabulary)
    weights = Weights(*(scale * rng.normal(size=shape) for shape in shapes))
    return weights, Carry(rng.normal(size=STATE), np.array(0, np.int32))


def step(weights: Weights, carry: Carry, token):
    """What comes next depends on all tokens before and on how many they are."""
    h = jnp.tanh(weights.read[token] + carry.h @ weights.recurrent)
    return Carry(h, carry.age + 1), (1 + 0.1 * carry.age.astype(h.dtype)) * (h @ weights.write)


def step_by_hand(weights: Weights, carry: Carry, token: int):
    h = np.tanh(weights.read[token] + carry.h @ weights.recurrent)
    return Carry(h, carry.age + 1), (1 + 0.1 * carry.age) * (h @ weights.write)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def log_probability_by_hand(weights: Weights, carry: Carry, first: int, tokens) -> float:
    total, token = 0.0, first
    for following in tokens:
        carry, logits = step_by_hand(weights, carry, token)
        total += log_softmax(logits)[following]
        token = following
    return float(total)


def bound(weights: Weights) -> Partial:
    return Partial(step, weights)


def chain(table) -> tuple[Partial, tuple]:
    """A step whose next token depends on the last one alone, with these probabilities, and its empty carry."""
    with np.errstate(divide="ignore"):
        return Partial(_chain, np.log(np.array(table, float))), ()


def _chain(log_table, carry, token):
    return carry, log_table[token]


def counting():
    """A step like `step`, and the list that grows by one entry each time it is traced."""
    traces = []

    def counted(weights, carry, token):
        traces.append(token)
        return step(weights, carry, token)

    return counted, traces
