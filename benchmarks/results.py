"""All that a run has measured so far, for the figure and the files; knows nothing of how it was measured."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.configurations import Configuration
from benchmarks.measure import Measurement


@dataclass
class Results:
    """Measurements by length and configuration, shortest length first, with the settings that they hold for."""

    configurations: list[Configuration]
    settings: dict[str, Any]
    title: str
    subtitle: str
    source: str
    measured: dict[int, dict[str, Measurement]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)

    def add(self, length: int, measurements: dict[str, Measurement], seconds: float) -> None:
        """Keeps what one compiled call gave."""
        self.measured.setdefault(length, {}).update(measurements)
        self.seconds[length] = self.seconds.get(length, 0.0) + seconds

    @property
    def longest(self) -> int:
        """The longest length measured for every configuration, or for as many as there are."""
        return max(self.measured, key=lambda length: (len(self.measured[length]), length))
