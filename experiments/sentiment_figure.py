"""The picture of the sentiment experiment, from its results.json alone."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.figure import FONTS
from benchmarks.panel import GREY, INK
from experiments import output
from experiments.application import MADE
from experiments.sentiment_text import CLASSES, WITH, WITHOUT, header
from jaxrnn.gradients.reporting.styles import styles_of

LETTERS, SIZE = 80, 10.5  # letters of a line of sentences, and their size in points


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: accuracies above a confusion matrix. Right: sentences whose words are coloured by what they moved.

    Both of the first network whose words were looked at, else the matrix of the first, and no sentences.
    """
    settings, parts = results["settings"], results["parts"]
    name = next((name for name in parts if parts[name]["examples"]), next(iter(parts)))
    examples = parts[name]["examples"]
    figure = output.titled(
        "Praise or blame: how often told right"
        + (f", and what moved the {name}" if examples else "")
        + (", on made sentences" if results["data"] == MADE else ""),
        (
            f"{settings['hidden_size']} units, embeddings of {settings['embedding_size']} from scratch, "
            f"{settings['updates']:,} updates; test split, seeds: {settings['seeds']}. Dotted: published, 10-fold.",
            "Right: the surest praise, the surest blame and the least sure, told right above, told wrong below."
            if examples
            else "",
        ),
    )
    _accuracies(output.panel(figure, (0.105, 0.47, 0.265, 0.29), "Accuracy", "%"), parts)
    _confusion(figure.add_axes((0.105, 0.1, 0.2, 0.24)), name, np.array(parts[name]["confusion"]))
    if examples:
        _sentences(figure, examples)
    return figure


def _accuracies(axes: Axes, parts: dict[str, Any]) -> None:
    found = {name: 100 * np.array(part["accuracy"]) for name, part in parts.items()}
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for place, (name, style) in enumerate(styles_of(list(found)).items()):
        mean = found[name].mean()
        axes.plot(found[name], np.full(len(found[name]), place), ".", color=style.colour, ms=9, alpha=0.5)
        axes.plot(mean, place, style.marker, color=style.colour, ms=11)
        above = {"xytext": (0, 10), "textcoords": "offset points", "ha": "center", "fontsize": 11.5}
        axes.annotate(f"{mean:.1f}", (mean, place), **above, bbox=behind)
    axes.set_yticks(range(len(found)), list(found))
    axes.set_ylim(len(found) - 0.4, -1.7)
    least = min(values.min() for values in found.values())
    axes.set_xlim(min(least - 2, 67), max(WITH, *(values.max() for values in found.values())) + 2)
    for value, place, words in ((WITHOUT, -1.0, "CNN"), (WITH, -1.45, "CNN, pretrained")):
        axes.axvline(value, color=GREY, lw=1.3, ls=":")
        axes.text(value - 0.2, place, words, fontsize=11, color=GREY, ha="right", va="center", bbox=behind)


def _confusion(axes: Axes, name: str, confusion: np.ndarray) -> None:
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    for row, column in np.ndindex(2, 2):
        words = f"{100 * share[row, column]:.0f}%\n{confusion[row, column]:,}"
        axes.text(column, row, words, ha="center", va="center", fontsize=13, color=INK)
    axes.set_title(f"{name}, all seeds")
    axes.set_xticks([0, 1], [f"told {kind}" for kind in CLASSES])
    axes.set_yticks([0, 1], [f"is {kind}" for kind in CLASSES])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _sentences(figure: Figure, examples: list[dict[str, Any]]) -> None:
    """Words on a grid of letters, so that the fixed pitch of the font says where each ends."""
    wide = LETTERS * 0.602 * SIZE / 72 / figure.get_figwidth()
    axes = figure.add_axes((0.985 - wide, 0.125, wide, 0.68))
    axes.set_axis_off()
    axes.set_xlim(0, LETTERS)
    axes.set_ylim(3.45 * 6, 0)
    limit = float(np.median([np.abs(example["moved"]).max() for example in examples]))
    colours = ScalarMappable(Normalize(-limit, limit), output.ORANGE_BLUE)
    for number, example in enumerate(examples):
        top, column = 3.45 * number + 0.6, 0
        heavy = max(example["attention"])
        axes.text(0, top, header(example), fontsize=11.5, weight="bold", color=INK, va="center")
        top += 0.95
        for word, moved, weight in zip(example["words"], example["moved"], example["attention"], strict=True):
            if column + len(word) > LETTERS:
                top, column = top + 1.05, 0
            box = {"color": colours.to_rgba(moved), "lw": 0}
            axes.add_patch(Rectangle((column - 0.3, top - 0.4), len(word) + 0.6, 0.68, **box))
            axes.add_patch(
                Rectangle((column - 0.3, top + 0.3), (len(word) + 0.6) * weight / heavy, 0.14, color=GREY, lw=0)
            )
            axes.text(column, top - 0.06, word, fontsize=SIZE, family="DejaVu Sans Mono", color=INK, va="center")
            column += len(word) + 1
    bar = figure.colorbar(
        colours, cax=figure.add_axes((0.62, 0.085, 0.2, 0.02)), orientation="horizontal", extend="both"
    )
    bar.ax.tick_params(labelsize=10.5)
    place = {"fontsize": 11.5, "color": INK, "va": "center"}
    figure.text(0.61, 0.095, "moved to blame", ha="right", **place)
    figure.text(0.83, 0.095, "moved to praise", ha="left", **place)
    figure.text(0.985, 0.022, "Grey bar: the word's attention.  Colour: log-odds lost without it.", ha="right", **place)
