"""The picture, the table and the MIDI files of the music models, from their results.json alone."""

import functools
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figure import FONTS
from experiments import output
from experiments.application import REAL, Row
from jaxrnn.data import piano_roll, write_midi
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import OWN

CHORALES, TUNES = "JSB chorales", "Nottingham"
BARS = {CHORALES: 8, TUNES: 16}  # frames of two bars, of quarter and of eighth notes
STEPS_PER_QUARTER = {CHORALES: 1, TUNES: 2}
BEATS_PER_MINUTE = {CHORALES: 90.0, TUNES: 120.0}
PUBLISHED = {  # Bai, Kolter & Koltun (2018, arXiv 1803.01271)
    CHORALES: {"Elman": 8.91, "GRU": 8.43, "LSTM": 8.45, "TCN": 8.10},
    TUNES: {"Elman": 4.05, "GRU": 3.46, "LSTM": 3.29, "TCN": 3.07},
}
COLOURS = {"Elman": OWN["Elman"].colour, "GRU": OWN["GRU"].colour, "LSTM": OWN["LSTM-forget-1"].colour}


def rows(results: dict[str, Any]) -> list[Row]:
    """Every network on both data sets."""
    found = []
    for name, part in results["parts"].items():
        for cell, values in part["cells"].items():
            theirs = PUBLISHED[name][cell]
            gap = f"{values['test'] - theirs:+.2f}"
            metric = "test NLL a frame, nats"
            found.append(Row(f"{name}, {cell}", metric, f"{values['test']:.2f}", f"{theirs:.2f}, TCN paper", gap))
    return found


def to_markdown(results: dict[str, Any]) -> str:
    """The likelihoods beside the published ones, and what was composed."""
    lines, words = [], []
    for name, part in results["parts"].items():
        for cell, values in part["cells"].items():
            theirs = PUBLISHED[name][cell]
            numbers = f"{values['validation']:.3f}", f"{values['test']:.3f}", f"{theirs:.2f}"
            lines.append((f"{name}, {cell}", f"{values['parameters']:,}", *numbers, f"{values['test'] - theirs:+.2f}"))
        words.append(
            f"* {name}: the {part['best']} has the least on the validation split; `{_file(name)}` begins with "
            f"{part['begun']} frames of a test piece, and the {len(part['piece']) - part['begun']} after them it drew."
        )
    head = ("data, network", "parameters", "validation", "test", "published test", "gap")
    note = (
        "Negative log-likelihood a frame in nats; the validation split chose the parameters, the test split was used "
        "once. Published: Bai, Kolter & Koltun (2018, arXiv 1803.01271), whose TCN has 8.10 and 3.07.\n"
    )
    return "\n".join([output.about(results), note, markdown_table(head, lines), *words, ""])


def midi(results: dict[str, Any]) -> dict[str, output.Writer]:
    """The piece of each data set."""
    found = {}
    for name, part in results["parts"].items():
        how = {"steps_per_quarter": STEPS_PER_QUARTER[name], "beats_per_minute": BEATS_PER_MINUTE[name]}
        found[_file(name)] = functools.partial(write_midi, roll=piano_roll(part["piece"]), **how)
    return found


def _file(name: str) -> str:
    return f"{name.lower().replace(' ', '_')}.mid"


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: likelihoods beside the published ones. Right: the rolls of what was composed."""
    settings, made = results["settings"], results["data"] != REAL
    figure = output.titled(
        "Music, frame by frame" + (", on made pieces" if made else ": likelihood, and what is composed"),
        (
            f"{settings['hidden_size']} units. Left: test nats a frame, filled, beside those of the TCN paper, hollow; "
            "dotted: its convolutional network. Less is better.",
            "Right: the best network goes on, after the dotted line, from the first bars of a test piece.",
        ),
    )
    for number, (name, part) in enumerate(results["parts"].items()):
        bottom = 0.5 - 0.4 * number
        _likelihoods(output.panel(figure, (0.075, bottom, 0.255, 0.25), name, ""), name, part)
        _roll(output.panel(figure, (0.4, bottom, 0.575, 0.25), f"{name}, by the {part['best']}", "frames"), part)
    return figure


def _likelihoods(axes: Axes, name: str, part: dict[str, Any]) -> None:
    for place, (cell, values) in enumerate(part["cells"].items()):
        here, theirs = values["test"], PUBLISHED[name][cell]
        axes.plot([here, theirs], [place, place], color="#bbbbbb", lw=2, zorder=1)
        axes.plot(theirs, place, "o", ms=11, mfc="white", mec=COLOURS[cell], mew=2)
        axes.plot(here, place, "o", ms=11, color=COLOURS[cell])
        axes.annotate(f"{here:.2f}", (here, place), (0, 9), textcoords="offset points", ha="center", fontsize=12)
    axes.axvline(PUBLISHED[name]["TCN"], color="#D55E00", lw=1.5, ls=":")
    axes.set_yticks(range(len(part["cells"])), list(part["cells"]))
    axes.set_ylim(len(part["cells"]) - 0.5, -0.7)
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="#e6e6e6", lw=0.8)


def _roll(axes: Axes, part: dict[str, Any]) -> None:
    roll, begun = piano_roll(part["piece"]), part["begun"]
    keys = np.flatnonzero(roll.any(axis=0)) if roll.any() else np.array([0, 87])
    low, high = keys[0] - 1, keys[-1] + 2
    axes.imshow(roll[:, low:high].T, aspect="auto", origin="lower", cmap="Greys", vmax=1.3, interpolation="nearest",
                extent=(0, len(roll), low + 20.5, high + 20.5))  # fmt: skip
    axes.axvline(begun, color="#D55E00", lw=2, ls=":")
    axes.set_ylabel("MIDI pitch")
    axes.grid(visible=False)
