"""The two-sequence problem: tell two classes by the first steps of a long noisy sequence."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrnn.numerics import bernoulli, zero_unless
from jaxrnn.tasks.batch import Batch
from jaxrnn.tasks.common import check_batch, check_choice, check_size, final, final_error, integers, steps_of

INPUT_VARIANCE = 0.2
TARGET_VARIANCE = 0.1


@dataclass(frozen=True)
class TwoSequence:
    """The two-sequence problem (Hochreiter & Schmidhuber, 1997, Neural Computation 9(8), experiments 3a, 3b, 3c).

        class ~ U{1, 2};    x_t = 1 in class 1, -1 in class 2 for t < N;    x_t ~ N(0, 0.2) for N <= t < l
        target at the last step, scored by the squared error, where l ~ U{T, ..., T + T//10}:
        a   1 in class 1, 0 in class 2
        b   the same, with noise N(0, 0.2) added to the first N inputs too
        c   inputs as in a, targets 0.2 in class 1 and 0.8 in class 2, with noise N(0, 0.1) added to them

    With T = `length`, N = `informative` (1 or 3 in the paper), the second argument of N(., .) a variance, and steps
    counted from 0. Random guessing of weights solves a and b, says the paper; only c is a test. Not the problem of
    Bengio et al. (1994), whose sequences may also be of half the length.

    Shapes: inputs (T + T//10, batch, 1), zero in the padding; targets (batch, 1); mask True at the last step alone. All
    float32. Units: none.

    Raises:
        ValueError: informative is below 1, length is not above informative, or the variant is none of the three.

    Example:
        >>> TwoSequence(length=100, informative=3, variant="c").baseline()
        0.19
    """

    length: int
    informative: int = 3
    variant: str = "a"

    def __post_init__(self):  # noqa: D105
        check_choice(self, "variant", ("a", "b", "c"))
        check_size(self, "informative", 1, "the steps that tell the class")
        check_size(self, "length", self.informative + 1, "as noise follows the informative steps")

    @property
    def input_size(self) -> int:
        """Features of a step: the one input line."""
        return 1

    @property
    def output_size(self) -> int:
        """Outputs of the readout: the target."""
        return 1

    def sample(self, key, batch: int) -> Batch:
        """Draws `batch` sequences; the same key gives the same sequences."""
        check_batch(self, batch)
        class_key, lengths_key, inputs_key, targets_key = jax.random.split(key, 4)
        is_first = bernoulli(class_key, 0.5, (batch,))
        longest = self.length + self.length // 10
        lengths, steps = integers(lengths_key, batch, self.length, longest + 1), steps_of(longest)
        noise = INPUT_VARIANCE**0.5 * jax.random.normal(inputs_key, (longest, batch), jnp.float32)
        signal = jnp.where(is_first, 1.0, -1.0).astype(jnp.float32)
        if self.variant == "b":
            inputs = jnp.where(steps < self.informative, signal, 0) + noise
        else:
            inputs = jnp.where(steps < self.informative, signal, noise)
        targets = self._clean_targets(is_first)
        if self.variant == "c":
            targets += TARGET_VARIANCE**0.5 * jax.random.normal(targets_key, (batch,), jnp.float32)
        return Batch(
            inputs=zero_unless(steps < lengths, inputs)[..., None],
            targets=targets[:, None],
            mask=steps == lengths - 1,
        )

    def baseline(self) -> float:
        """The mean squared error of the best constant, 1/2: 0.25 for a and b, 0.3^2 + 0.1 for c.

        In c the noise of the targets leaves 0.1 even to a predictor that knows the class.
        """
        return 0.3**2 + TARGET_VARIANCE if self.variant == "c" else 0.25

    def wrong(self, outputs: Float[Array, "time batch 1"], batch: Batch) -> Bool[Array, " batch"]:
        """Whether the output at the last step is too far away from the target.

        By 0.2 or more in a and b; in c by more than 0.1 from the target before its noise, which the sign of the first
        input tells.

        Raises:
            ValueError: outputs are not (time, batch, 1).
        """
        if self.variant != "c":
            return ~(jnp.abs(final_error(self, outputs, batch)) < 0.2)
        clean = self._clean_targets(batch.inputs[0, :, 0] > 0)
        return ~(jnp.abs(final(self, outputs, batch)[:, 0] - clean) <= 0.1)

    def _clean_targets(self, is_first):
        one, two = (0.2, 0.8) if self.variant == "c" else (1.0, 0.0)
        return jnp.where(is_first, one, two).astype(jnp.float32)
