"""What every task samples."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float


class Batch(NamedTuple):
    """Inputs, targets, and the steps whose outputs are scored.

    `targets` broadcast against outputs (time, batch, output), so the task's mean squared error is that of
    `ys - targets` over the steps where `mask` holds, whether one step is scored or all.
    """

    inputs: Float[Array, "time batch features"]
    targets: Float[Array, "*time batch output"]
    mask: Bool[Array, "time batch"]
