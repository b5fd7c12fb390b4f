"""What the experiments share around their subject: the data of a run that goes on after an interrupt, and its files."""

import contextlib
import dataclasses
import importlib.metadata
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.environment import machine, versions
from benchmarks.figure import GREY, save
from jaxrnn import files
from jaxrnn.gradients.findings import SINGLE_RATE

Writer = files.Writer
_ELSEWHERE = ("out", "data", "device", "tensorboard")  # settings that change where things are, and no number
# From below to above zero; the colour-blind tell them apart, and dark letters are read on both.
ORANGE_BLUE = LinearSegmentedColormap.from_list("orange-blue", ["#E08214", "#FFFFFF", "#4393C3"])


def configuration(settings: Any) -> dict[str, Any]:
    """The settings, a dataclass, that the numbers depend on."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in _ELSEWHERE}


def identity(settings: Any, kind: str, peers: Sequence[str] = ()) -> dict[str, Any]:
    """All that the bits of a run depend on: settings, kind of data, versions and device."""
    return configuration(settings) | {"data": kind, "versions": _packages(peers), "device": machine()["device"]}


def new_results(settings: Any, peers: Sequence[str] = ()) -> dict[str, Any]:
    """What results.json holds before anything is computed; settings less where files are.

    Args:
        settings: A dataclass.
        peers: Packages whose versions are recorded besides.
    """
    kept = configuration(settings)
    start = {"settings": kept, "versions": _packages(peers), "machine": machine()}
    return json.loads(json.dumps(start | {"finished": False, "parts": {}}))


def _packages(peers: Sequence[str]) -> dict[str, str]:
    return versions() | {name: importlib.metadata.version(name) for name in ("flax", *peers)}


def open_results(
    folder: Path,
    settings: Any,
    fields: Iterable[str],
    messages: Console,
    peers: Sequence[str] = (),
    about: dict[str, Any] | None = None,
    again: bool = True,
) -> dict[str, Any]:
    """As `new_results`, with the parts of an earlier run that did not finish, if all else is the same.

    Args:
        folder: Where an earlier results.json may be.
        settings: A dataclass.
        fields: What every part has to hold; a file with others is no earlier run.
        messages: Told what is kept.
        peers: Packages whose versions are recorded besides.
        about: What else the numbers depend on, recorded besides.
        again: Whether to compute again what has finished; else its parts are kept too.
    """
    results = new_results(settings, peers) | (about or {})
    with contextlib.suppress(OSError, ValueError):
        earlier = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        ignored = {"parts": {}} | ({} if again else {"finished": False})
        if isinstance(earlier, dict) and earlier | ignored == results and _whole(earlier.get("parts"), {*fields}):
            messages.print(f"Kept from an earlier run: {', '.join(earlier['parts'])}.", markup=False)
            return earlier
    return results


def _whole(parts: Any, fields: set[str]) -> bool:
    return isinstance(parts, dict) and all(isinstance(part, dict) and fields <= {*part} for part in parts.values())


def about(results: dict[str, Any]) -> str:
    """A line that says on what an application was computed: its data, device and time."""
    minutes, cores = sum(part["seconds"] for part in results["parts"].values()) / 60, results["machine"]["cores"]
    where = f"{cores} core{'s' * (cores > 1)}" if (device := results["machine"]["device"]) == "cpu" else device
    return f"On {results['data']} data and {where}, {minutes:.1f} minutes in all.\n"


def plain(numbers: Any) -> Any:
    """Numbers of any shape, or a dict of such, as lists for JSON, with five digits, None where one is not finite."""
    if isinstance(numbers, dict):
        return {name: plain(part) for name, part in numbers.items()}
    if np.ndim(numbers):
        return [plain(part) for part in numbers]
    return float(f"{float(numbers):.5g}") if np.isfinite(numbers) else None


def half_life(rate: float | None, r_squared: float | None) -> str:
    """The half-life, or the time to double, in steps, with the R^2 of the one rate; words where there is none."""
    if rate is None or r_squared is None:
        return "no fit"
    if r_squared < SINGLE_RATE or rate == 0:
        return f"no single rate (R² {r_squared:.2f})"
    steps = math.log(2) / abs(rate)
    number = f"{steps:.{2 if steps < 10 else 1 if steps < 100 else 0}f} (R² {r_squared:.2f})"
    return number if rate < 0 else f"doubles in {number}"


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


def write(
    folder: Path,
    name: str,
    draw: Callable[[], Figure],
    table: str,
    results: dict[str, Any],
    extra: dict[str, Writer] | None = None,
) -> None:
    """results.json, table.md, NAME.png and NAME.svg, and what else there is.

    The data of a run that goes on are there whatever becomes of the picture; finished is one that has all its files.
    """
    content = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    texts = {"results.json": files.text(content), "table.md": files.text(table)} | (extra or {})
    if not results["finished"]:
        files.write_all(folder, texts)
    figure = draw()
    pictures = {f"{name}.{kind}": lambda path: save(figure, path) for kind in ("png", "svg")}
    files.write_all(folder, texts | pictures)
