"""The contract of a source: sequences of any length, what is to be learned from them, and how well a constant does."""

from typing import Literal, NamedTuple, Protocol

from jaxrnn.tasks import Batch

Loss = Literal["squared error", "cross-entropy", "binary cross-entropy"]


class Objective(NamedTuple):
    """What a linear readout of `outputs` numbers is trained to tell, by which loss, as in "the class at the end"."""

    loss: Loss
    outputs: int
    what: str


class Source(Protocol):
    """Where sequences come from: a pytree, so that its data are arguments of a compiled call and not part of it."""

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def description(self) -> str:
        """What one sequence is."""
        ...

    @property
    def input_size(self) -> int:
        """Features of one step."""
        ...

    @property
    def objective(self) -> Objective | None:
        """What is to be learned; None where there is nothing."""
        ...

    @property
    def shortest(self) -> int:
        """The shortest sequence that there is, in steps."""
        ...

    @property
    def limit(self) -> tuple[int, str] | None:
        """The longest sequence, and in words what it is; None if any length can be had."""
        ...

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths measured when none are asked for."""
        ...

    def sample(self, key, length: int, batch: int) -> Batch:
        """Sequences (length, batch, input_size), float32, targets and mask, decided by the key. Pure."""
        ...

    def baseline(self, length: int) -> float:
        """The loss of the best prediction that does not look at the input, in the units of the objective."""
        ...


def doubling(longest: int) -> tuple[int, ...]:
    """8, 16, 32, ... below `longest`, and `longest` itself."""
    return (*(2**k for k in range(3, longest.bit_length()) if 2**k < longest), longest)


def shortened(name: str) -> str:
    """A file's name with its middle left out if it is too long for a figure."""
    return name if len(name) <= 40 else f"{name[:18]}...{name[-18:]}"
