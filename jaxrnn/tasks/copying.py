"""The copying problem: repeat ten symbols after a long delay."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrnn.numerics import zero_unless
from jaxrnn.tasks.batch import Batch
from jaxrnn.tasks.common import check_batch, check_outputs, check_size, integers, leads, steps_of

SYMBOLS = 10  # to be copied, each one of 1, ..., KINDS
KINDS = 8
DELIMITER = 9


@dataclass(frozen=True)
class _Copying:
    """What both forms of the copying problem have in common."""

    delay: int

    def __post_init__(self):  # noqa: D105
        check_size(self, "delay", 1, "the delimiter being its last step")

    @property
    def input_size(self) -> int:
        """Features of a step: one-hot of blank, symbols and delimiter."""
        return DELIMITER + 1

    @property
    def output_size(self) -> int:
        """Outputs of the readout: the classes blank and symbols."""
        return KINDS + 1

    def wrong(self, outputs: Float[Array, "time batch 9"], batch: Batch) -> Bool[Array, " batch"]:
        """Whether any of the last ten symbols is wrong, that is, its class not the most active one.

        Blanks do not count here, as they make up nearly all of the accuracy over all steps. The paper gives
        cross-entropies only.

        Raises:
            ValueError: outputs are not (time, batch, 9).
        """
        check_outputs(self, outputs, batch)
        right = leads(outputs, jax.nn.one_hot(batch.targets, KINDS + 1, dtype=bool))
        return jnp.any(batch.mask & (batch.targets > 0) & ~right, axis=0)


@dataclass(frozen=True)
class Copy(_Copying):
    """The copying problem with a fixed delay (Arjovsky, Shah & Bengio, 2016, https://arxiv.org/abs/1511.06464).

        input    s_1 ... s_10, then T - 1 blanks 0, the delimiter 9, and 10 blanks;    s_k ~ U{1, ..., 8}
        target   T + 10 blanks, then s_1 ... s_10;    scored by the cross-entropy at every step

    With T = `delay`, the steps from each symbol to its copy less 10; the sequence has T + 20 steps. Not the form of
    Bai et al. (2018), who repeat the delimiter over the last 11 inputs.

    Shapes: inputs (T + 20, batch, 10), one-hot of 0..9, float32; targets (T + 20, batch), classes 0..8, int32; mask
    True everywhere. Units: none.

    Raises:
        ValueError: delay is below 1.

    Example:
        >>> round(Copy(delay=100).baseline(), 6)
        0.173287
    """

    def sample(self, key, batch: int) -> Batch:
        """Draws `batch` sequences; the same key gives the same sequences."""
        check_batch(self, batch)
        return _sample(key, jnp.full(batch, self.delay, jnp.int32), self.delay)

    def baseline(self) -> float:
        """10 ln 8 / (T + 20) nats: knows every blank, and guesses each copied symbol among eight."""
        return SYMBOLS * math.log(KINDS) / (self.delay + 2 * SYMBOLS)


@dataclass(frozen=True)
class VariableCopy(_Copying):
    """The copying problem whose delay varies from sequence to sequence, so that steps cannot simply be counted.

        as `Copy`, with a delay d ~ U{1, ..., T} for each sequence, which has d + 20 steps;    T = `delay`

    After Tallec & Ollivier (2018, https://arxiv.org/abs/1804.11188), whose delay is uniform in 1..T. How they pad and
    weigh sequences of different lengths is not verified; here the padding, on the right, is not scored.

    Shapes: inputs (T + 20, batch, 10), one-hot of 0..9, zero in the padding, float32; targets (T + 20, batch), classes
    0..8, int32; mask True before the padding. Units: none.

    Raises:
        ValueError: delay is below 1.

    Example:
        >>> VariableCopy(delay=100).baseline() > Copy(delay=100).baseline()  # shorter, so more of it are symbols
        True
    """

    def sample(self, key, batch: int) -> Batch:
        """Draws `batch` sequences; the same key gives the same sequences."""
        check_batch(self, batch)
        symbols_key, delays_key = jax.random.split(key)
        return _sample(symbols_key, integers(delays_key, batch, 1, self.delay + 1), self.delay)

    def baseline(self) -> float:
        """10 ln 8 / ((T + 1) / 2 + 20) nats: expected nats over expected steps, so that of a large batch.

        It knows every blank, and guesses each copied symbol among eight.
        """
        return SYMBOLS * math.log(KINDS) / ((self.delay + 1) / 2 + 2 * SYMBOLS)


def _sample(key, delays, longest: int) -> Batch:
    """Sequences with these delays (batch,), padded to that of the longest."""
    symbols = jax.random.randint(key, (SYMBOLS, delays.shape[0]), 1, KINDS + 1, jnp.int32)
    steps, begin = steps_of(longest + 2 * SYMBOLS), delays + SYMBOLS
    tokens = jnp.pad(symbols, ((0, longest + SYMBOLS), (0, 0)))
    tokens = jnp.where(steps == begin - 1, DELIMITER, tokens)
    copied = jnp.take_along_axis(symbols, jnp.clip(steps - begin, 0, SYMBOLS - 1), axis=0)
    mask = steps < begin + SYMBOLS
    return Batch(
        inputs=zero_unless(mask, jax.nn.one_hot(tokens, DELIMITER + 1, dtype=jnp.float32)),
        targets=jnp.where((steps >= begin) & mask, copied, 0),
        mask=mask,
    )
