"""Windows of a time series, for forecasting."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from jaxrnn.data.positions import check_key, check_sizes, rows_at
from jaxrnn.tasks import Batch


@dataclass(frozen=True, eq=False)
class Windows:
    """Batches of windows: `history` steps are seen, the `horizon` steps after them are to be told.

    Every window that fits into the series comes once an epoch. Given one split of a series, no window reaches into
    another; to forecast a split's first steps too, give it with the last `history` steps of the split before.
    The last batch of an epoch is filled up with windows of its own that the mask leaves out.

    Shapes: inputs (history, batch, features), targets (horizon, batch, features), in the dtype of the series,
    mask (horizon, batch).

    Fields:
        series: The values of one split (time, features).
        history: Steps seen.
        horizon: Steps to be told.
        batch: Windows in a batch.
        key: Decides the orders, one for each epoch. Default None: the order in time, always, as for an evaluation.

    Raises:
        ValueError: a size is below 1, the series is not (time, features) or is shorter than history + horizon, or
            `key` is no single key.

    Example:
        >>> source = Windows(np.arange(6.0)[:, None], history=3, horizon=2, batch=2)
        >>> batch = source.at(0)
        >>> batch.inputs[..., 0].T.tolist(), batch.targets[..., 0].T.tolist()
        ([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]], [[3.0, 4.0], [4.0, 5.0]])
    """

    series: Float[np.ndarray, "time features"]
    history: int
    horizon: int
    batch: int
    key: PRNGKeyArray | None = None

    def __post_init__(self):  # noqa: D105
        check_sizes(self, history=self.history, horizon=self.horizon, batch=self.batch)
        check_key(self, self.key)
        if np.ndim(self.series) != 2:
            raise ValueError(
                f"Windows: `series` must be (time, features), got the shape {np.shape(self.series)}. "
                "Give a series of single values as series[:, None]."
            )
        if self._count < 1:
            raise ValueError(
                f"Windows: `series` must have at least history + horizon = {self.history} + {self.horizon} steps, "
                f"got {len(self.series)}. Take a shorter history or horizon, or a longer series."
            )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self._count // self.batch)

    def at(self, position: int) -> Batch:
        """The batch at a position >= 0, a pure function of it."""
        starts, counted = rows_at(self, position, self._count, self.batch, self.key)
        steps = starts + np.arange(self.history + self.horizon)[:, None]
        values = self.series[steps]
        mask = np.broadcast_to(counted, (self.horizon, self.batch))
        return Batch(values[: self.history], values[self.history :], mask)

    @property
    def _count(self) -> int:
        return len(self.series) - self.history - self.horizon + 1
