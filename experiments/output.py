"""What the experiments share around their subject: settings checked, progress with the time left, files of a run."""

import contextlib
import dataclasses
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.environment import machine, versions
from benchmarks.figure import GREY, save
from benchmarks.report import prepare_folder, write_atomically, write_text

Checked = TypeVar("Checked")


def check_at_least(settings: Any, least: int, *names: str) -> None:
    """Raises ValueError where a setting of such a name, a number or some, is smaller."""
    for name in names:
        value = getattr(settings, name)
        if min(value if isinstance(value, tuple) else (value,), default=least - 1) < least:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag}: must be at least {least}, got {value}. Give a larger number.")


def command(
    kind: type[Checked],
    plan: Callable[[Checked], tuple[Checked, Path]],
    run: Callable[[Checked, Path, Console], None],
    arguments: Sequence[str] | None,
) -> int:
    """Reads settings from the command line, plans and runs; returns the exit code.

    Args:
        kind: A dataclass of settings, whose docstring is the help.
        plan: Checks them before anything is computed or written, and gives the final ones with the folder for results.
        run: Computes and writes.
        arguments: The command line. None: that of the process.

    Returns:
        0, 2 where `plan` raised a ValueError or the results could not be written, 130 after an interrupt.
    """
    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    settings = tyro.cli(kind, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
    try:
        settings, folder = plan(settings)
    except ValueError as error:
        messages.print(f"error: {error}", markup=False)
        return 2
    try:
        run(settings, folder, messages)
    except KeyboardInterrupt:
        messages.print(f"Interrupted. The same command goes on from what is finished in {folder}.", markup=False)
        return 130
    except OSError as error:
        messages.print(
            f"error: cannot write to {folder}: {error.strerror}. Make room, or choose another --out; the same command "
            "goes on from what is finished.",
            markup=False,
        )
        return 2
    messages.print(f"Results: {folder}", markup=False)
    return 0


def ready_folder(out: Path | None, name: str) -> Path:
    """The folder for results, made and known to be writable. Default: scratch/NAME.

    Raises:
        ValueError: it cannot be written to.
    """
    folder = out or Path(__file__).resolve().parents[1] / "scratch" / name
    prepare_folder(folder)
    return folder


def new_results(settings: Any, peers: Sequence[str] = ()) -> dict[str, Any]:
    """What results.json holds before anything is computed; settings less where files are.

    Args:
        settings: A dataclass.
        peers: Packages whose versions are recorded besides.
    """
    kept = {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("out", "data")}
    packages = {name: importlib.metadata.version(name) for name in ("optax", "flax", *peers)}
    start = {"settings": kept, "versions": versions() | packages, "machine": machine()}
    return json.loads(json.dumps(start | {"finished": False, "parts": {}}))


def open_results(folder: Path, settings: Any, messages: Console, peers: Sequence[str] = ()) -> dict[str, Any]:
    """As `new_results`, with the parts of an earlier run that was interrupted, if all else is the same."""
    results = new_results(settings, peers)
    with contextlib.suppress(OSError, ValueError):
        earlier = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        if earlier | {"parts": {}} == results:
            messages.print(f"Kept from an interrupted run: {', '.join(earlier['parts'])}.", markup=False)
            return earlier
    return results


def progress(console: Console) -> Progress:
    """A bar with the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    return Progress(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console)


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table whose first column is text."""
    lines = [headings, ("---", *["---:"] * (len(headings) - 1)), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def plain(numbers: Any) -> Any:
    """Numbers of any shape as nested lists for JSON, with five digits, None where one is not finite."""
    if np.ndim(numbers):
        return [plain(part) for part in numbers]
    return float(f"{float(numbers):.5g}") if np.isfinite(numbers) else None


def titled(title: str, subtitle: Sequence[str]) -> Figure:
    """An empty figure with a title and lines below it; axes fit into its lower 78%."""
    figure = Figure(figsize=(13.33, 7.5), dpi=120)
    figure.text(0.03, 0.95, title, fontsize=21, weight="bold", va="center")
    for line, words in enumerate(subtitle):
        figure.text(0.03, 0.895 - 0.043 * line, words, fontsize=12.5, color=GREY, va="center")
    return figure


def panel(figure: Figure, place: tuple[float, float, float, float], title: str, across: str) -> Axes:
    """Axes at (left, bottom, width, height)."""
    axes = figure.add_axes(place)
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.grid(axis="y", color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    return axes


def write(folder: Path, name: str, figure: Figure, table: str, results: dict[str, Any]) -> None:
    """NAME.png, NAME.svg, table.md and results.json; each whole, in place of the one before."""
    write_text(folder / "results.json", json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(folder / "table.md", table)
    for kind in ("png", "svg"):
        write_atomically(folder / f"{name}.{kind}", lambda path: save(figure, path))
