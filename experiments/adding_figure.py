"""Table and figure of the adding problem, drawn from what stands in its results.json."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.figure import FONTS, GREY
from experiments import output
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import OWN
from jaxrnn.tasks import Adding

SOLVED = 0.01
STYLES = {"GRU": OWN["GRU"], "LSTM": OWN["LSTM-chrono"], "LRU": OWN["LRU"], "Elman": OWN["Elman"]}
HEADINGS = ("cell", "learning rate", "seeds below 0.01", "first below after updates", "test error at the end")


def first_solved(errors: Sequence[float | None], every: int) -> int | None:
    """The update at which an error was first measured below the bar; the first entry is that of update 0."""
    return next((every * n for n, error in enumerate(errors) if error is not None and error < SOLVED), None)


def rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each cell and learning rate."""
    found, settings = [], results["settings"]
    for name, part in results["parts"].items():
        for rate, runs in zip(settings["rates"], part["test"], strict=True):
            solved = [first_solved(run, settings["every"]) for run in runs]
            chosen = " (chosen)" if rate == part["chosen_rate"] else ""
            found.append(
                (
                    f"{name}, {part['parameters']:,} parameters",
                    f"{rate:g}{chosen}",
                    f"{sum(update is not None for update in solved)} of {len(runs)}",
                    ", ".join("never" if update is None else str(update) for update in solved),
                    ", ".join("not finite" if run[-1] is None else f"{run[-1]:.5f}" for run in runs),
                )
            )
    return found


def to_markdown(results: dict[str, Any]) -> str:
    """The table, with what it says."""
    settings = results["settings"]
    words = (
        f"Adding problem, {settings['length']} steps, {settings['updates']} updates, measured every "
        f"{settings['every']}; the error is the mean square over {settings['held_out']} held-out sequences, seed by "
        f"seed. Always answering 1 has {Adding(settings['length']).baseline():.4f}. The rate is chosen by the median "
        "over seeds of the last error on other sequences."
    )
    return f"{markdown_table(HEADINGS, rows(results))}\n{words}\n"


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: the test error over the updates at each cell's chosen rate. Right: where every single run ended."""
    settings = results["settings"]
    baseline = Adding(settings["length"]).baseline()
    figure = output.titled(
        f"Adding two marked numbers out of {settings['length']} steps",
        (
            f"{settings['hidden_size']} units, batch {settings['batch']}, Adam, gradients clipped to norm 1. GRU and "
            "LSTM begin with Chrono biases, the LRU with slow eigenvalues.",
            f"Left: median and range over {settings['seeds']} seeds, at the learning rate that other sequences chose.",
        ),
    )
    left = output.panel(figure, (0.07, 0.11, 0.5, 0.62), "", "updates")
    right = output.panel(figure, (0.68, 0.11, 0.29, 0.62), "Every run at its end", "learning rate")
    left.set_ylabel("mean squared error, held-out sequences")
    for axes in (left, right):
        axes.set_yscale("log")
        for level, dashes in ((baseline, "--"), (SOLVED, ":")):
            axes.axhline(level, color=GREY, lw=1.2, ls=dashes)
    updates = settings["every"] * np.arange(settings["updates"] // settings["every"] + 1)
    for level, words in ((baseline, "always 1"), (SOLVED, "bar")):
        left.annotate(words, (1, level), (5, 0), left.get_yaxis_transform(), "offset points", va="center", fontsize=11)
    places = {rate: n for n, rate in enumerate(settings["rates"])}
    for n, (name, part) in enumerate(results["parts"].items()):
        colour, dashes, marker = STYLES[name]
        test = np.array(part["test"], np.float64)
        best = test[places[part["chosen_rate"]]]
        label = f"{name}, rate {part['chosen_rate']:g}"
        left.plot(
            updates, np.median(best, axis=0), color=colour, ls=dashes, lw=2, marker=marker, markevery=5, label=label
        )
        left.fill_between(updates, best.min(axis=0), best.max(axis=0), color=colour, alpha=0.18, lw=0)
        across = np.arange(len(places))[:, None] + 0.16 * (n - 1.5) + np.zeros_like(test[..., -1])
        right.plot(across.ravel(), test[..., -1].ravel(), marker, color=colour, ms=8, alpha=0.7)
        lost = across[~np.isfinite(test[..., -1])]
        if lost.size:
            right.set_title("Every run at its end (triangle: not finite)")
        right.plot(
            lost, np.ones_like(lost), "^", color=colour, ms=9, clip_on=False, transform=right.get_xaxis_transform()
        )
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=12.5, borderaxespad=0.1)
    left.set_xlim(0, updates[-1])
    right.set_xticks(range(len(places)), [f"{rate:g}" for rate in places])
    right.set_xlim(-0.5, len(places) - 0.5)
    right.set_ylim(left.get_ylim())
    return figure
