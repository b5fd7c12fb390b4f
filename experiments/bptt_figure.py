"""The figure of `bptt_by_hand`: the unfolded network with both directions, and what each copy of the weights adds."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.figure import FONTS, GREY, INK

FORWARD, BACKWARD, SECOND = "#0072B2", "#D55E00", "#332288"


def draw(results: dict[str, Any]) -> Figure:
    """The unfolded network with both directions, and below it what each copy adds."""
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(40 / 3, 11), dpi=120)  # 1600 pixels wide
        settings = results["settings"]
        network = f"An Elman network, {settings['hidden_size']} units, reads “{settings['text']}”"
        subtitle = f"{network} and scores every next character.  Equal to jax.grad to 1e-10."
        figure.text(0.03, 0.965, "Backpropagation through time, by hand", fontsize=22, weight="bold", va="center")
        figure.text(0.03, 0.928, subtitle, fontsize=12.5, color=GREY, va="center")
        draw_network(figure.add_axes((0.02, 0.41, 0.96, 0.49)), settings["text"])
        draw_shares(figure.add_axes((0.06, 0.085, 0.57, 0.25)), results)
        draw_sums(figure.add_axes((0.82, 0.085, 0.13, 0.25)), results)
    return figure


def shown(character: str) -> str:
    """A character that can be seen."""
    return "␣" if character == " " else character


def draw_network(axes: Axes, text: str) -> None:
    """Boxes over time; forward arrows in one colour, the gradient's way back beside them in another."""
    axes.set(xlim=(0, 16), ylim=(-0.75, 6.85))
    axes.set_axis_off()
    centres, rows = (2.6, 5.4, 8.2, 11.6), (0.0, 2.0, 4.0, 6.0)
    steps = ("1", "2", "3", "T")
    half_width, half_height, aside = 0.42, 0.36, 0.13

    def box(x, y, label, colour=INK):
        axes.text(x, y, label, ha="center", va="center", fontsize=17, color=colour)
        corners = ((x - half_width, y - half_height), 2 * half_width, 2 * half_height)
        axes.add_patch(Rectangle(*corners, fill=False, ec=colour, lw=1.6))

    def arrow(start, end, colour):
        style = {"arrowstyle": "-|>", "color": colour, "lw": 2, "mutation_scale": 17, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, start, arrowprops=style)

    def label(x, y, words, colour, side="center"):
        axes.text(x, y, words, color=colour, fontsize=14, ha=side, va="center")

    def joined(start, end, names):
        """Both arrows between two boxes, and their labels: above and below, or left and right."""
        (x0, y0), (x1, y1) = start, end
        if y0 == y1:
            left, right = x0 + half_width, x1 - half_width
            arrow((left, y0 + aside), (right, y0 + aside), FORWARD)
            arrow((right, y0 - aside), (left, y0 - aside), BACKWARD)
            label((left + right) / 2, y0 + 0.42, names[0], FORWARD)
            label((left + right) / 2, y0 - 0.45, names[1], BACKWARD)
        else:
            low, high = y0 + half_height, y1 - half_height
            arrow((x0 - aside, low), (x0 - aside, high), FORWARD)
            arrow((x0 + aside, high), (x0 + aside, low), BACKWARD)
            label(x0 - 0.25, (low + high) / 2, names[0], FORWARD, "right")
            label(x0 + 0.25, (low + high) / 2, names[1], BACKWARD, "left")

    box(0.6, rows[1], "$h_0$", GREY)
    characters = [*text[:3], text[-2]], [*text[1:4], text[-1]]
    for x, t, read, wanted in zip(centres, steps, *characters, strict=True):
        for y, name in zip(rows, "xhoL", strict=True):
            box(x, y, f"${name}_{t}$")
        label(x + 0.55, rows[0], f"“{shown(read)}”", GREY, "left")
        label(x + 0.55, rows[3], f"“{shown(wanted)}”", GREY, "left")
        joined((x, rows[0]), (x, rows[1]), ("$U$", f"$U^⊤e_{t}$"))
        joined((x, rows[1]), (x, rows[2]), ("$V$", f"$V^⊤d_{t}$"))
        joined((x, rows[2]), (x, rows[3]), ("", f"$d_{t}$"))
    gap = half_width - 0.3  # as if a narrow box stood at the dots
    starts, ends = (0.6, *centres[:3], 9.9 - gap), (*centres[:3], 9.9 + gap, centres[3])
    for left, right, t in zip(starts, ends, "1234T", strict=True):
        joined((left, rows[1]), (right, rows[1]), ("$W$", f"$W^⊤e_{t}$"))
    for y in rows:
        axes.text(9.9, y, "···", fontsize=17, ha="center", va="center", color=INK)
    notes = (
        (6.35, "forward", FORWARD, "bold"),
        (5.8, "$h_t=\\tanh(Ux_t+Wh_{t-1}+b)$", FORWARD, "normal"),
        (5.25, "$p_t=\\mathrm{softmax}(Vh_t+c)$", FORWARD, "normal"),
        (4.7, "$L_t=-\\ln\\,p_t[y_t]$", FORWARD, "normal"),
        (3.9, "gradient, backward", BACKWARD, "bold"),
        (3.35, "$d_t=p_t-y_t$", BACKWARD, "normal"),
        (2.8, "$a_t=V^⊤d_t+W^⊤e_{t+1}$", BACKWARD, "normal"),
        (2.25, "$e_t=(1-h_t^2)\\circ a_t$", BACKWARD, "normal"),
        (1.45, "sums over the copies", INK, "bold"),
        (0.75, "$\\partial L/\\partial W=\\sum_t\\,e_t\\,h_{t-1}^⊤$", INK, "normal"),
        (0.05, "$\\partial L/\\partial U=\\sum_t\\,e_t\\,x_t^⊤$", INK, "normal"),
        (-0.65, "$\\partial L/\\partial V=\\sum_t\\,d_t\\,h_t^⊤$", INK, "normal"),
    )
    for y, words, colour, weight in notes:
        axes.text(13.0, y, words, color=colour, fontsize=14, weight=weight, va="center")


