"""A stream of tokens or values in segments, for truncated backpropagation through time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from jaxrnn.data.positions import check_fits_int32, check_sizes, int32_if_whole, locate_in_epoch
from jaxrnn.tasks import Batch


@dataclass(frozen=True, eq=False)
class Segments:
    """Segments of a stream, each of whose steps is to tell the next: of tokens, or of values with features.

        row b of a batch reads   tokens[start_b : start_{b+1}],    start_b = b (len(tokens) - 1) // batch
        segment p of an epoch    steps p * stride ... p * stride + window - 1 of each row
        scored in it             all for p = 0, else the last `stride`

    Segment p + 1 starts from the carry after `stride` steps of segment p, which `jaxrnn.train.unroll_segment` returns;
    at the start of an epoch, told by `begins`, from a fresh one. With stride = window (the default) segments lie end to
    end. With a smaller stride they overlap, and the gradient of a scored step reaches at least window - stride steps
    back, but for the first `window` steps of a row, which have nothing more before them that a segment could hold: the
    first segment scores all, hence segment p ends at step window + p * stride and not at (p + 1) * stride.

    So every token but the stream's first is a scored target once an epoch. Rows differ by a step if need be, and the
    last segment may reach past their ends: there the last token is repeated, and not scored. The mask tells what is
    scored, not what is to be read: it is not the `mask` of `jaxrnn.unroll`, which would skip the overlap.

    Shapes: inputs and targets (window, batch), int32, of tokens, or (window, batch, features) of values in their dtype;
    mask (window, batch).
    Source: TBPTT(window, stride) of Williams & Peng (1990, https://doi.org/10.1162/neco.1990.2.4.490).

    Fields:
        tokens: The stream: tokens, which are whole numbers (length,), or values, which are real (length, features).
        batch: Rows that are read side by side.
        window: Steps of a segment.
        stride: Steps from one segment's start to that of the next, 1 to window. Default: the window.

    Raises:
        ValueError: a size is below 1, stride > window, the stream is shorter than batch * window + 1 or neither of the
            two kinds of arrays, or a token does not fit into int32.

    Example:
        >>> source = Segments(np.arange(12), batch=1, window=4, stride=3)
        >>> [source.at(p).inputs[:, 0].tolist() for p in range(len(source))]
        [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [9, 10, 10, 10]]
        >>> [(source.at(p).targets * source.at(p).mask)[:, 0].tolist() for p in range(len(source))]
        [[1, 2, 3, 4], [0, 5, 6, 7], [0, 8, 9, 10], [0, 11, 0, 0]]
    """

    tokens: Integer[np.ndarray, " length"] | Float[np.ndarray, "length features"]
    batch: int
    window: int
    stride: int | None = None

    def __post_init__(self):  # noqa: D105
        check_sizes(self, batch=self.batch, window=self.window, stride=self._stride)
        if self._stride > self.window:
            raise ValueError(
                f"Segments: `stride` must not exceed the window of {self.window}, got {self.stride}: the steps between "
                "two segments would be left out. Take a smaller stride or a larger window."
            )
        if not _is_stream(self.tokens):
            got = type(self.tokens).__name__
            if isinstance(self.tokens, np.ndarray):
                got = f"{self.tokens.dtype} of shape {self.tokens.shape}"
            raise ValueError(
                "Segments: `tokens` must be a NumPy array of whole numbers (length,) or of real ones (length, "
                f"features), got {got}. Encode text with Alphabet.encode; give single values as values[:, None]."
            )
        check_fits_int32("Segments: `tokens`", self.tokens)
        if len(self.tokens) < self.batch * self.window + 1:
            raise ValueError(
                f"Segments: `tokens` must hold at least batch * window + 1 = {self.batch} * {self.window} + 1 = "
                f"{self.batch * self.window + 1} of them, got {len(self.tokens)}. "
                "Take a smaller batch or window, or a longer text."
            )

    def __len__(self) -> int:
        """Segments in an epoch."""
        return 1 - (self.window - int(self._lengths.max())) // self._stride

    def begins(self, position: int) -> bool:
        """Whether the segment at a position is the first of an epoch, before which the carry is to be reset."""
        return locate_in_epoch(self, position)[1] == 0

    def at(self, position: int) -> Batch:
        """The segment at a position >= 0, a pure function of it."""
        _, segment = locate_in_epoch(self, position)
        steps = segment * self._stride + np.arange(self.window)[:, None]
        new = steps >= (segment > 0) * (self.window + (segment - 1) * self._stride)
        places = self._starts[:-1] + np.minimum(steps, self._lengths - 1)
        return Batch(
            inputs=int32_if_whole(self.tokens[places]),
            targets=int32_if_whole(self.tokens[places + 1]),
            mask=new & (steps < self._lengths),
        )

    @property
    def _stride(self) -> int:
        return self.window if self.stride is None else self.stride

    @property
    def _starts(self) -> np.ndarray:
        return np.arange(self.batch + 1) * (len(self.tokens) - 1) // self.batch

    @property
    def _lengths(self) -> np.ndarray:
        return np.diff(self._starts)


def _is_stream(values) -> bool:
    kinds = {1: np.integer, 2: np.floating}
    return isinstance(values, np.ndarray) and values.ndim in kinds and np.issubdtype(values.dtype, kinds[values.ndim])
