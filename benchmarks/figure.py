"""The figure: gradient norms against lag at the longest length, and first against last step by length.

Curves are drawn from logarithms, so that none is lost to underflow; where one leaves the axis, a mark and the label
beside the panel say so. Colours are told apart by colour-blind readers too, and each has its own line and marker.
"""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from benchmarks.labels import Label, write_labels
from benchmarks.measure import Band
from benchmarks.results import Results

LIMIT = 45.0  # decades drawn below and above 1: down to the least number that float32 knows
FLOAT32_NORMAL = math.log10(2.0**-126)
_NORM = r"$\Vert \partial L / \partial s_{} \Vert$"
INK, GREY = "#222222", "#666666"
STYLES = (
    ("#222222", "-", "o"), ("#D55E00", "-", "s"), ("#56A8DC", "-", "v"), ("#0072B2", (0, (5, 1.5)), "D"),
    ("#332288", "-", "^"), ("#009E73", (0, (3, 2.5)), "P"), ("#D99500", (0, (6, 1.5, 1, 1.5)), "X"), 
    ("#C4609A", "-", "*"), ("#882255", (0, (1, 2)), "<"), ("#999933", (0, (5, 1, 1, 1, 1, 1)), ">"),
)  # fmt: skip
FONTS: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 13, "axes.labelsize": 14, "axes.titlesize": 15, "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": GREY, "xtick.color": INK, "ytick.color": INK, "svg.hashsalt": "jaxrnn",
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left", "axes.titlepad": 12,
}  # fmt: skip


class Line(NamedTuple):
    """One curve in powers of ten, -inf for an exact zero."""

    label: str
    x: np.ndarray
    band: Band
    zero: float  # fraction of samples that are exactly zero at the end


def draw(results: Results) -> Figure:
    """Both panels from what has been measured so far."""
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(13.33, 7.5), dpi=150)
        left, right = figure.add_axes((0.07, 0.125, 0.31, 0.62)), figure.add_axes((0.64, 0.125, 0.205, 0.62))
        longest = results.longest
        left.set_xlabel("lag  $T - t$  (steps back from the end)")
        left.set_title(f"Norm  {_NORM.format('t')},  $T$ = {longest}")
        _panel(left, _over_lag(results, longest), by_length=False)
        right.set_xlabel("sequence length  $T$  (steps)")
        right.set_title(f"First step against last  {_NORM.format('1')} / {_NORM.format('T')}")
        _panel(right, _over_length(results), by_length=True)
        figure.text(0.025, 0.95, results.title, fontsize=22, weight="bold", va="center")
        figure.text(0.025, 0.893, results.subtitle, fontsize=12.5, color=GREY, va="center")
        figure.text(0.025, 0.85, results.source, fontsize=12.5, color=GREY, va="center")
        note = "Triangle: a curve leaves the axis, its label tells the norm at the first step.  Hollow mark: exactly 0."
        figure.text(0.025, 0.02, note, fontsize=10.5, color=GREY, va="center")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes PNG or SVG by the name's ending; the same results give the same bytes."""
    with matplotlib.rc_context(FONTS):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _tens(band: Band) -> Band:
    return Band(*(np.asarray(part, np.float64) / math.log(10) for part in band))


def _over_lag(results: Results, length: int) -> list[Line]:
    lags = np.unique(np.concatenate([[0], np.geomspace(1, length - 1, 300).round().astype(int)]))
    lines = []
    for configuration in results.configurations:
        if configuration.name in results.measured[length]:
            curve = results.measured[length][configuration.name].curve
            band = Band(*(part[lags] for part in curve.norm))
            lines.append(Line(configuration.label, lags, _tens(band), float(curve.fraction_zero[-1])))
    return lines


def _over_length(results: Results) -> list[Line]:
    lines = []
    for configuration in results.configurations:
        curves = {n: m[configuration.name].curve for n, m in results.measured.items() if configuration.name in m}
        if curves:
            bands = zip(*(curve.ratio for curve in curves.values()), strict=True)
            band = Band(*(np.array(part) for part in bands))
            last = float(list(curves.values())[-1].fraction_zero[-1])
            lines.append(Line(configuration.label, np.array(list(curves)), _tens(band), last))
    return lines


