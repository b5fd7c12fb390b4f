"""The records of training: what the next update needs, and what the last one tells."""

from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int, PyTree


class TrainState(NamedTuple):
    """All that the next update needs, and all that a checkpoint has to hold.

    `step` counts the batches seen, those skipped too, and so is the position in the data; the key of an update is
    `fold_in(key, step)`. `carry` is None, or the state that truncated BPTT hands from segment to segment.
    """

    params: PyTree
    optimizer_state: PyTree
    carry: PyTree
    key: Array
    step: Int[Array, "*runs"]
    skipped: Int[Array, "*runs"]
    skipped_in_a_row: Int[Array, "*runs"]


class Metrics(NamedTuple):
    """What one update tells; norms are Euclidean over all parameters together.

    `clip_ratio` is the norm after clipping over the norm before, 1 where nothing was clipped. `finite` says that all
    that the update read and made was finite (see `Trainer`); only then was it applied. `stopped`: the run is over.
    `quantities` are those of a monitor by name, NaN in updates between two measurements; () without a monitor.
    """

    loss: Float[Array, "*runs"]
    gradient_norm: Float[Array, "*runs"]
    clipped: Bool[Array, "*runs"]
    clip_ratio: Float[Array, "*runs"]
    update_norm: Float[Array, "*runs"]
    finite: Bool[Array, "*runs"]
    stopped: Bool[Array, "*runs"]
    aux: Any
    quantities: Any = ()
