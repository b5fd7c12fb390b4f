"""What is told of a run while it goes: its updates in a log, on the display, and for TensorBoard."""

import contextlib
import importlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.command import Failed
from jaxrnn.train import Metrics, MetricsLog

Board = Callable[[int, dict[str, float]], None]


class UpdateLog(MetricsLog):
    """The metrics of every update, with the speed, which the display and TensorBoard are told too."""

    def __init__(self, path: Path, step: int, board: Board, show: Callable[[int, str], None]):
        """Opens the file; `show` is handed the updates made so far and words."""
        super().__init__(path, step)
        self.board, self._show, self._since = board, show, time.perf_counter()

    def write(self, step: int, metrics: Metrics | dict[str, Any]) -> None:
        """Appends a block of updates, whose `aux["tokens"]` are counted."""
        assert isinstance(metrics, Metrics)
        if not np.size(metrics.loss):
            return  # a run that had diverged before was started again
        now, tokens = time.perf_counter(), np.asarray(metrics.aux["tokens"], np.float64)
        rate, self._since = float(tokens.sum()) / (now - self._since), now
        aux = metrics.aux | {"tokens_per_second": np.full_like(tokens, rate)}
        super().write(step, metrics._replace(aux=aux))
        last = {name: float(getattr(metrics, name)[-1]) for name in ("loss", "gradient_norm", "update_norm")}
        told = {name: value for name, value in last.items() if not math.isnan(value)}
        self.board(step, told | {"tokens_per_second": rate})
        words = f"loss {last['loss']:.3f}  |g| {last['gradient_norm']:.2g}  {rate:,.0f} tokens/s"
        self._show(step + len(tokens), words)

    def update(self, step: int, loss: float, gradient_norm: float, tokens: int) -> None:
        """Appends one update of a loop without a `Trainer`; what only that knows stands as NaN."""
        values: dict[str, Any] = dict.fromkeys(set(Metrics._fields) - {"aux", "quantities"}, np.full(1, np.nan))
        values |= {"loss": np.array([loss]), "gradient_norm": np.array([gradient_norm])}
        self.write(step, Metrics(**values, aux={"tokens": np.array([tokens])}))

    def rest(self) -> None:
        """Time that has passed until now was not spent on updates."""
        self._since = time.perf_counter()


@contextlib.contextmanager
def following(
    folder: Path, place: str, title: str, bar: Progress, start: int, until: int, tensorboard: bool
) -> Iterator[UpdateLog]:
    """Yields the log of updates from `start` on, at its place in the folder."""
    task = bar.add_task(title, total=until, completed=start)

    def show(made: int, words: str) -> None:
        bar.update(task, completed=made, description=f"{title}  {words}")

    with _board(folder / "tensorboard" / place, tensorboard, start) as board:
        try:
            log = UpdateLog(folder / "logs" / f"{place}.jsonl", start, board, show)
        except ValueError as error:
            raise Failed(f"{title}: {error}") from error
        with log:
            yield log
    bar.remove_task(task)


def display(console: Console) -> Progress:
    """Loss, norm of the gradient, speed, and the time left, estimated from the last ten minutes."""
    columns = (TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, speed_estimate_period=600)


@contextlib.contextmanager
def _board(folder: Path, wanted: bool, start: int) -> Iterator[Board]:
    if not wanted:
        yield lambda step, values: None
        return
    # Steps of an interrupted run that are made again hide those written before.
    with importlib.import_module("tensorboardX").SummaryWriter(str(folder), purge_step=start) as writer:

        def write(step: int, values: dict[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name.replace(".", "/"), value, step)

        yield write
