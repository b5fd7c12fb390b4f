"""Parity: are the ones of a sequence odd in number?"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrnn.numerics import bernoulli
from jaxrnn.tasks.batch import Batch
from jaxrnn.tasks.common import check_batch, check_size, final, leads


@dataclass(frozen=True)
class Parity:
    """Parity of a long sequence (Bengio, Simard & Frasconi, 1994, IEEE Transactions on Neural Networks 5(2)).

        x_t ~ U{-1, 1},    class = (number of steps with x_t = 1) mod 2,    scored by the cross-entropy at the last step

    A control and no test of memory: every step matters as much as any other, and random guessing of weights solves it
    no slower than the methods it was used to promote (Schmidhuber, Hochreiter & Bengio, 2001, Evaluating benchmark
    problems by random guessing). Their output is one logistic unit; here the two classes have an output each. Noise
    on the inputs, which the authors also tried, is left out, and all sequences have the same length.

    Shapes: inputs (length, batch, 1), float32; targets (batch,), classes 0 even and 1 odd, int32; mask True at the
    last step alone. Units: none.

    Raises:
        ValueError: length is below 2.

    Example:
        >>> round(Parity(length=500).baseline(), 6)
        0.693147
    """

    length: int

    def __post_init__(self):  # noqa: D105
        check_size(self, "length", 2, "as one step needs no memory")

    @property
    def input_size(self) -> int:
        """Features of a step: the sign."""
        return 1

    @property
    def output_size(self) -> int:
        """Outputs of the readout: the classes even and odd."""
        return 2

    def sample(self, key, batch: int) -> Batch:
        """Draws `batch` sequences; the same key gives the same sequences."""
        check_batch(self, batch)
        ones = bernoulli(key, 0.5, (self.length, batch))
        return Batch(
            inputs=jnp.where(ones, 1.0, -1.0).astype(jnp.float32)[..., None],
            targets=jnp.sum(ones, axis=0, dtype=jnp.int32) % 2,
            mask=jnp.zeros((self.length, batch), bool).at[-1].set(True),
        )

    def baseline(self) -> float:
        """Ln 2 nats: any step that is not known leaves both classes equally likely."""
        return math.log(2)

    def wrong(self, outputs: Float[Array, "time batch 2"], batch: Batch) -> Bool[Array, " batch"]:
        """Whether the class at the last step is not the more active one.

        Raises:
            ValueError: outputs are not (time, batch, 2).
        """
        return ~leads(final(self, outputs, batch), jax.nn.one_hot(batch.targets, 2, dtype=bool))
