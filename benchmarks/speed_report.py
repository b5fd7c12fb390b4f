"""The data, the table and the picture of the speed benchmark."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from benchmarks.peers import JAX_PEERS, OURS, PEERS
from benchmarks.problems import LINEAR, NONLINEAR, Shape
from benchmarks.programs import MODES
from jaxrnn import files

Row = dict[str, Any]
# Colours that the colour-blind tell apart, and a mark of its own for each.
STYLES = {
    "lax.scan": ("#000000", "x"),
    "associative_scan": ("#CC79A7", "P"),
    "flax.linen": ("#D55E00", "o"),
    "flax.nnx": ("#E69F00", "s"),
    "haiku": ("#009E73", "^"),
    "equinox": ("#56B4E9", "v"),
    "keras": ("#CC79A7", "D"),
    "cudnn": ("#999999", "*"),
    "torch": ("#0072B2", "P"),
}


TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20)  # of ratios
LONG = 512  # steps from which on memory is compared


def key(row: Row) -> tuple:
    """What tells a row from the others."""
    return row["cell"], row["shape"], row["dtype"], row["mode"]


def read(path: Path, header: dict[str, Any]) -> list[Row]:
    """Rows that an earlier run left; none where there is no such file.

    Raises:
        ValueError: they are of other settings, peers, versions, sources or of another machine.
    """
    try:
        first, *rest = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    except (FileNotFoundError, ValueError):
        return []
    now = json.loads(json.dumps(header))
    if differing := [name for name in now if first.get(name) != now[name]]:
        raise ValueError(
            f"--out: {path} holds rows that were measured with other {', '.join(differing)}. Name another folder, or "
            "remove that file."
        )
    return [row | {"shape": Shape(**row["shape"])} for row in rest]


def write(folder: Path, header: dict[str, Any], rows: list[Row]) -> None:
    """All files, from all rows."""
    lines = [header, *(row | {"shape": row["shape"]._asdict()} for row in rows)]
    figure = draw(rows)
    written: dict[str, files.Writer] = {
        "speed.jsonl": files.text("".join(json.dumps(line) + "\n" for line in lines)),
        "speed.md": files.text(to_markdown(header, rows)),
        "speed.png": lambda path: figure.savefig(path, dpi=150),
    }
    files.write_all(folder, written)


def label(row: Row) -> str:
    """The cell and (B, T, D, H)."""
    dtype = "" if row["dtype"] == "float32" else f", {row['dtype']}"
    return f"{row['cell']} ({', '.join(map(str, row['shape']))}{dtype})"


def untimed(row: Row) -> list[str]:
    """Peers that failed or compute something else."""
    return [name for name, found in row["peers"].items() if "ms" not in found]


def best(row: Row, peers: Iterable[str]) -> tuple[str, float]:
    """The fastest of some peers and the ratio to it; ("", nan) where none was timed."""
    timed = {name: row["peers"][name]["ratio"][1] for name in peers if "ratio" in row["peers"].get(name, ())}
    name = max(timed, key=timed.__getitem__, default="")
    return name, timed.get(name, math.nan)


def geometric_mean(values: Sequence[float]) -> float:
    """exp of the mean logarithm."""
    return float(np.exp(np.mean(np.log(values))))


def above_limit(row: Row) -> float:
    """(ours - limit) / (fastest JAX peer - limit); a limit that one of them beat is taken as 0.95 of the faster."""
    name, _ = best(row, JAX_PEERS)
    if not name:
        return math.nan
    ours, theirs = row["peers"][OURS]["ms"][1], row["peers"][name]["ms"][1]
    limit = min(row["limit_ms"], 0.95 * min(ours, theirs))
    return (ours - limit) / (theirs - limit)


def beside_linen(what: str, row: Row) -> float:
    """jaxrnn's compile time or temporary memory as a share of flax.linen's.

    Of memory what nobody does without is left out: the outputs and their cotangents.
    """
    ours, theirs = (row["peers"].get(name, {}).get(what) for name in (OURS, "flax.linen"))
    if ours is None or theirs is None:
        return math.nan
    shape, bytes_each = row["shape"], 4 if row["dtype"] == "float32" else 2
    needed = 2 * bytes_each * shape.time * shape.batch * shape.hidden / 2**20 if what == "temporary_mib" else 0
    return (ours - needed) / (theirs - needed)


def summary(rows: list[Row]) -> str:
    """Geometric means and the worst row of what the tables hold."""
    lines = []

    def add(what: str, of: list[Row], ratio: Callable[[Row], float]) -> None:
        found = {label(row): ratio(row) for row in of if ratio(row) > 0}
        if found:
            worst = max(found, key=found.__getitem__)
            mean = f"{geometric_mean(list(found.values())):.2f}"
            lines.append((what, len(found), mean, f"{found[worst]:.2f}, {worst}"))

    for mode in MODES:
        nonlinear = [row for row in rows if row["mode"] == mode and row["cell"] in NONLINEAR]
        add(f"{mode}, fastest JAX peer", nonlinear, lambda row: best(row, JAX_PEERS)[1])
        if mode != "forward":
            add(f"{mode}, time above the limit", nonlinear, above_limit)
        add(f"{mode}, torch", nonlinear, lambda row: best(row, ["torch"])[1])
        lstm = [row for row in nonlinear if row["cell"] == "LSTM"]
        add(f"{mode}, torch, LSTM alone", lstm, lambda row: best(row, ["torch"])[1])
        linear = [row for row in rows if row["mode"] == mode and row["cell"] in LINEAR]
        add(f"{mode}, linear cells, fastest peer", linear, lambda row: best(row, JAX_PEERS)[1])
        add(f"{mode}, linear cells, lax.scan", linear, lambda row: best(row, ["lax.scan"])[1])
    trained = [row for row in rows if row["mode"] == "train"]
    add("train, compile time, flax.linen", trained, lambda row: beside_linen("compile_s", row))
    long = [row for row in trained if row["shape"].time >= LONG]
    add(f"train, memory beyond outputs, T >= {LONG}, flax.linen", long, lambda row: beside_linen("temporary_mib", row))
    return files.markdown_table(("beside", "rows", "geometric mean", "worst"), lines)


def to_markdown(header: dict[str, Any], rows: list[Row]) -> str:
    """Summary, ratios for each mode, and what a train step needs beside time."""
    found, used = header["machine"], header["versions"]
    parts = [
        "Ratios of times, jaxrnn to each library: medians, formed within one turn; below 1 jaxrnn is faster. Of the "
        f"fastest JAX peer with quartiles. {found['cores']} cores, {found['cpu']}, {found['device']}; "
        + ", ".join(f"{name} {version}" for name, version in used.items())
        + ".",
        summary(rows),
    ]
    names = [name for name in PEERS if name != OURS and any(name in row["peers"] for row in rows)]
    for mode in MODES:
        of_mode = [row for row in rows if row["mode"] == mode]
        if of_mode:
            headings = ("cell (B, T, D, H)", "jaxrnn, ms", "limit, ms", *names, "fastest JAX peer")
            parts += [f"## {mode.capitalize()}", files.markdown_table(headings, (_times(r, names) for r in of_mode))]
    trained = [row for row in rows if row["mode"] == "train"]
    for what, title, digits in COSTS:
        if trained:
            headings = ("cell (B, T, D, H)", OURS, *names)
            table = (
                (label(row), *(_number(row["peers"].get(name, {}).get(what), digits) for name in (OURS, *names)))
                for row in trained
            )
            parts += [f"## {title}", files.markdown_table(headings, table)]
    return "\n".join(parts)


COSTS = (
    ("temporary_mib", "Train: temporary memory, MiB (torch: growth of the resident set)", 1),
    ("compile_s", "Train: tracing and compiling, seconds", 2),
    ("page_faults", "Train: minor page faults of one step", 0),
)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _times(row: Row, names: list[str]) -> tuple[str, ...]:
    def ratio(name: str) -> str:
        found = row["peers"].get(name)
        if found is None:
            return ""
        return f"{found['ratio'][1]:.2f}" if "ratio" in found else "failed" if "failed" in found else "differs"

    name, _ = best(row, JAX_PEERS)
    low, _, high = row["peers"][name]["ratio"] if name else (math.nan,) * 3
    fastest = f"{name} ({low:.2f} to {high:.2f})" if name else ""
    limit = "" if row["limit_ms"] is None else _milliseconds(row["limit_ms"])
    return label(row), _milliseconds(row["peers"][OURS]["ms"][1]), limit, *map(ratio, names), fastest


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value >= 9.95 else f"{value:.3g}"


def draw(rows: list[Row]) -> Figure:
    """For each cell a panel of train steps: a mark for the ratio to each peer, and a line where both are equal."""
    rows = [row for row in rows if row["mode"] == "train"]
    cells = [cell for cell in (*NONLINEAR, *LINEAR) if any(row["cell"] == cell for row in rows)]
    height = 0.8 + sum(
        0.4 * len({key(r) for r in rows if r["cell"] in cells[n : n + 2]}) / 2 + 0.9 for n in range(0, len(cells), 2)
    )
    figure = Figure(figsize=(13, max(4.0, height)), layout="constrained")
    if not cells:
        return figure
    panels = list(figure.subplots((len(cells) + 1) // 2, 2, squeeze=False, sharex=True).flat)
    drawn: dict[str, Any] = {}
    for axes, cell in zip(panels, cells, strict=False):
        of_cell = [row for row in rows if row["cell"] == cell]
        for n, row in enumerate(of_cell):
            for name, found in row["peers"].items():
                if name != OURS and "ratio" in found:
                    colour, mark = STYLES[name]
                    (drawn[name],) = axes.plot(
                        found["ratio"][1], n, mark, color=colour, ms=9, mew=2 if mark == "x" else 0.8, alpha=0.9
                    )
        axes.set_yticks(range(len(of_cell)), [label(row).removeprefix(f"{cell} ") for row in of_cell], fontsize=11)
        axes.set_ylim(len(of_cell) - 0.4, -0.6)
        axes.axvline(1, color="black", linestyle="--", linewidth=1.5)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(TICKS))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(cell, loc="left", fontsize=13)
        axes.grid(axis="both", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=11)
    for axes in panels[len(cells) :]:
        axes.set_visible(False)
    for axes in panels[: len(cells)][-2:]:  # the last of each column, where one column is shorter
        axes.tick_params(labelbottom=True)
    figure.supxlabel(
        "time of jaxrnn / time of the other, train step (left of the dashed line: jaxrnn is faster)", fontsize=13
    )
    figure.legend(drawn.values(), drawn, loc="outside upper center", ncols=len(drawn), fontsize=12, frameon=False)
    return figure
