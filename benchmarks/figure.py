"""The figure: gradient norms against lag at the longest length, and first against last step by length.

Curves are drawn from logarithms, so that none is lost to underflow; where one leaves the axis, a mark and the label
beside the panel say so. Colours are told apart by colour-blind readers too, and each has its own line and marker.
With training, both stages share the axes, and markers alone tell cells apart where colours do not: thin dashed lines
with hollow markers before, solid ones with filled markers and the band after.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.measure import Band, Measurement
from benchmarks.panel import GREY, INK, MARKS, Line, draw_panel
from benchmarks.results import Results
from jaxrnn.gradients.reporting.styles import styles_of

_NORM = r"$\Vert \partial L / \partial s_{} \Vert$"
FONTS: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 13, "axes.labelsize": 14, "axes.titlesize": 15, "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": GREY, "xtick.color": INK, "ytick.color": INK, "svg.hashsalt": "jaxrnn",
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left", "axes.titlepad": 12,
}  # fmt: skip


class Points(NamedTuple):
    """Where a line runs, in natural logarithms, and the fraction of samples that are exactly zero at its end."""

    x: np.ndarray
    band: Band
    zero: float


def draw(results: Results) -> Figure:
    """Both panels from what has been measured so far."""
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(13.33, 7.5), dpi=150)
        trained, longest = results.trained > 0, results.longest
        left, right = (figure.add_axes(box) for box in _boxes(trained))
        left.set_xlabel("lag  $T - t$  (steps back from the end)")
        left.set_title(f"Norm  {_NORM.format('t')},  $T$ = {longest}")
        draw_panel(left, _over_lag(results, longest), by_length=False, stages=trained)
        right.set_xlabel("sequence length  $T$  (steps)")
        words = "First / last" if trained else "First step against last"
        right.set_title(f"{words}  {_NORM.format('1')} / {_NORM.format('T')}")
        draw_panel(right, _over_length(results), by_length=True, stages=trained)
        figure.text(0.025, 0.95, results.title, fontsize=22, weight="bold", va="center")
        figure.text(0.025, 0.893, results.subtitle, fontsize=12.5, color=GREY, va="center")
        figure.text(0.025, 0.85, results.source, fontsize=12.5, color=GREY, va="center")
        figure.text(0.025, 0.009, _note(results), fontsize=10.5, color=GREY, va="bottom")
        if trained:
            _stages(figure, results)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes PNG or SVG by the name's ending; the same results give the same bytes."""
    with matplotlib.rc_context(FONTS):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _boxes(trained: bool) -> tuple[tuple[float, float, float, float], ...]:
    """Left, bottom, width, height of both panels; labels of both stages are longer, and stand beside the left only."""
    if trained:
        return (0.07, 0.142, 0.345, 0.563), (0.72, 0.142, 0.255, 0.563)
    return (0.07, 0.125, 0.31, 0.62), (0.64, 0.125, 0.205, 0.62)


def _stages(figure: Figure, results: Results) -> None:
    """Tells the lines of both stages apart, below the header."""
    trained = f"after {results.trained} updates at $T$ = {max(results.settings['lengths'])}"
    names = "at initialisation", f"{trained}, on {results.objective.what}" if results.objective else trained
    figure.legend(
        handles=[Line2D([], [], color=INK, marker="o", label=n, **m) for n, m in zip(names, MARKS, strict=True)],
        loc="center left", bbox_to_anchor=(0.02, 0.802), ncols=2, frameon=False, fontsize=12.5, handlelength=3.2,
        borderaxespad=0,
    )  # fmt: skip


def _note(results: Results) -> str:
    """What marks and labels mean, and which networks had updates that were not finite."""
    if not results.trained:
        return "Triangle: a curve leaves the axis, its label tells the norm at the first step.  Hollow mark: exactly 0."
    marks = "Triangle: a curve leaves the axis.  Mark on the bottom edge: exactly 0."
    note = f"Labels: the norm at the first step, before and after training.  Bands: after training.  {marks}"
    known = [(c.label, results.training[c.name]) for c in results.configurations if c.name in results.training]
    failed = [label for label, training in known if training.skipped.any()]
    named = ", ".join(failed) if len(failed) <= 4 else f"{len(failed)} configurations, see the table"
    return f"{note}\nUpdates that were not finite are left out: {named}." if failed else note


def _tens(band: Band) -> Band:
    return Band(*(np.asarray(part, np.float64) / math.log(10) for part in band))


def _lines(results: Results, points: Callable[[dict[int, Measurement]], Points | None]) -> list[Line]:
    """One for each configuration and stage of training for which there are points in what was measured by length."""
    lines, styles = [], styles_of([c.name for c in results.configurations])
    for number, configuration in enumerate(results.configurations):
        for updates in sorted(results.measured):
            found = points(results.curves(updates, configuration.name))
            if found is not None:
                x, band, zero = found
                style = styles[configuration.name]
                lines.append(Line(configuration.label, number, style, updates > 0, x, _tens(band), zero))
    return lines


def _over_lag(results: Results, length: int) -> list[Line]:
    lags = np.unique(np.concatenate([[0], np.geomspace(1, length - 1, 300).round().astype(int)]))

    def points(measured: dict[int, Measurement]) -> Points | None:
        if length not in measured:
            return None
        curve = measured[length].curve
        return Points(lags, Band(*(part[lags] for part in curve.norm)), float(curve.fraction_zero[-1]))

    return _lines(results, points)


def _over_length(results: Results) -> list[Line]:
    def points(measured: dict[int, Measurement]) -> Points | None:
        if not measured:
            return None
        curves = [measurement.curve for measurement in measured.values()]
        band = Band(*(np.array(part) for part in zip(*(curve.ratio for curve in curves), strict=True)))
        return Points(np.array(list(measured)), band, float(curves[-1].fraction_zero[-1]))

    return _lines(results, points)
