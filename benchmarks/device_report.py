"""The data, the table and the picture of the device benchmark."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from jaxrnn import files

# Colours that the colour-blind tell apart, and a mark of its own for each.
STYLES = {
    "Pallas": ("#0072B2", "o"),
    "CuDNN": ("#999999", "*"),
    "ChunkedScan": ("#009E73", "s"),
    "Associative": ("#CC79A7", "P"),
    "Scan": ("#000000", "x"),
    "torch": ("#D55E00", "D"),
    "without flags": ("#56B4E9", "v"),
}
Found = dict[str, Any]


def write(folder: Path, found: Found) -> None:
    """All files, from what there is."""
    figure = draw(found)
    files.write_all(
        folder,
        {
            "device.json": files.text(json.dumps(found, indent=1) + "\n"),
            "device.md": files.text(to_markdown(found)),
            "device.png": lambda path: figure.savefig(path, dpi=150),
        },
    )


def to_markdown(found: Found) -> str:
    """Where it ran, the races and the checks."""
    machine, used = found["machine"], found["versions"]
    parts = [f"{machine['device']}; " + ", ".join(f"{name} {version}" for name, version in used.items()) + "."]
    peaks = found["peaks"]
    if peaks:
        parts.append(
            f"Peaks measured here: {peaks['bfloat16'] / 1e12:.3g} TFLOP/s in bfloat16, {peaks['float32'] / 1e12:.3g} "
            f"in float32 as JAX multiplies it by default, {peaks['copy'] / 1e12:.3g} TB/s in a copy. Milliseconds are "
            "medians; the last column is the share of the peak that the first program reaches."
        )
    names = [name for name in STYLES if any(name in race["programs"] for race in found["races"])]
    for mode in dict.fromkeys(race["mode"] for race in found["races"]):
        headings = ("problem", *(f"{name}, ms" for name in names), "share of peak")
        rows = (_row(race, names, peaks) for race in found["races"] if race["mode"] == mode)
        parts += [f"## {mode.capitalize()}", files.markdown_table(headings, rows)]
    if found["gradients"]:
        told = found["gradients"]
        lengths = " and ".join(map(str, told["lengths"]))
        parts.append(f"Gradient norms of {len(told['cells'])} cells at {lengths} steps, compiled: {told['seconds']} s.")
    if found["checks"]:
        headings = ("check", "largest difference", "of", "beyond the limit, or why not")
        parts += ["## Checks against float64", files.markdown_table(headings, map(_checked, found["checks"]))]
    return "\n\n".join(parts) + "\n"


def _label(race: Found) -> str:
    return f"{race['name']}, {race['dtype']}"


def _row(race: Found, names: list[str], peaks: Found) -> tuple[str, ...]:
    times = (f"{race['programs'][name]['ms'][1]:.3g}" if name in race["programs"] else "" for name in names)
    return _label(race), *times, f"{100 * share_of_peak(race, peaks):.1f}%"


def share_of_peak(race: Found, peaks: Found) -> float:
    """Of the first program: of the operations of large products, or of the bandwidth of a copy."""
    seconds = next(iter(race["programs"].values()))["ms"][1] / 1000
    if race["bytes"] is not None:
        return race["bytes"] / seconds / peaks["copy"]
    return race["operations"] / seconds / peaks[race["dtype"]]


def _checked(check: Found) -> tuple[str, ...]:
    if not check["shares"]:
        return check["what"], "", "", check.get("refused") or check["beyond"][0]
    name, share = max(check["shares"].items(), key=lambda item: item[1])
    return check["what"], f"{share:.2g}", name, ", ".join(check["beyond"]) or "none"


def draw(found: Found) -> Figure:
    """For each mode a panel: the time of every program, a line of marks for each problem."""
    modes = list(dict.fromkeys(race["mode"] for race in found["races"]))
    if not modes:
        return Figure()
    most = max(sum(race["mode"] == mode for race in found["races"]) for mode in modes)
    figure = Figure(figsize=(9 * len(modes), max(4.0, 0.36 * most + 1.8)), layout="constrained")
    drawn: dict[str, Any] = {}
    for axes, mode in zip(figure.subplots(1, len(modes), squeeze=False)[0], modes, strict=True):
        of_mode = [race for race in found["races"] if race["mode"] == mode]
        for n, race in enumerate(of_mode):
            for name, program in race["programs"].items():
                colour, mark = STYLES[name]
                width = 2 if mark == "x" else 0.8
                (drawn[name],) = axes.plot(program["ms"][1], n, mark, color=colour, ms=9, mew=width, alpha=0.9)
        axes.set_yticks(range(len(of_mode)), [_label(race) for race in of_mode], fontsize=10)
        axes.set_ylim(len(of_mode) - 0.4, -0.6)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(mode.capitalize(), loc="left", fontsize=13)
        axes.grid(axis="both", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    order = [name for name in STYLES if name in drawn]
    handles = [drawn[name] for name in order]
    figure.legend(handles, order, loc="outside upper center", ncols=len(order), fontsize=12, frameon=False)
    figure.supxlabel(f"milliseconds on {found['machine']['device']}, less is better", fontsize=13)
    return figure
