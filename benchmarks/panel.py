"""One panel of the figure: lines over lag or length in decades, with bands, marks where they leave, and labels."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.labels import Label, write_labels
from benchmarks.measure import Band
from jaxrnn.gradients.reporting.styles import Style

LIMIT = 45.0  # decades drawn below and above 1: down to the least number that float32 knows
FLOAT32_NORMAL = math.log10(2.0**-126)
ROOM = 21  # letters of a name beside which two powers of ten have room
INK, GREY = "#222222", "#666666"
MARKS: tuple[dict[str, Any], ...] = (  # before and after training, where a figure shows both
    {"ls": (0, (3, 2)), "lw": 1.3, "ms": 6, "mfc": "white", "mew": 1.2},
    {"ls": "-", "lw": 2.6, "ms": 7.5, "mec": "white", "mew": 0.8},
)


class Line(NamedTuple):
    """One curve in powers of ten, -inf for an exact zero; `number` counts configurations, not stages of training."""

    label: str
    number: int
    style: Style
    trained: bool
    x: np.ndarray
    band: Band
    zero: float  # fraction of samples that are exactly zero at the end


def draw_panel(axes: Axes, lines: Sequence[Line], by_length: bool, stages: bool) -> None:
    """Draws the lines; with `stages` as two of one colour, before and after training."""
    limits = _limits(lines)
    axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(FixedLocator(_powers(*limits)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda exponent, _: f"$10^{{{exponent:.0f}}}$"))
    axes.grid(axis="y", color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    _time_axis(axes, lines, by_length)
    if limits[0] < FLOAT32_NORMAL:
        _underflow(axes, named=not by_length)
    before = {line.number: line for line in lines if not line.trained}
    labels = {}
    for line in lines:
        _draw_line(axes, line, limits, by_length, stages)
        if stages:
            text = _change(before.get(line.number), line) if line.trained else line.label
        else:
            text = line.label if by_length else _text(line, limits)
        height = float((line.band.median[-1] - limits[0]) / (limits[1] - limits[0]))
        labels[line.number] = Label(text, -1.0 if math.isnan(height) else height, line.style.colour)
    if not (stages and by_length):
        write_labels(axes, list(labels.values()), size=12)


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    drawn = np.concatenate([np.concatenate(line.band) for line in lines])
    drawn = np.clip(drawn[np.isfinite(drawn)], -LIMIT, LIMIT)
    low, high = (float(drawn.min()), float(drawn.max())) if drawn.size else (-1.0, 0.0)
    margin = max(0.03 * (high - low), 0.1)
    low, high = low - margin, high + margin
    if high - low < 2:  # so that there are two powers of ten
        low, high = math.floor(low), math.ceil(high)
    return max(low, -LIMIT), min(high, LIMIT)


def _powers(low: float, high: float) -> list[int]:
    """The whole exponents with a tick, at most nine."""
    step = next(step for step in (1, 2, 5, 10, 20) if high - low <= 8 * step)
    return list(range(step * math.ceil(low / step), math.floor(high) + 1, step))


def _underflow(axes: Axes, named: bool) -> None:
    axes.axhline(FLOAT32_NORMAL, color=GREY, lw=0.9, ls=(0, (2, 3)))
    if named:
        axes.text(0.98, FLOAT32_NORMAL, "plain float32 underflows", transform=axes.get_yaxis_transform(),
                  fontsize=10.5, color=GREY, ha="right", va="bottom",
                  bbox={"fc": "white", "ec": "none", "pad": 1})  # fmt: skip


def _draw_line(axes: Axes, line: Line, limits: tuple[float, float], by_length: bool, stages: bool) -> None:
    colour, dashes, marker = line.style
    middle, bottom, top = line.band
    marks: dict[str, Any] = {"ls": dashes, "lw": 2.4, "ms": 7, "marker": marker if by_length else ""}
    if stages:
        marks = MARKS[line.trained] | {"marker": marker}
        if not by_length:  # a few markers, at other lags for each configuration
            shares = 0.06 + 0.035 * (line.number % 6) + 0.25 * np.arange(4)
            marks["markevery"] = np.searchsorted(line.x, shares * line.x[-1]).clip(max=len(line.x) - 1).tolist()
    if line.trained or not stages:
        axes.fill_between(line.x, bottom, top, where=np.isfinite(bottom), fc=(colour, 0.13), ec=(colour, 0.6), lw=0.7)
    axes.plot(line.x, middle, color=colour, **marks)
    _mark_exit(axes, line.x, middle, limits, colour)
    fill = colour if line.trained else "white"
    _mark_zeros(axes, line.x, middle, limits[0], {"marker": marker, "color": colour, "mfc": fill}, by_length)


def _time_axis(axes: Axes, lines: Sequence[Line], by_length: bool) -> None:
    if by_length:
        axes.set_xscale("log", base=2)
        ticks = sorted({int(x) for line in lines for x in line.x})
        ticks = [tick for i, tick in enumerate(reversed(ticks)) if i % 2 == 0] if len(ticks) > 5 else ticks
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}"))
    else:
        axes.set_xlim(0, max(line.x[-1] for line in lines))


def _mark_exit(axes: Axes, x: np.ndarray, y: np.ndarray, limits: tuple[float, float], colour: str) -> None:
    """A triangle where the line of the median first leaves the axis."""
    for outside, edge, marker in ((y < limits[0], limits[0], "v"), (y > limits[1], limits[1], "^")):
        outside = outside & np.isfinite(y)
        if outside.any():
            at = int(np.argmax(outside))
            before = max(at - 1, 0)
            share = (edge - y[before]) / (y[at] - y[before]) if at else 0.0
            ends = axes.transData.transform(np.stack([x[[before, at]], [edge, edge]], axis=-1))  # straight on the page
            where = axes.transData.inverted().transform(ends[0] + share * (ends[1] - ends[0]))
            axes.plot(where[0], edge, marker=marker, color=colour, ms=11, mec="white", clip_on=False, zorder=5)


def _mark_zeros(axes: Axes, x: np.ndarray, y: np.ndarray, floor: float, style: dict[str, Any], by_length: bool) -> None:
    """Marks at the bottom where the median is exactly zero: each length, or the first lag with a drop to it."""
    zero = np.flatnonzero(y == -np.inf)
    if not zero.size:
        return
    if not by_length:
        zero = zero[:1]
        if zero[0] > 0 and y[zero[0] - 1] > floor:
            axes.vlines(float(x[zero[0]]), floor, float(y[zero[0] - 1]), color=style["color"], lw=1.2, ls=(0, (1, 2)))
    axes.plot(x[zero], np.full(zero.size, floor), ls="", ms=9, mew=1.8, clip_on=False, zorder=6, **style)


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


def _change(before: Line | None, after: Line) -> str:
    """The name, and, if that leaves room, where the curve ends before and after training."""
    if len(after.label) > ROOM:
        return after.label
    ends = [float(line.band.median[-1]) for line in (before, after) if line is not None]
    return f"{after.label}: {' → '.join(_power(end) for end in ends)}"


def _power(exponent: float) -> str:
    if not math.isfinite(exponent):
        return {-math.inf: "0", math.inf: "∞"}.get(exponent, "not a number")
    return f"$10^{{{exponent:.{0 if abs(exponent) >= 9.95 else 1}f}}}$"
