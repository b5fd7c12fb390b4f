"""Table and figure of the phase diagram, drawn from what stands in its results.json and from the theory."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from benchmarks.figure import FONTS, GREY, INK
from experiments import output
from jaxrnn.files import markdown_table

HEADINGS = ("point", "predicted", "measured", "measured / predicted", "networks one by one")


def to_markdown(results: dict[str, Any]) -> str:
    """The table, with what it says."""
    rows = []
    for name, part in results["parts"].items():
        each = ", ".join(f"{rate:.4f}" for rate in part["networks"])
        ratio = part["measured"] / part["predicted"]
        rows.append((name, f"{part['predicted']:.4f}", f"{part['measured']:.4f}", f"{ratio:.3f}", each))
    worst = max(abs(part["measured"] / part["predicted"] - 1) for part in results["parts"].values())
    settings = results["settings"]
    words = (
        "The factor by which the root mean square of ||dL/dh_t|| changes in one step: sqrt(chi) in mean field, and as "
        f"measured between lags 10 and 60 in tanh networks of {settings['hidden_size']} units, {settings['networks']} "
        f"networks and {settings['batch']} sequences each. The largest deviation is {100 * worst:.1f}%."
    )
    return f"{markdown_table(HEADINGS, rows)}\n{words}\n"


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any], plane: dict[str, Any]) -> Figure:
    """Left: theory as colour, measurement as dots of the same colours. Right: one against the other."""
    settings = results["settings"]
    figure = output.titled(
        "Where gradients vanish and explode before anything is learned",
        (
            f"tanh networks of {settings['hidden_size']} units, Gaussian weights of deviation $\\sigma_w/\\sqrt{{N}}$, "
            "that read noise of variance $s^2$.",
            f"Colour: growth of the RMS gradient in one step, of mean field in the plane, measured in the dots "
            f"({settings['networks']} networks each).",
        ),
    )
    left = output.panel(figure, (0.07, 0.14, 0.42, 0.6), "Phase diagram", r"weight scale  $\sigma_w$")
    right = output.panel(figure, (0.66, 0.14, 0.31, 0.6), "Prediction and measurement", r"predicted  $\sqrt{\chi}$")
    norm = TwoSlopeNorm(1.0, 0.4, 1.4)
    field, line = np.array(plane["field"], np.float64), np.array(plane["line"], np.float64)
    scales, variances = np.array(plane["scales"]), np.array(plane["variances"])
    shown = left.contourf(scales, variances, field, np.linspace(0.4, 1.4, 41), cmap="PuOr_r", norm=norm, extend="both")
    left.plot(line, variances, color=INK, lw=2.4)
    arrow = {"arrowstyle": "-", "color": INK}
    left.annotate("critical line, $\\chi = 1$", (1.25, 0.022), (1.45, 0.0205), arrowprops=arrow, fontsize=12)
    left.text(0.75, 0.105, "vanish", fontsize=14)
    left.text(2.56, 0.105, "explode", fontsize=14, color="white")
    left.set_yscale("log")
    left.set_ylabel("input variance  $s^2$")
    parts = list(results["parts"].values())
    names = ("weight_scale", "input_variance", "measured", "predicted")
    found = {name: np.array([part[name] for part in parts]) for name in names}
    marks: dict[str, Any] = {"c": found["measured"], "cmap": "PuOr_r", "norm": norm, "s": 150, "ec": INK, "lw": 1.4}
    left.scatter(found["weight_scale"], found["input_variance"], zorder=3, **marks)
    left.set(xlim=scales[[0, -1]], ylim=variances[[0, -1]])
    figure.colorbar(shown, ax=left, ticks=np.arange(0.4, 1.5, 0.2), label="growth in one step")
    ends = np.array([found["predicted"].min() - 0.05, found["predicted"].max() + 0.05])
    right.plot(ends, ends, color=GREY, lw=1.2)
    right.axvline(1, color=GREY, ls=":", lw=1)
    right.axhline(1, color=GREY, ls=":", lw=1)
    for part in parts:
        each = part["networks"]
        right.plot([part["predicted"]] * len(each), each, "_", color="#56A8DC", ms=10)
    right.plot(found["predicted"], found["measured"], "o", color="#0072B2", ms=7, mec="white")
    right.set_ylabel("measured growth in one step")
    figure.text(0.66, 0.02, "Dots: all networks together; dashes: one by one.", fontsize=11, color=GREY)
    return figure
