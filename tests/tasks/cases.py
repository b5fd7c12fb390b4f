"""The tasks that the tests draw, each compiled and drawn once, and the bound within which a mean must lie."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.tasks import (
    Adding,
    Batch,
    Copy,
    EmbeddedReber,
    Memorisation,
    Multiplication,
    Parity,
    TemporalOrder,
    TwoSequence,
    VariableCopy,
)

BATCH = 4000
KEY = jax.random.key(7)
TASKS = [
    Adding(21),
    Adding(21, "bai"),
    Adding(30, "pascanu"),
    Adding(24, "hochreiter"),
    Multiplication(30, "pascanu"),
    Multiplication(24, "hochreiter"),
    Copy(5),
    VariableCopy(6),
    Memorisation(5),
    Parity(9),
    TemporalOrder(30),
    TemporalOrder(30, symbols=3),
    TemporalOrder(30, definition="hochreiter"),
    TemporalOrder(30, 3, "hochreiter"),
    TwoSequence(20, 3, "a"),
    TwoSequence(20, 2, "b"),
    TwoSequence(20, 1, "c"),
    EmbeddedReber(14),
]


@functools.cache
def mapped(task) -> Batch:
    """BATCH sequences of a task for each of three keys, the third equal to the first, as NumPy arrays."""
    keys = jnp.stack([KEY, jax.random.key(8), KEY])
    return Batch(*map(np.asarray, jax.jit(jax.vmap(lambda key: task.sample(key, BATCH)))(keys)))


def sampled(task) -> Batch:
    """BATCH sequences of a task, as NumPy arrays."""
    return Batch(*(part[0] for part in mapped(task)))


def lengths_of(batch: Batch) -> np.ndarray:
    """The steps of each sequence: up to the last that is scored."""
    return batch.mask.shape[0] - np.argmax(np.asarray(batch.mask)[::-1], axis=0)


def constant(value, batch: Batch) -> np.ndarray:
    """The same float32 outputs at every step of every sequence."""
    value = np.asarray(value, np.float32)
    return np.broadcast_to(value, (*batch.mask.shape, value.shape[-1]))


def within_error(samples, expected: float) -> bool:
    """Whether the mean of independent samples is within five standard errors of what is expected."""
    samples = np.asarray(samples, np.float64)
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    return abs(samples.mean() - expected) <= 5 * error
