"""The work of the main job in its order, with progress: measure every length, then train and measure again."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.progress import Progress, TaskID

from benchmarks.configurations import Configuration, Sizes, by_dynamics
from benchmarks.measure import Keys, draw, keys_of, measure
from benchmarks.results import Results
from benchmarks.settings import Settings
from benchmarks.source import Source
from benchmarks.training import Method, train

# For the estimate of the time left, in steps of a sequence: what compiling one measurement, and one training, costs.
COMPILING, COMPILING_TRAINING = 1500, 6000
Group = Sequence[Configuration]


@dataclass
class Run:
    """Fills `results` and calls `save` whenever something is complete; interrupted, it saves what there is."""

    settings: Settings
    source: Source
    results: Results
    save: Callable[[], None]
    progress: Progress
    keys: Keys = field(init=False)
    task: TaskID = field(init=False)

    def __post_init__(self):  # noqa: D105
        self.keys = keys_of(self.settings.seed, self.settings.seeds)
        self.task = self.progress.add_task("", total=None)

    def __call__(self) -> None:
        """All of it, shortest length first; the trained networks group by group."""
        settings, longest = self.settings, max(self.settings.lengths)
        groups = by_dynamics(self.results.configurations, self._sizes(longest))
        # Initialisers may know the length: with training, the networks of the longest one are measured at every length.
        start = [draw(g, self._sizes(longest), self.keys) if settings.train_steps else None for g in groups]
        self.progress.update(self.task, total=self._total(groups))
        try:
            for length in settings.lengths:
                for group, params in zip(groups, start, strict=True):
                    self._measure(group, length, 0, params)
                self._saved(f"T = {length}", self.results.seconds[f"T = {length}"])
            for group in groups if settings.train_steps else ():
                begin, params = time.perf_counter(), self._train(group, longest)
                for length in settings.lengths:
                    self._measure(group, length, settings.train_steps, params)
                self._saved(f"after training, {_names(group)}", time.perf_counter() - begin)
        except KeyboardInterrupt:
            if self.results.measured:
                self.save()
            raise

    def _measure(self, group: Group, length: int, updates: int, params: Any) -> None:
        stage = f"T = {length} after training" if updates else f"T = {length}"
        self.progress.update(self.task, description=f"{stage}: {_names(group)}")
        settings, begin = self.settings, time.perf_counter()
        measured = measure(
            group, self.source, self._sizes(length), self.keys, settings.batch, settings.loss, settings.dtype, params
        )
        self.results.add(updates, length, measured)
        self.results.took(stage, time.perf_counter() - begin)
        self.progress.advance(self.task, COMPILING + length * len(group))

    def _train(self, group: Group, length: int) -> Any:
        settings, begin = self.settings, time.perf_counter()
        method = Method(settings.train_steps, settings.learning_rate, settings.batch, settings.dtype)

        def moved(updates: int) -> None:
            description = f"training, T = {length}, {updates} of {method.updates} updates: {_names(group)}"
            done = length * len(group) if updates else 0
            compiled = COMPILING_TRAINING if updates == 1 else 0
            self.progress.update(self.task, description=description, advance=done + compiled)

        moved(0)
        params, training = train(group, self.source, self._sizes(length), self.keys, method, moved)
        self.results.training.update(training)
        self.results.took(f"training: {_names(group)}", time.perf_counter() - begin)
        return params

    def _saved(self, what: str, seconds: float) -> None:
        self.save()
        self.progress.console.print(f"{what}: {seconds:.1f} s, figure and data written")

    def _sizes(self, length: int) -> Sizes:
        return Sizes(self.source.input_size, self.settings.hidden_size, length)

    def _total(self, groups: Sequence[Group]) -> int:
        updates, lengths = self.settings.train_steps, self.settings.lengths
        measuring = sum(COMPILING + length * len(group) for length in lengths for group in groups)
        training = sum(COMPILING_TRAINING + updates * max(lengths) * len(group) for group in groups)
        return 2 * measuring + training if updates else measuring


def _names(group: Group) -> str:
    return ", ".join(configuration.name for configuration in group)
