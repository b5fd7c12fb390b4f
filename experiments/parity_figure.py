"""The picture and the table of parity, from its results.json alone."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.figure import FONTS
from experiments import output
from experiments.application import Row
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import styles_of

WINDOW = "window MLP"


def rows(results: dict[str, Any]) -> list[Row]:
    """The least accuracy at the longest test, of each network."""
    trained, longest = results["settings"]["length"], results["settings"]["tested"][-1]
    found = {name: np.array(part["accuracy"], float)[:, -1].min() for name, part in results["parts"].items()}
    metric = f"accuracy at {longest} steps, trained to {trained}"
    return [Row(name, metric, f"{least:.3f}", "none", f"{least - 0.5:+.3f} on chance") for name, least in found.items()]


def to_markdown(results: dict[str, Any]) -> str:
    """Accuracy by length, the least over seeds, and which networks can."""
    lengths = results["settings"]["tested"]
    least = {name: np.array(part["accuracy"], float).min(axis=0) for name, part in results["parts"].items()}
    table = markdown_table(
        ("accuracy after so many steps", *map(str, lengths)),
        [(name, *(f"{value:.3f}" for value in values)) for name, values in least.items()],
    )
    can = [name for name, values in least.items() if values[-1] > 0.99]
    cannot = [name for name in least if name not in can]
    words = (
        f"The least over {results['settings']['seeds']} seeds; guessing gives 0.5. Right after {lengths[-1]} steps in "
        f"more than 99% with every seed: {', '.join(can) or 'none'}. Not: {', '.join(cannot) or 'none'}."
    )
    return "\n".join([output.about(results), table, words, ""])


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Accuracy by length, a line for each network at its median, a band over seeds."""
    settings, parts = results["settings"], results["parts"]
    figure = output.titled(
        "Parity: who still counts after the length that was trained?",
        (
            f"{settings['hidden_size']} units, {settings['updates']:,} updates on up to {settings['length']} steps; "
            f"{settings['samples']:,} sequences of each length are tested.",
            f"Lines: the median over {settings['seeds']} seeds; bands: from the least to the most.",
        ),
    )
    axes = output.panel(figure, (0.07, 0.11, 0.7, 0.66), "Accuracy at the last step", "steps (logarithmic)")
    axes.set_xscale("log")
    axes.set_xticks(settings["tested"], map(str, settings["tested"]))
    axes.minorticks_off()
    axes.axvline(settings["length"], color="#999999", lw=1.5, ls=":")
    axes.annotate("trained up to here", (settings["length"], 0.42), (6, 0), textcoords="offset points", fontsize=12)
    axes.set_ylim(0.4, 1.03)
    for name, style in styles_of(list(parts)).items():
        values = np.array(parts[name]["accuracy"], float)
        middle = np.median(values, axis=0)
        line = {"color": style.colour, "ls": style.dashes, "marker": style.marker, "lw": 2.5, "ms": 8}
        axes.plot(settings["tested"], middle, label=f"{name}  {middle[-1]:.2f}", **line)
        axes.fill_between(settings["tested"], values.min(axis=0), values.max(axis=0), color=style.colour, alpha=0.12)
    axes.legend(frameon=False, fontsize=13, loc="center left", bbox_to_anchor=(1.01, 0.5), title="median at the last")
    return figure
