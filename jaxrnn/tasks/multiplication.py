"""The multiplication problem: find two marked numbers in a long sequence and multiply them."""

from dataclasses import dataclass

from jaxrnn.tasks.batch import Batch
from jaxrnn.tasks.common import check_batch
from jaxrnn.tasks.pairs import PairTask, check_pairs, first_pair_is_marked, sample_pairs


@dataclass(frozen=True)
class Multiplication(PairTask):
    """The multiplication problem: adding cannot be solved by integration alone once the sum is a product.

        x_t = (v_t, m_t),    v_t ~ U[0, 1),    target = v_i * v_j, scored by the squared error at the last step

    * "pascanu" (Pascanu, Mikolov & Bengio, 2013, https://arxiv.org/abs/1211.5063): lengths and marks as in
      `Adding(length, "pascanu")`.
    * "hochreiter" (Hochreiter & Schmidhuber, 1997, Neural Computation 9(8), experiment 5): lengths and marks as in
      `Adding(length, "hochreiter")`; the value of the first pair becomes 1 where it is marked.

    The targets are not scaled, and both definitions draw values from [0, 1), unlike the adding problem of 1997.

    Shapes: inputs (longest, batch, 2), the longest T+T//10-1 or T+T//10 for T = `length`; targets (batch, 1); mask
    True at the last step alone. All float32. Units: none.

    Raises:
        ValueError: length is below 10 ("pascanu") or 20 ("hochreiter"), or the definition is neither.

    Example:
        >>> round(Multiplication(length=100).baseline() * 144, 12)
        7.0
    """

    length: int
    definition: str = "pascanu"

    def __post_init__(self):  # noqa: D105
        check_pairs(self, ("pascanu", "hochreiter"))

    def sample(self, key, batch: int) -> Batch:
        """Draws `batch` sequences; the same key gives the same sequences."""
        check_batch(self, batch)
        pairs = sample_pairs(self.definition, key, self.length, batch, low=0.0, neutral=1.0)
        return Batch(pairs.inputs, (pairs.first * pairs.second)[:, None], pairs.mask)

    def baseline(self) -> float:
        """The mean squared error of the best constant, the mean of the target, which is the target's variance.

        * "pascanu": 1/9 - 1/16 = 7/144, of the constant 1/4.
        * "hochreiter": (1/9 + 2p/9) - (1/4 + p/4)^2, of the constant 1/4 + p/4, where p = 1/10 + 9/10 / (T//2 - 1) is
          the probability that the first pair is marked and one factor is 1; 7/144 without that case.
        """
        one = first_pair_is_marked(self.length) if self.definition == "hochreiter" else 0.0
        return (1 + 2 * one) / 9 - ((1 + one) / 4) ** 2
