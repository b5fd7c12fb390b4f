"""Noiseless memorisation: hold a pattern of ten symbols until a cue."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrnn.tasks.batch import Batch
from jaxrnn.tasks.common import check_batch, check_outputs, check_size, leads

POSITIONS = 10
VALUES = 5
BLANK = VALUES
CUE = VALUES + 1


@dataclass(frozen=True)
class Memorisation:
    """Noiseless memorisation (Pascanu, Mikolov & Bengio, 2013, https://arxiv.org/abs/1211.5063, by their code).

        input    s_1 ... s_10, then T blanks 5, the cue 6, and 9 blanks;    s_k ~ U{0, ..., 4}
        target   T + 10 blanks 5, then s_1 ... s_10;    scored by the cross-entropy at every step

    With T = `delay`; the sequence has T + 20 steps. Not `Copy`: there are five values, the first symbol is due at the
    step of the cue instead of after it, and a sequence counts as right only if every step is.

    Shapes: inputs (T + 20, batch, 7), one-hot of 0..6, float32; targets (T + 20, batch), classes 0..5, int32; mask True
    everywhere. Units: none.

    Raises:
        ValueError: delay is below 1.

    Example:
        >>> round(Memorisation(delay=50).baseline(), 6)
        0.22992
    """

    delay: int

    def __post_init__(self):  # noqa: D105
        check_size(self, "delay", 1, "as the pattern is held over it")

    @property
    def input_size(self) -> int:
        """Features of a step: one-hot of values, blank and cue."""
        return VALUES + 2

    @property
    def output_size(self) -> int:
        """Outputs of the readout: the classes values and blank."""
        return VALUES + 1

    def sample(self, key, batch: int) -> Batch:
        """Draws `batch` sequences; the same key gives the same sequences."""
        check_batch(self, batch)
        pattern = jax.random.randint(key, (POSITIONS, batch), 0, VALUES, jnp.int32)
        blanks = jnp.full((self.delay + POSITIONS, batch), BLANK, jnp.int32)
        tokens = jnp.concatenate([pattern, blanks.at[self.delay].set(CUE)])
        return Batch(
            inputs=jax.nn.one_hot(tokens, VALUES + 2, dtype=jnp.float32),
            targets=jnp.concatenate([blanks, pattern]),
            mask=jnp.ones((self.delay + 2 * POSITIONS, batch), bool),
        )

    def baseline(self) -> float:
        """10 ln 5 / (T + 20) nats: knows every blank, and guesses each symbol among five."""
        return POSITIONS * math.log(VALUES) / (self.delay + 2 * POSITIONS)

    def wrong(self, outputs: Float[Array, "time batch 6"], batch: Batch) -> Bool[Array, " batch"]:
        """Whether the most active class is wrong at any step, blanks included, as the paper's code counts.

        Raises:
            ValueError: outputs are not (time, batch, 6).
        """
        check_outputs(self, outputs, batch)
        right = leads(outputs, jax.nn.one_hot(batch.targets, VALUES + 1, dtype=bool))
        return jnp.any(batch.mask & ~right, axis=0)
