"""Table and figure of the temporal order problem, drawn from what stands in its results.json."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullFormatter

from benchmarks.figure import FONTS, GREY
from experiments import output
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import COLOURS
from jaxrnn.tasks import TemporalOrder

SOLVED = 0.01
STYLES = {"clip": (COLOURS[0], "o", "clipping"), "clip-omega": (COLOURS[2], "s", "clipping and Omega")}
HEADINGS = (
    "method",
    "length",
    "seeds solved",
    "solved after updates",
    "updates made",
    "wrong at the end",
    "Omega at the end",
    "spectral radius",
)
SMALL: dict[Any, Any] = FONTS | {"font.size": 11, "axes.titlesize": 13, "axes.labelsize": 11, "axes.titlepad": 6}
PANELS = {  # what is drawn of the shortest length, and where
    "loss": ((0.06, 0.47, 0.26, 0.255), "Training loss, nats"),
    "error": ((0.39, 0.47, 0.26, 0.255), "Wrong, of fresh sequences"),
    "radius": ((0.72, 0.47, 0.26, 0.255), "Spectral radius"),
    "omega": ((0.06, 0.09, 0.26, 0.255), "Omega"),
    "clipped": ((0.39, 0.09, 0.26, 0.255), "Share of updates clipped; cosine dotted"),
}


def solved_after(errors: Sequence[float | None], every: int) -> int | None:
    """The update after which fewer than 1% were wrong for the first time; the first measurement follows a block."""
    return next((every * (n + 1) for n, error in enumerate(errors) if error is not None and error < SOLVED), None)


def _number(value: float | None, form: str) -> str:
    return "not finite" if value is None else f"{value:{form}}"


def rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each length and method; what differs by seed is told seed by seed."""
    found, every = [], results["settings"]["every"]
    for part in results["parts"].values():
        curves = part["curves"]
        solved = [solved_after(errors, every) for errors in curves["error"]]
        found.append(
            (
                STYLES[part["method"]][2],
                str(part["length"]),
                f"{sum(update is not None for update in solved)} of {len(solved)}",
                ", ".join("never" if update is None else f"{update:,}".replace(",", " ") for update in solved),
                ", ".join(f"{update:,}".replace(",", " ") for update in part["updates"]),
                ", ".join(_number(curve[-1], ".2%") for curve in curves["error"]),
                ", ".join(_number(curve[-1], ".3f") for curve in curves["omega"]),
                ", ".join(_number(curve[-1], ".2f") for curve in curves["radius"]),
            )
        )
    return found


def to_markdown(results: dict[str, Any]) -> str:
    """The table, with what it says and what the paper reached."""
    settings = results["settings"]
    words = (
        f"Temporal order, two symbols, {settings['hidden_size']} tanh units, SGD with rate {settings['rate']:g}, batch "
        f"{settings['batch']}, gradients clipped to norm {settings['threshold']:g}, Omega with factor "
        f"{settings['strength']:g}. A run is solved when fewer than 1% of {settings['held_out']:,} fresh sequences "
        f"are wrong, measured every {settings['every']:,} updates; it then ends, as it does after "
        f"{settings['minutes']:g} minutes of all seeds together or {settings['updates']:,} updates. Guessing has 75% "
        "wrong. Values seed by seed.\n\n"
        "Pascanu, Mikolov & Bengio (2013), clipping and Omega, up to 5,000,000 updates: 5 of 5 seeds solved with "
        "sequences of 50 to 200 steps in one run, and none of 10,000 wrong from 50 to 5,000 steps. The log of their "
        "code, factor 2: solved after 336,000 updates."
    )
    return f"{markdown_table(HEADINGS, rows(results))}\n{words}\n"


@matplotlib.rc_context(SMALL)
def draw(results: dict[str, Any]) -> Figure:
    """Curves of every run at the shortest length; at the right bottom the share of seeds that solved each length."""
    settings = results["settings"]
    length = min(settings["lengths"])
    figure = output.titled(
        "Which symbol came first? Clipping alone, and clipping with Omega",
        (
            f"Temporal order, {length} steps, {settings['hidden_size']} tanh units, SGD with rate "
            f"{settings['rate']:g}, clipped to norm {settings['threshold']:g}, Omega times {settings['strength']:g}. "
            "One line a seed, a mark at its end.",
            "Cosine: of the gradient with itself clipped entry by entry, at threshold / sqrt(parameters), as no run "
            "does. By norm it is 1.",
        ),
    )
    panels = {name: output.panel(figure, place, title, "updates") for name, (place, title) in PANELS.items()}
    shown = [part for part in results["parts"].values() if part["length"] == length]
    for part in shown:
        for name, axes in panels.items():
            _curves(axes, part, name, settings)
        _curves(panels["clipped"], part, "cosine", settings, dashes=":")
    baseline = TemporalOrder(length).baseline()
    for name, level, words in (("loss", baseline, "ln 4"), ("error", 0.75, "guessing"), ("error", SOLVED, "solved")):
        axes = panels[name]
        axes.axhline(level, color=GREY, lw=1.2, ls="--")
        halo = {"path_effects": [withStroke(linewidth=4, foreground="white")], "zorder": 5}
        place = (0, level), (4, -11), axes.get_yaxis_transform(), "offset points"
        axes.annotate(words, *place, fontsize=10, color=GREY, **halo)
    panels["error"].set_yscale("log")
    panels["omega"].set_yscale("log")
    panels["clipped"].set_ylim(-0.03, 1.05)
    for axes in panels.values():
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda updates, _: f"{updates:,.0f}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
    by_length = output.panel(figure, (0.72, 0.09, 0.26, 0.255), "Share of seeds that solved it", "length (steps)")
    _by_length(by_length, results)
    figure.legend(
        *by_length.get_legend_handles_labels(), loc="center left", bbox_to_anchor=(0.025, 0.81), ncols=3, frameon=False,
        fontsize=12.5, borderaxespad=0,
    )  # fmt: skip
    return figure


def _curves(axes: Axes, part: dict[str, Any], name: str, settings: dict[str, Any], dashes: str = "-") -> None:
    colour, marker, _ = STYLES[part["method"]]
    for curve in part["curves"][name]:
        values = np.array(curve, np.float64)
        if name == "error":
            values = np.maximum(values, 0.5 / settings["held_out"])  # none wrong: at the bottom
        updates = settings["every"] * (np.arange(len(values)) + 1)
        axes.plot(updates, values, color=colour, ls=dashes, lw=1.3, alpha=0.8)
        if dashes == "-":
            axes.plot(updates[-1:], values[-1:], marker, color=colour, ms=6)


def _by_length(axes: Axes, results: dict[str, Any]) -> None:
    settings = results["settings"]
    for place, (method, (colour, marker, label)) in enumerate(STYLES.items()):
        parts = [part for part in results["parts"].values() if part["method"] == method]
        if parts:
            shares = [
                np.mean([solved_after(errors, settings["every"]) is not None for errors in part["curves"]["error"]])
                for part in parts
            ]
            lengths = np.array([part["length"] for part in parts]) + 2 * place
            axes.plot(lengths, shares, color=colour, marker=marker, ms=8, lw=1.5, label=label)
    axes.plot(
        [50, 200],
        [1, 1],
        color=GREY,
        lw=1.5,
        ls="--",
        label="with Omega, up to 5 million updates (Pascanu et al., 2013)",
    )
    axes.set_ylim(-0.05, 1.08)
