"""All that a run has measured so far, for the figure and the files; knows nothing of how it was measured."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.configurations import Configuration
from benchmarks.measure import Measurement
from benchmarks.source import Objective
from benchmarks.training import Training

ByLength = dict[int, dict[str, Measurement]]


@dataclass
class Results:
    """Measurements by updates of training, length and configuration, with the settings that they hold for.

    `objective` and `baseline` are those of training, None without it; `seconds` is the time of each stage.
    """

    configurations: list[Configuration]
    settings: dict[str, Any]
    title: str
    subtitle: str
    source: str
    objective: Objective | None = None
    baseline: float | None = None
    measured: dict[int, ByLength] = field(default_factory=dict)
    training: dict[str, Training] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, updates: int, length: int, measurements: dict[str, Measurement]) -> None:
        """Keeps what one compiled call gave; 0 updates stands for networks at initialisation."""
        self.measured.setdefault(updates, {}).setdefault(length, {}).update(measurements)

    def took(self, stage: str, seconds: float) -> None:
        """Adds to the time that a stage of the work has taken."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @property
    def longest(self) -> int:
        """The longest length measured at initialisation for every configuration, or for as many as there are."""
        measured = self.measured[0]
        return max(measured, key=lambda length: (len(measured[length]), length))

    @property
    def trained(self) -> int:
        """The updates after which networks were measured again, 0 if none has been yet."""
        return max(self.measured)

    def curves(self, updates: int, name: str) -> dict[int, Measurement]:
        """One configuration by length, shortest first."""
        by_length = self.measured.get(updates, {})
        return {length: by_length[length][name] for length in sorted(by_length) if name in by_length[length]}
