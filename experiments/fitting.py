"""The training of one run of an application: logs, evaluations, checkpoints, progress, the best state at the end."""

import contextlib
import math
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.progress import Progress

from benchmarks.command import Failed
from experiments.following import UpdateLog, following
from jaxrnn import files
from jaxrnn.train import Checkpoints, MetricsLog, Trainer, TrainState, read_log, run

History = dict[str, list[float]]
LARGEST = 100.0  # nats; exp of it is a number still


class Fitting:
    """Trains for one named run of an application, into its folder."""

    def __init__(self, name: str, title: str, settings: Any, about: dict[str, Any], folder: Path, bar: Progress):
        """Called by `Application`, with a title for the display, and what the numbers depend on."""
        self.name, self._title, self._folder, self._bar = name, title, folder, bar
        self._settings, self.about = settings, about

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
            The parameters with the lowest score, and the history: `step`, `training_loss`, the mean since the
            evaluation before, and the figures of each evaluation, which have other names.
        """
        place, logs = self._place(part), self._folder / "logs"
        checkpoints = Checkpoints(self._folder / "checkpoints" / place, self.about, keep_last=1)
        try:
            restored = checkpoints.restore(state)
            evaluated = read_log(logs / f"{place}.validation.jsonl").get("step", ())
        except ValueError as error:
            raise Failed(f"{self.name}: {error}") from error
        fresh, state = state, state if restored is None else restored
        start = int(state.step)
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(self.follow(start, until, part))
            evaluations = stack.enter_context(MetricsLog(logs / f"{place}.validation.jsonl", start + 1))

            def scored(state: TrainState) -> float:
                found = evaluate(state.params)
                evaluations.write(int(state.step), {name: np.float64(value) for name, value in found.items()})
                log.board(int(state.step), {f"validation.{name}": value for name, value in found.items()})
                log.rest()
                return score(found)

            if start and (start % every == 0 or start == until) and start not in evaluated:
                checkpoints.save(state, scored(state))  # it was interrupted in the evaluation
            how = {"block": block, "every": every, "evaluate": scored, "checkpoints": checkpoints}
            run(trainer, state, batch_at, until, log=log, **how)
        best = checkpoints.restore_best(fresh)
        assert best is not None
        return best.params, _history(logs / f"{place}.jsonl", logs / f"{place}.validation.jsonl")

    @contextlib.contextmanager
    def clock(self) -> Iterator[Callable[[], float]]:
        """Yields a function that tells the seconds spent on this run, those before an interrupt included."""
        folder, name, begin, before = self._folder / "logs", f"{self._place()}.seconds", time.perf_counter(), 0.0
        with contextlib.suppress(OSError, ValueError):  # the first time, or a disk that was full
            before = float((folder / name).read_text())
        try:
            yield lambda: before + time.perf_counter() - begin
        finally:
            folder.mkdir(parents=True, exist_ok=True)
            files.write_all(folder, {name: files.text(str(before + time.perf_counter() - begin))})

    def own_folder(self) -> Path:
        """Where a loop of one's own keeps its state."""
        folder = self._folder / "checkpoints" / self._place()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def follow(self, start: int, until: int, part: str | None = None) -> contextlib.AbstractContextManager[UpdateLog]:
        """A context that yields the log of the updates, for a loop of one's own."""
        title = self._title if part is None else f"{self._title}, {part}"
        return following(self._folder, self._place(part), title, self._bar, start, until, self._settings.tensorboard)

    def speed(self) -> float | None:
        """Tokens a second, the median over all updates; None where the log is gone."""
        rates = read_log(self._folder / "logs" / f"{self._place()}.jsonl").get("aux.tokens_per_second")
        return None if rates is None else float(np.median(rates))

    def _place(self, part: str | None = None) -> str:
        return _slug(self.name if part is None else f"{self.name}, {part}")


def mean_loss(found: Iterable[tuple[Any, dict[str, Any]]]) -> float:
    """The mean over all tokens of a split, from the loss and `aux["tokens"]` of each of its batches."""
    means, counts = np.array([(float(mean), float(aux["tokens"])) for mean, aux in found]).T
    return float(np.average(means, weights=counts))


def perplexity(nats: float) -> float:
    """exp of the mean nats a token.

    Raises:
        Failed: it is no number or beyond all bounds, which guessing is far from.
    """
    if not nats < LARGEST:
        raise Failed(f"the loss is {nats:.4g} nats a token: training diverged. Give a smaller --rate.")
    return math.exp(nats)


def parameters(params: Any) -> int:
    """How many numbers are trained."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


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


def _history(log: Path, validation: Path) -> History:
    none = np.zeros(0)
    updates, evaluations = {"step": none, "loss": none} | read_log(log), {"step": none} | read_log(validation)
    steps = evaluations.pop("step").astype(int)
    # Means over what was trained between two evaluations.
    parts = np.split(updates["loss"], np.searchsorted(updates["step"], steps))[: len(steps)]
    losses = [float(np.mean(part)) if len(part) else float("nan") for part in parts]
    columns = {name: list(map(float, column)) for name, column in evaluations.items()}
    assert "training_loss" not in columns
    return {"step": steps.tolist(), "training_loss": losses} | columns
