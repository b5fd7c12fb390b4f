"""The temporal order problem: which of two symbols came first, second, third?"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrnn.numerics import zero_unless
from jaxrnn.tasks.batch import Batch
from jaxrnn.tasks.common import check_batch, check_choice, check_size, final, integers, leads, steps_of

DISTRACTORS = 4


@dataclass(frozen=True)
class TemporalOrder:
    """The temporal order problem: a class for each order of two or three relevant symbols, far apart among others.

        x_t one-hot: at the steps t_k a relevant symbol v_k ~ U{0, 1}, elsewhere one of four distractors, uniformly
        class from v_1, ..., v_K, K = `symbols`, scored by the cross-entropy at the last step

    With T = `length`, w = T//10, steps counted from 0:

    * "pascanu" (Pascanu, Mikolov & Bengio, 2013, https://arxiv.org/abs/1211.5063, with the ranges of their code): T
      steps, t_k in [s_k, s_k + w) with s = T//10, 5T//10 for two symbols, T//10, 3T//10, 6T//10 for three. Six inputs:
      A, B, and the distractors c, d, e, f. Class v_1 + 2 v_2 + 4 v_3.
    * "hochreiter" (Hochreiter & Schmidhuber, 1997, Neural Computation 9(8), experiments 6a, 6b): l steps, l in
      T..T+T//10, t_k in s_k..s_k+w with s = T//10, T//2 for two symbols, T//10, T//3, 2T//3 for three, which for
      T = 100 are the numbers of the paper; that it counts steps from 0 is assumed. Eight inputs: X, Y, the distractors
      a, b, c, d, then E at the first step and B at the last. Classes in the order of the paper: 2 v_1 + v_2, or
      4 v_1 + 2 v_2 + v_3.

    Shapes: inputs (longest, batch, 6 or 8), zero in the padding, float32, the longest T or T + T//10; targets (batch,),
    2^K classes, int32; mask True at the last step alone. Units: none.

    Raises:
        ValueError: length is below 10, symbols is neither 2 nor 3, or the definition is neither.

    Example:
        >>> round(TemporalOrder(length=50).baseline(), 6)
        1.386294
    """

    length: int
    symbols: int = 2
    definition: str = "pascanu"

    def __post_init__(self):  # noqa: D105
        check_choice(self, "definition", ("pascanu", "hochreiter"))
        check_choice(self, "symbols", (2, 3))
        check_size(self, "length", 10, "as each relevant symbol lies somewhere in a tenth of it")

    @property
    def input_size(self) -> int:
        """Features of a step: one-hot of relevant symbols, distractors, and for "hochreiter" begin and end."""
        return 2 + DISTRACTORS + (2 if self.definition == "hochreiter" else 0)

    @property
    def output_size(self) -> int:
        """Outputs of the readout: a class for each order."""
        return 2**self.symbols

    @property
    def starts(self) -> tuple[int, ...]:
        """The earliest step of each relevant symbol."""
        length = self.length
        match self.definition, self.symbols:
            case "pascanu", 2:
                return length // 10, 5 * length // 10
            case "pascanu", _:
                return length // 10, 3 * length // 10, 6 * length // 10
            case _, 2:
                return length // 10, length // 2
            case _:
                return length // 10, length // 3, 2 * length // 3

    def sample(self, key, batch: int) -> Batch:
        """Draws `batch` sequences; the same key gives the same sequences."""
        check_batch(self, batch)
        distractors_key, values_key, places_key, lengths_key = jax.random.split(key, 4)
        values = jax.random.randint(values_key, (self.symbols, batch), 0, 2, jnp.int32)
        ends = self.definition == "hochreiter"
        longest = self.length + (self.length // 10 if ends else 0)
        lengths, steps = integers(lengths_key, batch, self.length, longest + 1), steps_of(longest)
        offsets = jax.random.randint(places_key, (self.symbols, batch), 0, self.length // 10 + ends, jnp.int32)
        tokens = jax.random.randint(distractors_key, (longest, batch), 2, 2 + DISTRACTORS, jnp.int32)
        for start, offset, value in zip(self.starts, offsets, values, strict=True):
            tokens = jnp.where(steps == start + offset, value, tokens)
        last = steps == lengths - 1
        if ends:
            tokens = jnp.where(steps == 0, 2 + DISTRACTORS, jnp.where(last, 3 + DISTRACTORS, tokens))
        weights = 2 ** jnp.arange(self.symbols, dtype=jnp.int32)
        weights = weights[::-1] if ends else weights
        inputs = jax.nn.one_hot(tokens, self.input_size, dtype=jnp.float32)
        return Batch(
            inputs=zero_unless(steps < lengths, inputs),
            targets=jnp.sum(weights[:, None] * values, axis=0, dtype=jnp.int32),
            mask=last,
        )

    def baseline(self) -> float:
        """K ln 2 nats, ln 4 or ln 8: all classes are equally likely at a last step that tells nothing."""
        return self.symbols * math.log(2)

    def wrong(self, outputs: Float[Array, "time batch classes"], batch: Batch) -> Bool[Array, " batch"]:
        """Whether the paper counts a sequence as wrong, by the outputs at its last step.

        "pascanu": the class is not the most active one. "hochreiter": some probability is 0.3 or more away from its
        target, 1 for the class and 0 for the others; softmax of the outputs stands for the paper's logistic units.

        Raises:
            ValueError: outputs are not (time, batch, 2^K).
        """
        outputs, members = final(self, outputs, batch), jax.nn.one_hot(batch.targets, self.output_size, dtype=bool)
        if self.definition == "pascanu":
            return ~leads(outputs, members)
        errors = jnp.abs(jax.nn.softmax(outputs) - members.astype(jnp.float32))
        return ~jnp.all(errors < 0.3, axis=-1)
