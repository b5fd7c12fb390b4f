"""The report as figures for slides and papers: charts as panels with the findings below, heat maps apart."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxrnn.gradients.reporting.records import Chart, Heatmap, Report

INK, GREY = "#222222", "#595959"
FONTS: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 13, "axes.labelsize": 13, "axes.titlesize": 15, "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": GREY, "xtick.color": INK, "ytick.color": INK, "svg.hashsalt": "jaxrnn",
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left",
}  # fmt: skip
Box = tuple[float, float, float, float]
WIDTH, PANEL, LINE = 13.33, 4.2, 0.3  # inches of a page, for a row of panels, and for a line of text


@matplotlib.rc_context(FONTS)
def draw(report: Report) -> Figure:
    """The charts of a report on one page, as long as it takes, with the names of the cells above and findings below."""
    legend = 0.38 * math.ceil(len(report.cells) / 4)
    findings = [line for finding in report.findings for line in textwrap.wrap(finding, 125, subsequent_indent="    ")]
    above, below = 1.35 + legend, 0.3 + LINE * len(findings)
    figure, places = _page(report, len(report.charts), 2, above, below)
    handles = [
        Line2D([], [], color=s.colour, ls=s.dashes, marker=s.marker, lw=2.2, ms=8, label=name)
        for name, s in report.cells.items()
    ]
    height = figure.get_figheight()
    legend_box = figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.02, 1 - 1.05 / height), ncols=4, frameon=False,
        fontsize=12.5, handlelength=3.4, borderaxespad=0,
    )  # fmt: skip
    for name in legend_box.get_texts():
        name.set_parse_math(False)
    for place, chart in zip(places, report.charts, strict=True):
        _chart(figure.add_axes(place), chart, report)
    for number, finding in enumerate(findings):
        place = (below - 0.15 - LINE * (number + 0.5)) / height
        figure.text(0.03, place, finding, fontsize=12.5, va="center", parse_math=False)
    return figure


@matplotlib.rc_context(FONTS)
def draw_heatmaps(report: Report, heatmaps: Sequence[Heatmap], columns: int) -> Figure:
    """Heat maps of a report on one page; in one column there is a place for every letter of a line."""
    figure, places = _page(report, len(heatmaps), columns, 1.2, 0.1)
    for place, heatmap in zip(places, heatmaps, strict=True):
        _heatmap(figure.add_axes(place), heatmap)
    return figure


def _page(report: Report, panels: int, columns: int, above: float, below: float) -> tuple[Figure, list[Box]]:
    """A figure with the report's title, and places for panels; inches are left free above and below them."""
    height = above + PANEL * math.ceil(panels / columns) + below
    figure = Figure(figsize=(WIDTH, height))
    figure.text(0.03, 1 - 0.4 / height, report.title, fontsize=22, weight="bold", va="center", parse_math=False)
    figure.text(
        0.03, 1 - 0.85 / height, report.subtitle, fontsize=12.5, color=GREY, va="center", parse_math=False
    )  # fmt: skip
    places = []
    for number in range(panels):
        column, row = number % columns, number // columns
        bottom = height - above - PANEL * (row + 1) + 0.9
        width = 0.395 if columns > 1 else 0.88
        places.append((0.085 + 0.485 * column, bottom / height, width, (PANEL - 1.5) / height))
    return figure, places


def save(figure: Figure, path: Path) -> None:
    """PNG, SVG or PDF by the name's ending; the same report gives the same bytes."""
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    with matplotlib.rc_context(FONTS):
        figure.savefig(path, metadata=metadata, dpi=120)


def _chart(axes: Axes, chart: Chart, report: Report) -> None:
    axes.set_title(chart.title, pad=10, parse_math=False)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.grid(axis="y", color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    if chart.x_scale == "log":
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    finite = [s.y[np.isfinite(s.y)] for s in chart.series]
    values = np.concatenate(finite) if finite else np.zeros(0)
    low = float(values.min()) if values.size else -1.0
    for number, series in enumerate(chart.series):
        style = report.cells[series.cell]
        every = (number * max(len(series.x) // 24, 1), max(len(series.x) // 6, 1))
        y = np.where(series.y == -np.inf, low, series.y)
        axes.plot(series.x, y, color=style.colour, ls=style.dashes, lw=2, marker=style.marker, ms=6.5, markevery=every)
        if series.low is not None and series.high is not None:
            inside = np.isfinite(series.low)
            axes.fill_between(series.x, series.low, series.high, where=inside, color=style.colour, alpha=0.14, lw=0)
        zero = np.flatnonzero(series.y == -np.inf)
        if zero.size:
            axes.plot(
                series.x[zero[0]], low, "D", mfc="white", mec=style.colour, mew=1.8, ms=9, clip_on=False, zorder=5
            )
    if chart.y_scale == "decades":
        _decades(axes)


def _decades(axes: Axes) -> None:
    """Ticks of logarithms to base 10: powers of ten; of less than two decades numbers, at 1, 2 and 5 or evenly."""
    low, high = axes.get_ylim()
    if high - low >= 2:
        axes.yaxis.set_major_locator(MaxNLocator(7, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"$10^{{{y:.0f}}}$"))
        return
    ticks = np.array([m * 10.0**k for k in range(math.floor(low), math.ceil(high)) for m in (1, 2, 5)])
    if np.sum((low <= np.log10(ticks)) & (np.log10(ticks) <= high)) < 3:
        ticks = np.array([tick for tick in MaxNLocator(5).tick_values(10**low, 10**high) if tick > 0])
    axes.set_yticks(np.log10(ticks), [f"{tick:.6g}" for tick in ticks])
    axes.set_ylim(low, high)


def _heatmap(axes: Axes, part: Heatmap) -> None:
    axes.set_title(part.title, pad=10, parse_math=False)
    image = axes.imshow(
        part.values, aspect="auto", cmap="cividis", vmin=part.low, vmax=part.high, interpolation="nearest"
    )
    widest = max(map(len, part.x_labels))
    turned = {"rotation": 60, "ha": "right"} if widest > 3 else {}
    inches = axes.get_position().width * WIDTH * 0.9  # a tenth of it is for the colours' scale
    every = max(math.ceil(len(part.x_labels) * {1: 0.11, 2: 0.28, 3: 0.37}.get(widest, 0.25) / inches), 1)
    places = range(0, len(part.x_labels), every)
    axes.set_xticks(list(places), [part.x_labels[n][:9] for n in places], fontsize=11, **turned)
    axes.set_xlabel(part.x_label)
    axes.set_ylabel(part.y_label)
    rows = range(0, len(part.y_labels), max(math.ceil(len(part.y_labels) / 9), 1))
    axes.set_yticks(list(rows), [part.y_labels[n] for n in rows], fontsize=11)
    bar = axes.figure.colorbar(image, ax=axes, pad=0.02)
    bar.outline.set_visible(False)
