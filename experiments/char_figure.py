"""Table and figure of the character model, drawn from what stands in its results.json."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.figure import FONTS
from experiments import output
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import Style

TARGET = 1.02
SIDES = {"jaxrnn": Style("#0072B2", "-", "D"), "PyTorch": Style("#D55E00", (0, (5, 1.5)), "s")}
HEADINGS = (
    "seed", "jaxrnn, bits", "PyTorch, bits", "ratio", "jaxrnn, updates/s", "PyTorch, updates/s", "times as fast",
    "loss differs at first by", "after one update by",
)  # fmt: skip


def speed(side: dict[str, Any]) -> np.ndarray:
    """Updates per second in every turn but the first, which compiles and warms up."""
    return np.array(side["updates_per_second"][1:] or side["updates_per_second"])


def row(seed: str, part: dict[str, Any]) -> tuple[str, ...]:
    """Last validation bits and speed of one seed; without PyTorch its columns are empty."""
    bits = [f"{part[name]['validation_bits'][-1]:.4f}" if name in part else "" for name in SIDES]
    speeds = [f"{np.median(speed(part[name])):.1f}" if name in part else "" for name in SIDES]
    if "differences" not in part:
        return seed, *bits, "", *speeds, "", "", ""
    ours, theirs = (part[name] for name in SIDES)
    ratio = f"{ours['validation_bits'][-1] / theirs['validation_bits'][-1]:.4f}"
    faster = f"{np.median(speed(ours) / speed(theirs)):.2f}"
    return seed, *bits, ratio, *speeds, faster, *(f"{difference:.1e}" for difference in part["differences"])


def to_markdown(results: dict[str, Any]) -> str:
    """The table, what it says, and a sample of text."""
    settings, parts = results["settings"], results["parts"]
    words = (
        f"Validation bits per character after {settings['updates']:,} updates; the target is a ratio of at most "
        f"{TARGET}. Updates per second are medians over turns of {settings['block']}; how many times as fast is the "
        "median of the ratios within one turn, above 1 where jaxrnn is faster. Differences of losses are relative."
    )
    sample = "\n".join("    " + line for line in parts[list(parts)[0]]["sample"].splitlines())
    table = markdown_table(HEADINGS, [row(seed, part) for seed, part in parts.items()])
    return f"{table}\n{words}\n\nText drawn from jaxrnn's model of the first seed:\n\n{sample}\n"


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: validation bits over the updates. Right: updates per second, every turn."""
    settings, parts = results["settings"], list(results["parts"].values())
    present = [name for name in SIDES if name in parts[0]]
    same = "; the same weights and batches in both" if settings["twin"] else ""
    figure = output.titled(
        "A character LSTM on " + ("one sentence" if settings["smoke"] else "tiny Shakespeare"),
        (
            f"{settings['hidden_size']} units, windows of {settings['window']} steps in {settings['batch']} rows, "
            f"Adam {settings['rate']:g}, gradients clipped to norm 1{same}.",
            f"Left: a line for each seed ({len(parts)}). Right: a dot for each turn of {settings['block']} updates, "
            "the bar their median.",
        ),
    )
    left = output.panel(figure, (0.075, 0.11, 0.5, 0.64), "Validation, bits per character", "updates")
    right = output.panel(figure, (0.66, 0.11, 0.31, 0.64), "Updates per second", "")
    for n, name in enumerate(present):
        colour, dashes, marker = SIDES[name]
        for seed, part in enumerate(parts):
            bits = part[name]["validation_bits"][1:]
            across = settings["every"] * np.arange(1, len(bits) + 1)
            left.plot(across, bits, color=colour, ls=dashes, lw=2, alpha=0.8, label=name if seed == 0 else None)
        speeds = np.concatenate([speed(part[name]) for part in parts])
        middle = float(np.median(speeds))
        right.bar(n, middle, color=colour, alpha=0.35, width=0.6)
        right.plot(n + np.linspace(-0.2, 0.2, len(speeds)), speeds, marker, color=colour, ms=4, alpha=0.6)
        right.annotate(f"{middle:.1f}", (n, 0), (0, 8), textcoords="offset points", ha="center", fontsize=16)
    left.legend(frameon=False, fontsize=14)
    left.set_xlim(0, settings["updates"])
    right.set_xticks(range(len(present)), present)
    right.set_xlim(-0.6, len(present) - 0.4)
    right.set_ylim(bottom=0)
    return figure
