"""The shell of an application: its settings, its data, real or made, its runs one after the other, and its files."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.command import Failed, check_seed, command, ready_folder
from benchmarks.environment import Device, little_optimisation, use_device
from experiments import output
from experiments.fitting import Fitting, forget, refuse_others
from experiments.following import display
from jaxrnn.data import is_present
from jaxrnn.train import Diverged

REAL, MADE, DRAWN = "real", "made", "drawn"  # drawn: no files are read at all


@dataclass(frozen=True)
class Common:
    """The settings of every application."""

    seed: int = 0
    """The key from which every draw follows."""
    data: Path | None = None
    """Folder of the data sets; what is missing is downloaded into it. Default: the variable JAXRNN_DATA, else jaxrnn in
    the user's cache folder."""
    out: Path | None = None
    """Folder for the results and checkpoints. Default: scratch/NAME, of a smoke run scratch/smoke/NAME."""
    device: Device | None = None
    """Where to compute. Default: what JAX takes."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard too, into OUT/tensorboard."""
    smoke: bool = False
    """A quick look that all works: small sizes and few updates replace the settings; on real data where
    the data folder holds them or --data names one, else on made data of the same format."""


class Row(NamedTuple):
    """A line of the table of all applications: what was measured here, and what is published of the same."""

    setting: str
    metric: str
    here: str
    published: str  # with its source; "none" where there is none
    gap: str


@dataclass(frozen=True)
class Application:
    """What is an application's own; `main` is its command.

    Fields:
        name: Of its module and of its folder of results.
        settings: A dataclass that inherits Common; its docstring is the help.
        small: The settings that a smoke run replaces.
        check: Raises ValueError where a setting cannot be used.
        files: From settings to the data files that are read, as `jaxrnn.data.locate` knows them; none where all is
            drawn.
        read: The data from the files.
        make: Data of the same format, made.
        runs: From settings and data to what is to be run, by name; each run is handed a Fitting, and gives what
            results.json keeps of it.
        draw: The picture, from results.json alone.
        to_markdown: The table and what else is to be read, from results.json alone.
        rows: The lines of the table of all applications, from results.json alone.
        extra: Other files besides, by name their content, from results.json alone.
        peers: Packages whose versions are recorded besides, where they are installed.
        finish: Raises Failed, after all files are written, where the results miss what they have to reach.
    """

    name: str
    settings: type[Common]
    small: dict[str, Any]
    check: Callable[[Any], None]
    files: Callable[[Any], tuple[str, ...]]
    read: Callable[[Any], Any]
    make: Callable[[Any], Any]
    runs: Callable[[Any, Any], dict[str, Callable[[Fitting], dict[str, Any]]]]
    draw: Callable[[dict[str, Any]], Figure]
    to_markdown: Callable[[dict[str, Any]], str]
    rows: Callable[[dict[str, Any]], list[Row]]
    extra: Callable[[dict[str, Any]], dict[str, output.Writer]] = lambda results: {}
    peers: tuple[str, ...] = ()
    finish: Callable[[dict[str, Any]], None] = lambda results: None

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """The command; returns its exit code, as `benchmarks.command` says."""
        return command(self.settings, self._plan, self._run, arguments)

    def _plan(self, settings: Any) -> tuple[Any, ...]:
        """Checks everything before anything is computed or written."""
        check_seed(settings)
        if settings.smoke:
            settings = replace(settings, **self.small)
        self.check(settings)
        if settings.tensorboard:
            try:
                importlib.import_module("tensorboardX")
            except ImportError as error:
                raise ValueError(
                    f"--tensorboard: tensorboardX cannot be imported ({error}). pip install 'jaxrnn[applications]', "
                    "or leave the flag out."
                ) from error
        use_device(settings.device)
        files = self.files(settings)
        kind = REAL if files else DRAWN
        if settings.smoke and settings.data is None and not all(map(is_present, files)):
            kind = MADE
        runs = self.runs(settings, self.make(settings) if kind == MADE else self.read(settings))
        folder = ready_folder(settings.out, f"smoke/{self.name}" if settings.smoke else self.name)
        if not _is_ours_to_empty(settings):
            refuse_others(folder, runs, output.identity(settings, kind, self._peers()))
        return settings, kind, runs, folder

    def _run(self, settings: Any, kind: str, runs: dict[str, Callable], folder: Path, messages: Console) -> None:
        """One run after the other; all files are written after each."""
        again, peers = _is_ours_to_empty(settings), self._peers()
        results = output.open_results(folder, settings, ("seconds",), messages, peers, {"data": kind}, again)
        left = [name for name in runs if name not in results["parts"]]
        if again and not results["parts"]:
            forget(folder)  # a second look computes anew
        about = output.identity(settings, kind, peers)
        # A smoke run computes little, and would spend most of its time in the compiler.
        with display(messages) as bar, little_optimisation(settings.smoke):
            for number, name in enumerate(left, start=1):
                fitting = Fitting(name, f"{name} ({number} of {len(left)})", settings, about, folder, bar)
                with fitting.clock() as seconds:
                    try:
                        part = runs[name](fitting)
                    except Diverged as error:
                        raise Failed(f"{name}: {error}") from error
                results["parts"][name] = part | {"seconds": round(seconds(), 1)}
                self._write(folder, results)
        results["finished"] = True
        self._write(folder, results)
        print(self.to_markdown(results))
        self.finish(results)

    def _peers(self) -> list[str]:
        return [name for name in self.peers if importlib.util.find_spec(name)]

    def _write(self, folder: Path, results: dict[str, Any]) -> None:
        draw, table = (lambda: self.draw(results)), self.to_markdown(results)
        output.write(folder, self.name, draw, table, results, self.extra(results))


def _is_ours_to_empty(settings: Common) -> bool:
    """Whether the folder holds smoke runs alone."""
    return settings.smoke and settings.out is None