def _panel(axes: Axes, lines: Sequence[Line], by_length: bool) -> None:
    drawn = np.concatenate([np.concatenate(line.band) for line in lines])
    drawn = np.clip(drawn[np.isfinite(drawn)], -LIMIT, LIMIT)
    low, high = (float(drawn.min()), float(drawn.max())) if drawn.size else (-1.0, 0.0)
    margin = max(0.03 * (high - low), 0.1)
    low, high = max(low - margin, -LIMIT), min(high + margin, LIMIT)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda exponent, _: f"$10^{{{exponent:.0f}}}$"))
    axes.grid(axis="y", color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    _time_axis(axes, lines, by_length)
    if low < FLOAT32_NORMAL:
        axes.axhline(FLOAT32_NORMAL, color=GREY, lw=0.9, ls=(0, (2, 3)))
        if not by_length:
            axes.text(0.98, FLOAT32_NORMAL, "plain float32 underflows", transform=axes.get_yaxis_transform(),
                      fontsize=10.5, color=GREY, ha="right", va="bottom",
                      bbox={"fc": "white", "ec": "none", "pad": 1})  # fmt: skip
    labels = []
    for line, (colour, dashes, marker) in zip(lines, itertools.cycle(STYLES), strict=False):
        middle, bottom, top = line.band
        axes.fill_between(line.x, bottom, top, where=np.isfinite(bottom), color=colour, alpha=0.15, lw=0)
        axes.plot(line.x, middle, color=colour, ls=dashes, lw=2.4, marker=marker if by_length else "", ms=7)
        _mark_exit(axes, line.x, middle, (low, high), colour)
        _mark_zeros(axes, line.x, middle, low, (colour, marker), by_length)
        text = line.label if by_length else _text(line, (low, high))
        height = float((middle[-1] - low) / (high - low))
        labels.append(Label(text, -1.0 if math.isnan(height) else height, colour))
    write_labels(axes, labels, size=12)


def _time_axis(axes: Axes, lines: Sequence[Line], by_length: bool) -> None:
    last = max(line.x[-1] for line in lines)
    if by_length:
        axes.set_xscale("log", base=2)
        ticks = sorted({int(x) for line in lines for x in line.x})
        ticks = [tick for i, tick in enumerate(reversed(ticks)) if i % 2 == 0] if len(ticks) > 5 else ticks
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}"))
    else:
        axes.set_xlim(0, last)


def _mark_exit(axes: Axes, x: np.ndarray, y: np.ndarray, limits: tuple[float, float], colour: str) -> None:
    """A triangle where the median first leaves the axis."""
    for outside, edge, marker in ((y < limits[0], limits[0], "v"), (y > limits[1], limits[1], "^")):
        outside = outside & np.isfinite(y)
        if outside.any():
            at = int(np.argmax(outside))
            share = (edge - y[at - 1]) / (y[at] - y[at - 1]) if at else 0.0
            axes.plot(x[at - 1] + share * (x[at] - x[at - 1]) if at else x[0], edge, marker=marker, color=colour,
                      ms=11, mec="white", clip_on=False, zorder=5)  # fmt: skip


def _mark_zeros(
    axes: Axes, x: np.ndarray, y: np.ndarray, floor: float, style: tuple[str, str], by_length: bool
) -> None:
    """Hollow marks at the bottom where the median is exactly zero: each length, or the first lag with a drop to it."""
    zero = np.flatnonzero(y == -np.inf)
    if not zero.size:
        return
    if not by_length:
        zero = zero[:1]
        if zero[0] > 0 and y[zero[0] - 1] > floor:
            axes.vlines(float(x[zero[0]]), floor, float(y[zero[0] - 1]), color=style[0], lw=1.2, ls=(0, (1, 2)))
    axes.plot(x[zero], np.full(zero.size, floor), ls="", marker=style[1], ms=9, color=style[0], mfc="white", mew=1.8,
              clip_on=False, zorder=6)  # fmt: skip


def _text(line: Line, limits: tuple[float, float]) -> str:
    """The name, and what the curve does not show: where it ends beyond the axis, and exact zeros."""
    end = float(line.band.median[-1])
    if math.isnan(end):
        return f"{line.label}: not a number"
    if end == -math.inf:
        return f"{line.label}: exactly 0"
    if line.zero > 0:
        return f"{line.label} ({100 * line.zero:.0f}% are 0)"
    return line.label if limits[0] <= end <= limits[1] else f"{line.label}: $10^{{{end:.0f}}}$"
