"""The picture and the table of the word language model, from its results.json alone."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.figure import FONTS
from experiments import output
from experiments.application import REAL, Row
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import Style

OURS, TWIN = "jaxrnn", "PyTorch"
PUBLISHED, TARGET = 101.64, 1.02
SIDES = {OURS: Style("#0072B2", "-", "D"), TWIN: Style("#D55E00", (0, (5, 1.5)), "s")}


def rows(results: dict[str, Any]) -> list[Row]:
    """Perplexity beside the published one of full training, and beside PyTorch's of the same updates."""
    settings, parts = results["settings"], results["parts"]
    ours = parts[OURS]["perplexity"]
    setting = f"tied LSTM, {settings['layers']} x {settings['hidden_size']}, {settings['updates']:,} updates"
    published = f"{PUBLISHED} after full training, GluonNLP"
    gap = f"{ours - PUBLISHED:+.1f}"
    if TWIN not in parts:
        return [Row(setting, "test perplexity", f"{ours:.1f}", published, gap)]
    theirs = parts[TWIN]["perplexity"]
    gap += f"; {100 * (ours / theirs - 1):+.2f}% on PyTorch, at most +{100 * (TARGET - 1):.0f}%"
    twin = Row("the same in PyTorch", "test perplexity", f"{theirs:.1f}", published, f"{theirs - PUBLISHED:+.1f}")
    return [Row(setting, "test perplexity", f"{ours:.1f}", published, gap), twin]


def to_markdown(results: dict[str, Any]) -> str:
    """Perplexities of both, their ratio, and the speed of each in training."""
    lines = [
        (name, f"{part['perplexity']:.2f}", "-" if (speed := part["tokens_per_second"]) is None else f"{speed:,.0f}")
        for name, part in results["parts"].items()
    ]
    table = markdown_table(("", "test perplexity", "tokens a second in training, median"), lines)
    words = f"After {results['settings']['updates']:,} updates. Published after full training: {PUBLISHED}."
    if TWIN in results["parts"]:
        ours, theirs = (results["parts"][name] for name in SIDES)
        words += (
            f" The ratio is {ours['perplexity'] / theirs['perplexity']:.4f}; the target is at most {TARGET}. In the "
            f"first {len(theirs['differences'])} updates losses and norms of gradients differ by at most "
            f"{max(theirs['differences']):.1e} of their size."
        )
    return "\n".join([output.about(results), table, words, ""])


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: validation perplexity over the updates. Right: test perplexity."""
    settings, parts = results["settings"], results["parts"]
    figure = output.titled(
        "A word LSTM on " + ("WikiText-2" if results["data"] == REAL else "made text"),
        (
            f"{settings['layers']} layers of {settings['hidden_size']} units, tied weights, "
            f"{settings['updates']:,} updates of {settings['batch']} x {settings['window']} words.",
            "The same weights and windows in both." if TWIN in parts else "",
        ),
    )
    left = output.panel(figure, (0.075, 0.11, 0.5, 0.64), "Validation perplexity", "updates")
    right = output.panel(figure, (0.68, 0.11, 0.29, 0.64), "Test perplexity", "")
    for number, (name, part) in enumerate(parts.items()):
        style, history = SIDES[name], part["history"]
        marks = {"marker": style.marker, "ms": 9 - 3 * number}
        left.plot(
            history["step"], history["perplexity"], color=style.colour, ls=style.dashes, lw=2.5, label=name, **marks
        )
        right.bar(number, part["perplexity"], color=style.colour, alpha=0.5, width=0.6)
        label = {"textcoords": "offset points", "ha": "center", "fontsize": 15}
        right.annotate(f"{part['perplexity']:.1f}", (number, part["perplexity"]), (0, 5), **label)
    left.legend(frameon=False, fontsize=14)
    left.set_xlim(0, settings["updates"] * 1.02)
    right.set_xticks(np.arange(len(parts)), list(parts))
    right.set_xlim(-0.6, len(parts) - 0.4)
    right.axhline(PUBLISHED, color="#222222", lw=1.5, ls=":")
    right.annotate("published, full training", (-0.55, PUBLISHED), (0, 5), textcoords="offset points", fontsize=12)
    return figure
