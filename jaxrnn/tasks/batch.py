"""What every task samples."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Real, Shaped


class Batch(NamedTuple):
    """Inputs, targets, and the steps whose outputs are scored; from a task or from real data, in JAX or NumPy arrays.

    * `inputs` (time, batch, features), or (time, batch) where a step is one whole number, such as a token. Sequences of
      different lengths are padded on the right; in the tasks of this package the padding is zero.
    * `targets` of a regression are real and broadcast against outputs (time, batch, output): (batch, output) is one
      target a sequence. Targets of a classification are whole numbers: (batch,) one class a sequence, (time, batch)
      one a step. What they hold at steps that are not scored means nothing.
    * `mask` (time, batch) is True where an output is scored: at the last step of each sequence, or at all its steps,
      never in the padding.

    The task's loss is the mean over the steps where the mask holds: of the squared error for real targets, of the
    cross-entropy in nats for classes.
    """

    inputs: Shaped[Array | np.ndarray, "time batch *features"]
    targets: Real[Array | np.ndarray, "..."]
    mask: Bool[Array | np.ndarray, "time batch"]
