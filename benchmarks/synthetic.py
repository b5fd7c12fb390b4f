"""Sources made by the synthetic tasks of `jaxrnn.tasks` whose sequences all have one length: a row of a table each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from benchmarks.source import Loss, Objective, doubling
from jaxrnn import tasks
from jaxrnn.tasks import Batch


@jax.tree_util.register_static
@dataclass(frozen=True)
class Synthetic:
    """Sequences of the task `build(length)`, `length` steps long, of which `shortest` is the least that it can have."""

    title: str
    description: str
    build: Callable[[int], Any]
    loss: Loss
    what: str
    shortest: int = 2

    limit = None

    @property
    def input_size(self) -> int:
        """The task's own, whatever the length."""
        return self.build(self.shortest).input_size

    @property
    def objective(self) -> Objective:
        """The task's own, whatever the length."""
        return Objective(self.loss, self.build(self.shortest).output_size, self.what)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Up to 1024, from the shortest on."""
        return tuple(length for length in doubling(1024) if length >= self.shortest)

    def sample(self, key, length: int, batch: int) -> Batch:
        """See Source."""
        return self.build(length).sample(key, batch)

    def baseline(self, length: int) -> float:
        """The task's own."""
        return self.build(length).baseline()


SYNTHETIC = {
    "adding": Synthetic(
        "the adding problem",
        "Input: a uniform number and a marker at each step, one mark in each half of the sequence",
        tasks.Adding, "squared error", "the sum at the last step",
    ),
    "copy": Synthetic(
        "the copying problem",
        "Input: ten symbols, blanks, a delimiter, and ten blanks while the symbols are to be repeated",
        lambda length: tasks.Copy(length - 20), "cross-entropy", "the symbol at every step", shortest=21,
    ),
    "memorisation": Synthetic(
        "noiseless memorisation",
        "Input: ten symbols, blanks, a cue, and nine blanks while the symbols are to be repeated",
        lambda length: tasks.Memorisation(length - 20), "cross-entropy", "the symbol at every step", shortest=21,
    ),
    "temporal-order": Synthetic(
        "the temporal order problem",
        "Input: two relevant symbols, one in the second tenth and one in the sixth, among distractors",
        tasks.TemporalOrder, "cross-entropy", "the order at the last step", shortest=10,
    ),
    "parity": Synthetic(
        "the parity problem",
        "Input: a sign at each step",
        tasks.Parity, "cross-entropy", "the parity at the last step",
    ),
}  # fmt: skip
