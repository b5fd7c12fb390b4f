"""The adding problem: find two marked numbers in a long sequence and add them."""

from dataclasses import dataclass

from jaxrnn.tasks.batch import Batch
from jaxrnn.tasks.common import check_batch
from jaxrnn.tasks.pairs import PairTask, check_pairs, first_pair_is_marked, sample_pairs


@dataclass(frozen=True)
class Adding(PairTask):
    """The adding problem in its four published definitions, which are not comparable with one another.

        x_t = (v_t, m_t), a value and a marker;  the sum v_i + v_j is asked for at the last step, by squared error

    With T = `length`, and both ends of a range included unless a bracket is round:

    * "arjovsky" (Arjovsky, Shah & Bengio, 2016, https://arxiv.org/abs/1511.06464): T steps, v_t in [0, 1), i in
      0..T//2-1, j in T//2..T-1, target v_i + v_j.
    * "bai" (Bai, Kolter & Koltun, 2018, https://arxiv.org/abs/1803.01271): the same with i, j anywhere, i unlike j.
    * "pascanu" (Pascanu, Mikolov & Bengio, 2013, https://arxiv.org/abs/1211.5063, with the ranges of their code): l
      steps, l in [T, T + T//10), v_t in [0, 1), i in [0, l//10), j in [l//10, l//10 + 2l//5), target (v_i + v_j) / 2.
      Their code draws one l for a batch and puts the marker before the value; here l is drawn for each sequence.
    * "hochreiter" (Hochreiter & Schmidhuber, 1997, Neural Computation 9(8), experiment 4): l steps, l in T..T+T//10,
      v_t in [-1, 1), i in 0..9, j in 0..T//2-1 unlike i, target 0.5 + (v_i + v_j) / 4. The marker is -1 at the first
      and last step, so a mark on the first pair cannot be seen: its value becomes 0. Assumed, as the paper leaves it
      open: that j is any of these steps, before or after i, each as likely; and that what it says of a first mark on
      the first pair holds for the second too.

    `length` is not the lag: random positions give short lags too, down to l - 1 - max(i, j). Look at the error by lag
    before claiming one.

    Shapes: inputs (longest, batch, 2), the longest T, T, T+T//10-1, T+T//10; targets (batch, 1); mask True at the last
    step alone. All float32. Units: none.

    Raises:
        ValueError: length is below 2 ("arjovsky", "bai"), 10 ("pascanu") or 20 ("hochreiter"), or the definition is
            none of the four.

    Example:
        >>> import jax
        >>> Adding(length=10).sample(jax.random.key(0), batch=3).inputs.shape
        (10, 3, 2)
    """

    length: int
    definition: str = "arjovsky"

    def __post_init__(self):  # noqa: D105
        check_pairs(self, ("arjovsky", "bai", "pascanu", "hochreiter"))

    def sample(self, key, batch: int) -> Batch:
        """Draws `batch` sequences; the same key gives the same sequences."""
        check_batch(self, batch)
        low = -1.0 if self.definition == "hochreiter" else 0.0
        pairs = sample_pairs(self.definition, key, self.length, batch, low, neutral=0.0)
        total = (pairs.first + pairs.second)[:, None]
        match self.definition:
            case "pascanu":
                total = total / 2
            case "hochreiter":
                total = 0.5 + total / 4
        return Batch(pairs.inputs, total, pairs.mask)

    def baseline(self) -> float:
        """The mean squared error of the best constant, the mean of the target, which is the target's variance.

        * "arjovsky", "bai": 1/6, of the constant 1. Reading the last input alone gains 1/12 whenever a mark lies on
          it, in one of T - T//2 sequences or two of T.
        * "pascanu": 1/24, of the constant 1/2.
        * "hochreiter": (2 - p) / 48, of the constant 1/2, where p = 1/10 + 9/10 / (T//2 - 1) is the probability that
          the first pair is marked; 1/24 without that case.
        """
        match self.definition:
            case "pascanu":
                return 1 / 24
            case "hochreiter":
                return (2 - first_pair_is_marked(self.length)) / 48
            case _:
                return 1 / 6
