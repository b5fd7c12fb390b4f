"""The picture and the text of the character language model, from its results.json alone."""

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.figure import FONTS
from experiments import output
from experiments.application import REAL, Row
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import OWN

NANOGPT = 1.4697 / math.log(2)  # github.com/karpathy/nanoGPT, README: validation loss in nats


def rows(results: dict[str, Any]) -> list[Row]:
    """Bits per character beside the yardstick."""
    part, size = results["parts"]["LSTM"], results["settings"]["hidden_size"]
    published = f"{NANOGPT:.2f}, nanoGPT's transformer"
    gap = f"{part['bits'] - NANOGPT:+.2f}"
    return [Row(f"LSTM, {size} units", "validation bits per character", f"{part['bits']:.3f}", published, gap)]


def to_markdown(results: dict[str, Any]) -> str:
    """Bits, and what was drawn at each temperature."""
    part = results["parts"]["LSTM"]
    values = f"{part['parameters']:,}", f"{part['bits']:.4f}", f"{part['bits'] * math.log(2):.4f}"
    table = markdown_table(("model", "parameters", "validation bits", "nats"), [("LSTM", *values)])
    texts = []
    for temperature, text in part["samples"].items():
        lines = "\n".join(f"    {line}".rstrip() for line in text.splitlines())
        texts.append(f"Drawn at temperature {temperature}:\n\n{lines}\n")
    return "\n".join([output.about(results), table, *texts])


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: bits over the updates. Right: each gate of some units over one line."""
    settings, part = results["settings"], results["parts"]["LSTM"]
    figure = output.titled(
        f"A character LSTM on {'tiny Shakespeare' if results['data'] == REAL else 'made text'}",
        (
            f"{settings['hidden_size']} units, windows of {settings['window']} steps in {settings['batch']} rows; "
            f"{part['bits']:.3f} bits per character on the validation split.",
            f"Right: gates of the {len(part['gates']['units'])} units whose forget gate moves most, over one line.",
        ),
    )
    left = output.panel(figure, (0.06, 0.11, 0.32, 0.64), "Bits per character", "updates")
    history = part["history"]
    trained = np.array(history["training_loss"], float) / math.log(2)
    left.plot(history["step"], trained, color="#777777", ls=(0, (3, 2)), lw=2, label="training, with dropout")
    left.plot(history["step"], history["bits"], "o-", color=OWN["LSTM-forget-1"].colour, lw=2.5, label="validation")
    left.axhline(NANOGPT, color="#D55E00", lw=1.5, ls=":", label="a transformer (nanoGPT)")
    left.legend(frameon=False, fontsize=12)
    left.set_xlim(0, settings["updates"])
    _gates(figure, part["gates"])
    return figure


def _gates(figure: Figure, gates: dict[str, Any]) -> None:
    text = ["⏎" if letter == "\n" else "␣" if letter == " " else letter for letter in gates["text"]]
    image = None
    for number, (name, values) in enumerate(gates["traces"].items()):
        axes = figure.add_axes((0.47, 0.56 - 0.225 * number, 0.45, 0.17))
        image = axes.imshow(np.array(values, float), aspect="auto", vmin=0, vmax=1, cmap="cividis")
        axes.set_title(name, fontsize=13)
        axes.set_ylabel("unit", fontsize=12)
        axes.set_yticks([])
        last = number == len(gates["traces"]) - 1  # the letters of all three
        axes.set_xticks(range(len(text)) if last else [], text if last else [], fontsize=10)
        axes.tick_params(length=0)
    if image is not None:
        colours = figure.add_axes((0.94, 0.11, 0.012, 0.62))
        figure.colorbar(image, cax=colours)
