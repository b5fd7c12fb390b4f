"""Table and figure of the gradients by the hidden state, drawn from what stands in their results.json."""

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figure import FONTS
from benchmarks.labels import Label, write_labels
from experiments import output
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import COLOURS, OWN, Style

STYLES = {
    "tanh": Style(COLOURS[0], (0, (4, 2)), "p"),
    "orthogonal": OWN["Elman"],
    "IRNN": OWN["IRNN"],
    "LSTM": OWN["LSTM-forget-1"],
    "GRU": OWN["GRU"],
}
HEADINGS = ("cell", "first / last step at the start", "and trained", "half-life at the start", "and trained", "error")
STAGES = {"before": "at the start", "after": "after {updates} updates"}


def _ratio(stage: dict[str, Any]) -> str:
    curve = stage["h"]["median"]
    ends = (curve[0], curve[-1])
    return "exactly 0" if None in ends else f"10^{ends[0] - ends[1]:.1f}"


def to_markdown(results: dict[str, Any]) -> str:
    """The table, with what it says."""
    settings, rows = results["settings"], []
    for name, part in results["parts"].items():
        before, after = part["before"], part["after"]
        errors = " → ".join(f"{np.median(np.array(stage['error'], float)):.4f}" for stage in (before, after))
        half_lives = (output.half_life(stage["rate"], stage["r_squared"]) for stage in (before, after))
        rows.append((name, _ratio(before), _ratio(after), *half_lives, errors))
    words = (
        f"||dL/dh_t|| on the adding problem over {settings['length']} steps, {settings['hidden_size']} units, at the "
        f"start and after {settings['updates']} updates of {settings['batch']} sequences by Adam with learning rate "
        f"{settings['rate']:g}; median over {settings['held_out']} sequences and {settings['seeds']} seeds. Half-lives "
        "in steps, from a line through all but the first tenth of the lags. Error: mean square, median over seeds; "
        "always answering 1 has 0.1667."
    )
    return f"{markdown_table(HEADINGS, rows)}\n{words}\n"


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: at the start. Right: after training. Both on the same axes."""
    settings = results["settings"]
    figure = output.titled(
        r"How far back does $\Vert\partial L/\partial h_t\Vert$ reach?",
        (
            f"Adding problem, {settings['length']} steps, {settings['hidden_size']} units; L is the squared error at "
            "the last step.",
            f"Median and 10 to 90% band over {settings['held_out']} sequences and {settings['seeds']} networks. "
            "Dotted: the memory c of the LSTM.",
        ),
    )
    places = ((0.065, 0.11, 0.33, 0.62), (0.54, 0.11, 0.33, 0.62))
    limits = _limits(results)
    for place, (stage, title) in zip(places, STAGES.items(), strict=True):
        axes = output.panel(figure, place, title.format(**settings), "lag  $T - t$  (steps back from the end)")
        axes.set_xlim(0, settings["length"] - 1)
        axes.set_ylim(*limits)
        axes.set_ylabel(r"$\log_{10}\Vert\partial L/\partial h_t\Vert$")
        _curves(axes, {name: part[stage] for name, part in results["parts"].items()}, limits)
    return figure


def _limits(results: dict[str, Any]) -> tuple[float, float]:
    values = [v for p in results["parts"].values() for s in STAGES for v in p[s]["h"]["median"] if v is not None]
    low, high = (min(values), max(values)) if values else (-1.0, 0.0)
    return max(math.floor(low), -30) - 0.5, math.ceil(high) + 0.5


def _curves(axes: Axes, stages: dict[str, dict[str, Any]], limits: tuple[float, float]) -> None:
    labels = []
    for number, (name, stage) in enumerate(stages.items()):
        colour, dashes, marker = STYLES[name]
        curves = {key: np.array(values[::-1], np.float64) for key, values in stage["h"].items()}
        steps = np.arange(len(curves["median"]))
        every = (len(steps) // 30 * number + 1, max(len(steps) // 6, 1))
        axes.fill_between(steps, curves["low"], curves["high"], color=colour, alpha=0.13, lw=0)
        axes.plot(steps, curves["median"], color=colour, ls=dashes, lw=2.2, marker=marker, ms=7, markevery=every)
        if "c" in stage:
            axes.plot(steps, np.array(stage["c"]["median"][::-1], np.float64), color=colour, ls=(0, (1, 1.5)), lw=1.8)
        start = float(curves["median"][-1])
        height = 0.0 if math.isnan(start) else (start - limits[0]) / (limits[1] - limits[0])
        labels.append((name, start, height, colour))
    write_labels(axes, [Label(_text(n, s, limits), h, c) for n, s, h, c in labels], size=12)


def _text(name: str, start: float, limits: tuple[float, float]) -> str:
    if math.isnan(start):
        return f"{name}: 0 at t = 1"
    return name if limits[0] <= start <= limits[1] else f"{name}: $10^{{{start:.0f}}}$"
