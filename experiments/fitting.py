"""The training of one run of an application: logs, evaluations, checkpoints, progress, the best state at the end."""

import contextlib
import importlib
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.command import Failed
from experiments import output
from jaxrnn.train import Checkpoints, Metrics, MetricsLog, Trainer, TrainState, read_log, run

History = dict[str, list[float]]


class Fitting:
    """Trains for one named run of an application, into its folder; `settings` and `kind` are the application's."""

    def __init__(self, name: str, title: str, settings: Any, kind: str, folder: Path, bar: Progress):
        """Called by `Application`, with a title for the display."""
        self.name, self._title, self._folder, self._bar = name, title, folder, bar
        self._settings, self._about = settings, output.configuration(settings) | {"data": kind}

    def fit(
        self,
        trainer: Trainer,
        state: TrainState,
        batch_at: Callable[[int], Any],
        until: int,
        *,
        every: int,
        evaluate: Callable[[Any], dict[str, float]],
        score: Callable[[dict[str, float]], float],
        block: int = 10,
        part: str | None = None,
    ) -> tuple[Any, History]:
        """Trains on from where an interrupted run stopped, to the same bits; gives the best parameters and how it went.

        The loss of the trainer gives `aux["tokens"]`, the number of scored steps, by which speed is told.

        Args:
            trainer: Makes the updates.
            state: Where a new run starts.
            batch_at: As for `jaxrnn.train.run`.
            until: Updates in all.
            every: Updates between two evaluations, each of which is a checkpoint too.
            evaluate: Figures of some parameters on the validation split.
            score: What of these decides which parameters are best, lower is better.
            block: Updates in one compiled call.
            part: What this is called where a run trains several times.

        Returns:
            The parameters with the lowest score, and the history: `step`, the figures of each evaluation, and
            `loss`, the mean training loss since the one before.
        """
        name = self.name if part is None else f"{self.name}, {part}"
        place, title = _slug(name), self._title if part is None else f"{self._title}, {part}"
        checkpoints = Checkpoints(self._folder / "checkpoints" / place, self._about, keep_last=1)
        try:
            restored = checkpoints.restore(state)
        except ValueError as error:
            raise Failed(f"{name}: {error}") from error
        fresh, state = state, state if restored is None else restored
        start, logs = int(state.step), self._folder / "logs"
        task = self._bar.add_task(title, total=until, completed=start)
        with contextlib.ExitStack() as stack:
            evaluated = read_log(logs / f"{place}.validation.jsonl").get("step", ())
            board = stack.enter_context(_board(self._folder / "tensorboard" / place, self._settings.tensorboard, start))
            log = stack.enter_context(_Log(logs / f"{place}.jsonl", start, board))
            evaluations = stack.enter_context(MetricsLog(logs / f"{place}.validation.jsonl", start + 1))

            def scored(state: TrainState) -> float:
                found = evaluate(state.params)
                evaluations.write(int(state.step), {name: np.float64(value) for name, value in found.items()})
                board(int(state.step), {f"validation.{name}": value for name, value in found.items()})
                log.rest()
                return score(found)

            def report(position: int, metrics: Metrics) -> None:
                if not np.size(metrics.loss):
                    return
                words = f"{title}  loss {metrics.loss[-1]:.3f}  |g| {metrics.gradient_norm[-1]:.2g}  {log.speed}"
                self._bar.update(task, completed=position, description=words)

            if start and (start % every == 0 or start == until) and start not in evaluated:
                checkpoints.save(state, scored(state))  # it was interrupted in the evaluation
            how = {"block": block, "every": every, "evaluate": scored, "checkpoints": checkpoints}
            run(trainer, state, batch_at, until, log=log, report=report, **how)
        self._bar.remove_task(task)
        best = checkpoints.restore_best(fresh)
        assert best is not None
        return best.params, _history(logs / f"{place}.jsonl", logs / f"{place}.validation.jsonl")

    @contextlib.contextmanager
    def clock(self) -> Iterator[Callable[[], float]]:
        """Yields a function that tells the seconds spent on this run, those before an interrupt included."""
        path, begin = self._folder / "logs" / f"{_slug(self.name)}.seconds", time.perf_counter()
        before = float(path.read_text()) if path.exists() else 0.0
        try:
            yield lambda: before + time.perf_counter() - begin
        finally:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(before + time.perf_counter() - begin))

    def own_folder(self) -> Path:
        """Where a loop of one's own keeps its state."""
        folder = self._folder / "checkpoints" / _slug(self.name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def track(self, steps: Iterable[int]) -> Iterable[int]:
        """The steps of a loop of one's own, with progress."""
        return self._bar.track([*steps], description=self._title)


def display(console: Console) -> Progress:
    """Loss, norm of the gradient, speed, and the time left, estimated from the last ten minutes."""
    columns = (TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, speed_estimate_period=600)


def refuse_others(folder: Path, names: Iterable[str], about: dict[str, Any]) -> None:
    """Raises ValueError where the checkpoints of a run in the folder are those of other settings."""
    for name in names:
        for place in sorted((folder / "checkpoints").glob(f"{_slug(name)}*")):
            Checkpoints(place, about)


def forget(folder: Path) -> None:
    """Removes checkpoints and logs, if there are any."""
    for name in ("checkpoints", "logs", "tensorboard"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


class _Log(MetricsLog):
    """The metrics of every update, with the speed, also for TensorBoard."""

    def __init__(self, path: Path, step: int, board: Callable[[int, dict[str, float]], None]):
        super().__init__(path, step)
        self._board, self._since, self._rate = board, time.perf_counter(), 0.0

    def write(self, step: int, metrics: Metrics | dict[str, Any]) -> None:
        """Appends a block of updates."""
        assert isinstance(metrics, Metrics)
        if not np.size(metrics.loss):
            return  # a run that had diverged before was started again
        now, tokens = time.perf_counter(), np.asarray(metrics.aux["tokens"], np.float64)
        self._rate, self._since = float(tokens.sum()) / (now - self._since), now
        aux = metrics.aux | {"tokens_per_second": np.full_like(tokens, self._rate)}
        super().write(step, metrics._replace(aux=aux))
        last = {"loss": metrics.loss, "gradient_norm": metrics.gradient_norm, "update_norm": metrics.update_norm}
        self._board(step, {name: float(values[-1]) for name, values in last.items()})
        self._board(step, {"tokens_per_second": self._rate})

    def rest(self) -> None:
        """Time that has passed until now was not spent on updates."""
        self._since = time.perf_counter()

    @property
    def speed(self) -> str:
        """Of the last block, in words."""
        return f"{self._rate:,.0f} tokens/s"


@contextlib.contextmanager
def _board(folder: Path, wanted: bool, start: int):
    """A function that writes scalars for TensorBoard, or does nothing."""
    if not wanted:
        yield lambda step, values: None
        return
    # Steps of an interrupted run that are made again hide those written before.
    with importlib.import_module("tensorboardX").SummaryWriter(str(folder), purge_step=start) as writer:

        def write(step: int, values: dict[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name.replace(".", "/"), value, step)

        yield write


def _history(log: Path, validation: Path) -> History:
    updates, evaluations = read_log(log), read_log(validation)
    steps = evaluations["step"].astype(int)
    # Means over what was trained between two evaluations.
    parts = np.split(updates["loss"], np.searchsorted(updates["step"], steps))[: len(steps)]
    losses = [float(np.mean(part)) if len(part) else float("nan") for part in parts]
    columns = {name: list(map(float, column)) for name, column in evaluations.items() if name != "step"}
    return {"step": steps.tolist(), "loss": losses} | columns
