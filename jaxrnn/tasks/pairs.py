"""Sequences of pairs (value, marker) with two marked values: the inputs of the adding and multiplication problems."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrnn.tasks.batch import Batch
from jaxrnn.tasks.common import check_choice, check_size, final_error, integers, steps_of


class Pairs(NamedTuple):
    """Pairs (value, marker), the two operands, and the last step of each sequence."""

    inputs: Float[Array, "time batch 2"]
    first: Float[Array, " batch"]
    second: Float[Array, " batch"]
    mask: Bool[Array, "time batch"]


class PairTask:
    """What the adding and the multiplication problem share: a definition, one result for each sequence, and its bar."""

    definition: str

    @property
    def input_size(self) -> int:
        """Features of a step: value and marker."""
        return 2

    @property
    def output_size(self) -> int:
        """Outputs of the readout: the result."""
        return 1

    def wrong(self, outputs: Float[Array, "time batch 1"], batch: Batch) -> Bool[Array, " batch"]:
        """Whether the paper counts a sequence as wrong, by the error e at its last step; what is not a number is.

        "pascanu": e^2 > 0.04. "hochreiter": |e| >= 0.04. The two bars are not the same: of the sums, always answering
        1/2 is right on 64% by the first and on about 15% by the second.

        Raises:
            ValueError: outputs are not (time, batch, 1), or the definition sets no bar: "arjovsky", "bai".
        """
        match self.definition:
            case "pascanu":
                return ~(final_error(self, outputs, batch) ** 2 <= 0.04)
            case "hochreiter":
                return ~(jnp.abs(final_error(self, outputs, batch)) < 0.04)
            case _:
                raise ValueError(
                    f"{type(self).__name__}.wrong: the definition {self.definition!r} has no bar for one sequence. "
                    "Compare the mean squared error with baseline(), or take the definition 'pascanu' or 'hochreiter'."
                )


def check_pairs(task, definitions: tuple[str, ...]) -> None:
    """Raises ValueError where a definition is unknown or a length leaves no room for its marks."""
    check_choice(task, "definition", definitions)
    match task.definition:
        case "pascanu":
            check_size(task, "length", 10, "as the first mark lies in the first tenth")
        case "hochreiter":
            check_size(task, "length", 20, "as ten steps for the first mark lie in the first half")
        case _:
            check_size(task, "length", 2, "one step for each mark")


def sample_pairs(definition: str, key, length: int, batch: int, low: float, neutral: float) -> Pairs:
    """Draws pairs with values in [`low`, 1).

    `neutral` is the value that leaves the result as it is; Hochreiter & Schmidhuber give it to a marked first pair,
    whose marker is that of the beginning.
    """
    values_key, first_key, second_key = jax.random.split(key, 3)
    lengths_key, early_key = jax.random.split(first_key)
    lengths, longest, half = jnp.full(batch, length, jnp.int32), length, length // 2
    match definition:
        case "arjovsky":
            first = integers(first_key, batch, 0, half)
            second = integers(second_key, batch, half, length)
        case "bai":
            first = integers(first_key, batch, 0, length)
            second = (first + integers(second_key, batch, 1, length)) % length
        case "pascanu":
            longest = length + length // 10 - 1
            lengths = integers(lengths_key, batch, length, longest + 1)
            first = integers(early_key, batch, 0, lengths // 10)
            second = lengths // 10 + integers(second_key, batch, 0, 2 * lengths // 5)
        case _:  # "hochreiter": check_pairs lets no other pass
            longest = length + length // 10
            lengths = integers(lengths_key, batch, length, longest + 1)
            first = integers(early_key, batch, 0, 10)
            unmarked = integers(second_key, batch, 0, half - 1)
            second = jnp.where(unmarked < first, unmarked, unmarked + 1)
    steps = steps_of(longest)
    last, marked = steps == lengths - 1, (steps == first) | (steps == second)
    values = jax.random.uniform(values_key, (longest, batch), jnp.float32, low, 1)
    values = jnp.where(steps < lengths, values, 0)
    markers = marked.astype(jnp.float32)
    if definition == "hochreiter":
        values = jnp.where(marked & (steps == 0), neutral, values)
        markers = jnp.where((steps == 0) | last, -1, markers)
    each = jnp.arange(batch)
    return Pairs(jnp.stack([values, markers], axis=-1), values[first, each], values[second, each], last)


def first_pair_is_marked(length: int) -> float:
    """The probability that Hochreiter & Schmidhuber mark the first pair: 1/10 first, else 1 of T // 2 - 1 second."""
    return 1 / 10 + 9 / 10 / (length // 2 - 1)
