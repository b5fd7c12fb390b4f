"""The adding problem: find two marked numbers in a long sequence and add them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxrnn.tasks.batch import Batch


@dataclass(frozen=True)
class Adding:
    """The adding problem, one mark in each half (Arjovsky, Shah & Bengio, 2016, https://arxiv.org/abs/1511.06464).

        x_t = (v_t, m_t),    v_t ~ U[0, 1),    m_t = 1 at t = i and t = j, else 0
        i ~ U{0, ..., T // 2 - 1},    j ~ U{T // 2, ..., T - 1}
        target = v_i + v_j, scored by the squared error at the last step

    Not the form of Hochreiter & Schmidhuber (1997), whose lengths vary, values lie in [-1, 1] and targets are scaled.

    Shapes: inputs (length, batch, 2), targets (batch, 1), mask (length, batch), True at the last step alone.
    All float32. Units: none.

    Raises:
        ValueError: length is below 2.

    Example:
        >>> Adding(length=10).sample(jax.random.key(0), batch=3).inputs.shape
        (10, 3, 2)
    """

    length: int

    def __post_init__(self):  # noqa: D105
        if self.length < 2:
            raise ValueError(f"Adding: `length` must be at least 2, one step for each mark, got {self.length}.")

    def sample(self, key, batch: int) -> Batch:
        """Draws `batch` sequences; the same key gives the same sequences."""
        values_key, first_key, second_key = jax.random.split(key, 3)
        half = self.length // 2
        values = jax.random.uniform(values_key, (self.length, batch), jnp.float32)
        first = jax.random.randint(first_key, (batch,), 0, half)
        second = jax.random.randint(second_key, (batch,), half, self.length)
        steps = jnp.arange(self.length)[:, None]
        markers = ((steps == first) | (steps == second)).astype(jnp.float32)
        return Batch(
            inputs=jnp.stack([values, markers], axis=-1),
            targets=jnp.sum(values * markers, axis=0)[:, None],
            mask=jnp.broadcast_to(steps == self.length - 1, (self.length, batch)),
        )

    def baseline(self) -> float:
        """The mean squared error of the best constant, 1: the variance of a sum of two uniforms, 2 / 12."""
        return 1 / 6
