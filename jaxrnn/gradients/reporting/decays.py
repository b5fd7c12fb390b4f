"""What a report keeps of the gradient norms of one network over samples."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from jaxrnn.gradients.decay import DecayFit, decay_fit
from jaxrnn.gradients.statistics import geometric_mean, mean, median, quantile, root_mean_square

STATISTICS = {"median": median, "geometric mean": geometric_mean, "mean": mean, "root mean square": root_mean_square}


@dataclass(frozen=True)
class Decay:
    """ln ||dL/ds_t|| of one network over samples, the last entry at lag 0, with the fits of its statistics."""

    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    fits: dict[str, DecayFit]

    @property
    def fit(self) -> DecayFit:
        """That of the median."""
        return self.fits["median"]

    @property
    def left(self) -> float:
        """ln of the norm at the first step over that at the last step that has one; NaN where all are exactly 0."""
        alive = self.middle[self.middle > -np.inf]
        return float(self.middle[0] - alive[-1]) if alive.size else float("nan")


def decay_of(log_norms: Float[Array, "time batch"]) -> Decay:
    """Median, band from 10% to 90%, and fits."""
    middle, low, high = (np.asarray(quantile(log_norms, q, 1)) for q in (0.5, 0.1, 0.9))
    return Decay(middle, low, high, {name: decay_fit(of(log_norms, 1)) for name, of in STATISTICS.items()})
