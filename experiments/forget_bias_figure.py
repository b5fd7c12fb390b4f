"""Table and figure of the half-lives by forget bias, drawn from what stands in their results.json."""

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.figure import FONTS, GREY, INK
from experiments import output
from jaxrnn.files import markdown_table
from jaxrnn.gradients.findings import SINGLE_RATE
from jaxrnn.tasks import Copy

HEADINGS = ("forget bias", "predicted", "measured", "own path", "trained, measured", "trained, own path", "loss")
SHADES = ("#9ecae9", "#56A8DC", "#0072B2", "#00497a", "#001f3a", "#D55E00")  # the last for chrono
DASHES = ((0, (1, 1.2)), (0, (3, 1.5)), (0, (6, 1.5)), (0, (6, 1.5, 1, 1.5)), "-")
SERIES = (  # label, value, marker, colour, to which side
    ("predicted from the bias", lambda part: part["predicted"], "_", INK, 0.0),
    ("own path of a unit, at the start", lambda part: part["before"]["own_path"], "s", "#009E73", -0.2),
    ("measured at the start", lambda part: _decaying(part["before"]), "o", "#56A8DC", 0.0),
    ("measured after training", lambda part: _decaying(part["after"]), "D", "#D55E00", 0.2),
)


def _decaying(stage: dict[str, Any]) -> float | None:
    """The half-life, if the norm decays, and at a single rate."""
    rate, r_squared = stage["rate"], stage["r_squared"]
    return -math.log(2) / rate if rate is not None and rate < 0 and r_squared >= SINGLE_RATE else None


def _steps(value: float | None) -> str:
    if value is None:
        return "does not decay"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def to_markdown(results: dict[str, Any]) -> str:
    """The table, with what it says."""
    settings, rows = results["settings"], []
    baseline = Copy(settings["delay"]).baseline()
    for name, part in results["parts"].items():
        ends = [run[-1] for run in part["losses"]]
        loss = ", ".join("not finite" if end is None else f"{end:.4f}" for end in ends)
        stages = [
            cell
            for stage in (part["before"], part["after"])
            for cell in (output.half_life(stage["rate"], stage["r_squared"]), _steps(stage["own_path"]))
        ]
        rows.append((name, _steps(part["predicted"]), *stages, loss))
    words = (
        f"Half-lives in steps of an LSTM with {settings['hidden_size']} units on the copying problem with a delay of "
        f"{settings['delay']} steps, before and after {settings['updates']} updates of {settings['batch']} sequences "
        f"by RMSprop with learning rate {settings['rate']:g}. Measured: of ||dL/dc_t||, the median over "
        f"{settings['held_out']} sequences and {settings['seeds']} networks. Own path: from the mean of ln f_t, the "
        f"median over units. Loss: the mean over the last {settings['every']} updates, network by network; answering "
        f"without memory has {baseline:.4f}."
    )
    return f"{markdown_table(HEADINGS, rows)}\n{words}\n"


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: half-lives by bias. Middle: the curves at the start. Right: losses while training."""
    settings, parts = results["settings"], results["parts"]
    figure = output.titled(
        "How long does an LSTM remember?",
        (
            f"{settings['hidden_size']} units on the copying problem with a delay of {settings['delay']} steps; "
            rf"half-lives of $\Vert\partial L/\partial c_t\Vert$ in steps.",
            f"Training: {settings['updates']} updates of {settings['batch']} sequences, RMSprop, {settings['seeds']} "
            "networks with each bias.",
        ),
    )
    left = output.panel(figure, (0.06, 0.15, 0.26, 0.58), "Half-life", "forget bias")
    middle = output.panel(
        figure, (0.4, 0.15, 0.24, 0.58), r"$\Vert\partial L/\partial c_t\Vert$ at the start", "lag in steps"
    )
    right = output.panel(figure, (0.72, 0.15, 0.26, 0.58), "Loss while training", "updates")
    _half_lives(left, parts)
    middle.set_ylabel("log10 of the norm")
    right.set_ylabel("cross-entropy, nats a step")
    for number, (name, part) in enumerate(parts.items()):
        colour, dashes = (SHADES[-1], "-") if name == "chrono" else (SHADES[number % 5], DASHES[number % 5])
        curve = np.array(part["before"]["curve"][::-1], np.float64)
        middle.plot(np.arange(1, len(curve) + 1), curve, color=colour, ls=dashes, lw=2.2, label=name)
        loss = np.median(np.array(part["losses"], np.float64), axis=0)
        updates = settings["every"] * np.arange(1, len(loss) + 1)
        right.plot(updates, loss, color=colour, ls=dashes, lw=2.2)
    middle.set_ylim(-20, 1)
    right.axhline(Copy(settings["delay"]).baseline(), color=GREY, lw=1.2, ls="--")
    right.set_ylim(0, 2 * Copy(settings["delay"]).baseline())
    handles, labels = middle.get_legend_handles_labels()
    figure.legend(handles, labels, loc="center", bbox_to_anchor=(0.69, 0.8), ncols=6, frameon=False, fontsize=11.5)
    figure.text(0.72, 0.03, "Dashed: answering without memory.", fontsize=11, color=GREY)
    figure.text(0.06, 0.03, "Where a mark is missing the norm grows, or has no single rate.", fontsize=11, color=GREY)
    return figure


def _half_lives(axes, parts: dict[str, Any]) -> None:
    across = np.arange(len(parts))
    axes.set_yscale("log")
    for label, value, marker, colour, side in SERIES:
        values = np.array([value(part) for part in parts.values()], np.float64)
        size = {"ms": 22, "mew": 2.4} if marker == "_" else {"ms": 8, "mec": "white"}
        axes.plot(across + side, values, marker, color=colour, label=label, **size)
    axes.set_xticks(across, [name.removeprefix("b_f = ") for name in parts])
    axes.set_ylabel("steps")
    axes.set_ylim(0.7, 4000)
    axes.set_xlim(-0.6, len(parts) - 0.4)
    axes.legend(loc="upper left", frameon=False, fontsize=11, markerscale=0.7, borderaxespad=0)
