"""The picture and the table of sequential MNIST, from its results.json alone."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.figure import FONTS
from experiments import output
from experiments.application import REAL, Row
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import OWN

ORDERS = IN_ORDER, PERMUTED = "in order", "permuted"
STYLES = {"LSTM": OWN["LSTM-chrono"], "GRU": OWN["GRU"], "IRNN": OWN["IRNN"], "LRU": OWN["LRU"]}
PAPER = "Bai et al., 2018"
PUBLISHED = {
    ("LSTM", IN_ORDER): (87.2, PAPER),
    ("LSTM", PERMUTED): (85.7, PAPER),
    ("GRU", IN_ORDER): (96.2, PAPER),
    ("GRU", PERMUTED): (87.3, PAPER),
    ("IRNN", IN_ORDER): (93.0, "Keras, 900 epochs"),
}
FLOOR = -16  # powers of ten that are drawn


def _parts(results: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {tuple(name.split(", ")): part for name, part in results["parts"].items()}


def rows(results: dict[str, Any]) -> list[Row]:
    """Test accuracy beside the published one."""
    found = []
    for (name, order), part in _parts(results).items():
        here, published, gap = 100 * part["test"]["accuracy"], "none", "-"
        if (name, order) in PUBLISHED:
            number, source = PUBLISHED[name, order]
            published, gap = f"{number}, {source}", f"{here - number:+.1f}"
        setting = f"{name}, {order}, {results['settings']['updates']:,} updates"
        found.append(Row(setting, "test accuracy in %", f"{here:.1f}", published, gap))
    return found


def to_markdown(results: dict[str, Any]) -> str:
    """Accuracy beside the published one, and how far gradients reach."""
    settings, parts, of_all = results["settings"], _parts(results), rows(results)
    lines = [
        (
            f"{name}, {order}",
            f"{part['parameters']:,}",
            f"{100 * part['validation']['accuracy']:.1f}",
            row.here,
            row.published,
            row.gap,
            *(_reach(part["gradients"][when]) for when in ("before", "after")),
        )
        for ((name, order), part), row in zip(parts.items(), of_all, strict=True)
    ]
    headings = ("cell, order", "parameters", "validation, %", "test, %", "published test, %", "gap")
    table = markdown_table((*headings, "first to last before", "after"), lines)
    tested = next(iter(parts.values()))["tested"] if parts else 0
    words = (
        f"{settings['hidden_size']} units, {settings['updates']:,} updates of {settings['batch']} images each. The "
        f"test is on {tested:,} images, of the parameters with the best accuracy on {settings['validation']:,} of the "
        "validation split.\n\nThe published numbers come from far more updates, tens to hundreds of epochs, and from "
        "models of other sizes (Bai et al.: about 70,000 parameters; Keras: 100 units). The same paper's "
        "plain tanh RNN has 21.5 in order and 25.3 permuted. The best read of recurrent networks: coRNN, 99.4 "
        "and 97.3; S5, linear in its state, 99.65 in order. Of a permuted IRNN and of the LRU none was read; each "
        "paper draws its own permutation.\n\nFirst to last: log10 of the norm of dL/dh at the first step over that at "
        "the last, the median over test images, before and after training. Exactly 0: before the first lit pixel all "
        "relu units stand at 0, and pass nothing on."
    )
    return "\n".join([output.about(results), table, words, ""])


def _reach(curve: list[float | None]) -> str:
    first, last = curve[0], curve[-1]
    if first is None:  # its logarithm is not finite
        return "exactly 0"
    return "-" if last is None else f"{first - last:+.1f}"


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Above: accuracy over the updates; below: gradient norms over the steps; a column for each order."""
    settings, parts = results["settings"], _parts(results)
    what = "Sequential MNIST" if results["data"] == REAL else "Made digits"
    steps = max((len(part["gradients"]["after"]) for part in parts.values()), default=0)
    figure = output.titled(
        f"{what}: {steps} steps of one pixel, in order and permuted",
        (
            f"{settings['hidden_size']} units, {settings['updates']:,} updates of {settings['batch']} images; numbers "
            "on the right: test accuracy in %.",
            "Below: the norm of the loss's derivative by the state at each step, the median over test images.",
        ),
    )
    for column, order in enumerate(ORDERS):
        left = 0.075 + 0.395 * column
        own = {name: part for (name, of), part in parts.items() if of == order}
        above = output.panel(figure, (left, 0.485, 0.335, 0.27), f"Validation accuracy, {order}", "updates")
        title = f"‖dL/dh‖, at the last step 1, {order}"
        below = output.panel(figure, (left, 0.085, 0.335, 0.255), title, "step")
        above.set_ylim(0, 1.02)
        above.set_xlim(0, settings["updates"])
        for name, part in own.items():
            style = STYLES[name]
            line = {"color": style.colour, "ls": style.dashes, "marker": style.marker, "lw": 2, "ms": 6}
            above.plot(part["history"]["step"], part["history"]["accuracy"], **line)
            for when, weight, alpha in (("before", 1.2, 0.5), ("after", 2.4, 1.0)):
                curve = np.array(part["gradients"][when], float)
                shown = np.maximum(curve - curve[-1], FLOOR)
                dashes = ":" if when == "before" else "-"
                below.plot(range(1, len(curve) + 1), shown, color=style.colour, lw=weight, ls=dashes, alpha=alpha)
        below.set_xlim(1, max(steps, 2))
        above.axhline(0.1, color="#999999", lw=1.2, ls=":")
        if column == 0:
            below.set_ylabel("powers of ten", fontsize=12)
    _legends(figure, parts)
    return figure


def _legends(figure: Figure, parts: dict[tuple[str, str], dict[str, Any]]) -> None:
    lines = []
    for name in dict.fromkeys(name for name, _ in parts):
        style = STYLES[name]
        of = (parts.get((name, order)) for order in ORDERS)
        tested = ("-" if part is None else f"{100 * part['test']['accuracy']:.1f}" for part in of)
        label = f"{name}  {', '.join(tested)}"
        lines.append(Line2D([], [], color=style.colour, ls=style.dashes, marker=style.marker, lw=2, ms=7, label=label))
    place = {"loc": "upper left", "frameon": False, "fontsize": 11.5, "title_fontsize": 11.5, "alignment": "left"}
    figure.legend(handles=lines, title="test: in order, permuted", bbox_to_anchor=(0.815, 0.77), **place)
    when = [Line2D([], [], color="#444444", ls=":", lw=1.2), Line2D([], [], color="#444444", lw=2.4)]
    figure.legend(when, ["before training", "after training"], bbox_to_anchor=(0.815, 0.36), **place)