def draw_shares(axes: Axes, results: dict[str, Any]) -> None:
    """The norm of each copy's share of dL/dW and dL/dU over time, with the character that is read there."""
    text = results["settings"]["text"]
    steps = np.arange(1, len(text))
    for name, colour, marker, dashes in (("W", SECOND, "o", "-"), ("U", BACKWARD, "s", (0, (5, 1.5)))):
        norms = results["parameters"][name]["norm_of_each_copy"]
        axes.plot(
            steps, norms, color=colour, marker=marker, ms=7, ls=dashes, lw=2, label=f"$\\partial L/\\partial {name}_t$"
        )
    axes.set_ylim(bottom=0)
    axes.set_xlim(0.5, len(text) - 0.5)
    axes.set_xticks(steps, [shown(character) for character in text[:-1]])
    axes.grid(axis="y", color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(
        f"step $t$ = 1 … {steps[-1]}: the character read  (at $t$ = 1 the share of $W$ is 0, since $h_0$ = 0)"
    )
    axes.set_ylabel("norm of the copy's share")
    axes.set_title("What each copy adds to the gradient")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=14, borderaxespad=0.1)


def draw_sums(axes: Axes, results: dict[str, Any]) -> None:
    """The norm of the sum beside the sum of the norms."""
    for i, (name, colour) in enumerate((("W", SECOND), ("U", BACKWARD))):
        entry = results["parameters"][name]
        bars = axes.barh(
            (3 * i, 3 * i + 1), (entry["norm_of_sum"], entry["sum_of_norms"]), color=(colour, "white"), ec=colour, lw=2
        )
        axes.bar_label(bars, fmt="%.1f", fontsize=13, padding=4)
    words = [f"$\\partial L/\\partial {name}$: {what}" for name in "WU" for what in ("norm of the sum", "sum of norms")]
    axes.set_yticks((0, 1, 3, 4), words)
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.tick_params(axis="y", length=0)
    axes.set_title("Their sum")
