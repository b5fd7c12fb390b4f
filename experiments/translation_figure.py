"""The picture, the table and the translations, from their results.json alone."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.figure import FONTS
from experiments import output
from experiments.application import REAL, Row
from jaxrnn.files import markdown_table

MULTI30K, TATOEBA = "Multi30k de-en", "Tatoeba fr-en"
GREEDY, BEAM = "greedy", "beam"
WITHOUT = "no attention"
BAR, BAR_WITHOUT = 28.3, 13.8  # BLEU in the notebooks of github.com/bentrevett/pytorch-seq2seq


def published(name: str) -> float | None:
    """BLEU of the nearest network that has a published one."""
    if not name.startswith(MULTI30K):
        return None
    return BAR_WITHOUT if name.endswith(WITHOUT) else BAR


def rows(results: dict[str, Any]) -> list[Row]:
    """BLEU, greedy and by the beam."""
    found, beam = [], results["settings"]["beam"]
    for name, part in results["parts"].items():
        bar = published(name)
        for way, words in ((GREEDY, "greedy"), (BEAM, f"beam {beam}")):
            value = part["bleu"][way]
            known = ("none", "-") if bar is None else (f"{bar}, pytorch-seq2seq", f"{value - bar:+.1f}")
            found.append(Row(name, f"test BLEU, {words}", f"{value:.1f}", *known))
    return found


def to_markdown(results: dict[str, Any]) -> str:
    """BLEU and perplexity of each run, and some translations."""
    lines, texts = [], []
    for name, part in results["parts"].items():
        bar = published(name)
        values = f"{part['bleu'][GREEDY]:.1f}", f"{part['bleu'][BEAM]:.1f}", f"{part['perplexity']:.2f}"
        lines.append((name, f"{part['parameters']:,}", *values, bar or "none"))
        told = "\n".join(
            "\n".join(f"    {way:9} {text}" for way, text in one.items()) + "\n" for one in part["sentences"]
        )
        texts.append(f"The first test sentences, {name}:\n\n{told}")
    beam = f"BLEU, beam {results['settings']['beam']}"
    table = markdown_table(("", "parameters", "BLEU, greedy", beam, "validation perplexity", "published BLEU"), lines)
    words = "BLEU is of the test split, translated freely, by sacrebleu on tokens in lower case, one reference each.\n"
    return "\n".join([output.about(results), table, words, *texts])


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: BLEU of each run. Right: attention over a test sentence."""
    parts = results["parts"]
    several = len(results["settings"]["corpora"]) > 1
    epochs = " and ".join(map(str, results["settings"]["epochs"][: 1 + several]))
    figure = output.titled(
        "Translation into English" + ("" if results["data"] == REAL else ", made sentences"),
        (
            f"{results['settings']['hidden_size']} units, {epochs} epochs. Left: BLEU of the "
            f"test split, greedy and by a beam of {results['settings']['beam']}, published values as dotted lines.",
            "Right: where the decoder looked while it told each word of its own translation.",
        ),
    )
    left = output.panel(figure, (0.06, 0.16, 0.36, 0.58), "BLEU", "")
    for number, (name, part) in enumerate(parts.items()):
        for side, way in enumerate((GREEDY, BEAM)):
            value, place = part["bleu"][way], number + 0.38 * (side - 0.5)
            colour = ("#56A8DC", "#332288")[side]
            left.bar(place, value, width=0.36, color=colour, label=way if number == 0 else None)
            label = {"textcoords": "offset points", "ha": "center", "fontsize": 12}
            left.annotate(f"{value:.1f}", (place, value), (0, 3), **label)
        if bar := published(name):
            left.plot([number - 0.42, number + 0.42], [bar, bar], color="#D55E00", ls=":", lw=2.5)
    left.set_xticks(range(len(parts)), [name.replace(", ", "\n") for name in parts], fontsize=12)
    left.set_xlim(-0.6, len(parts) - 0.4)
    left.set_ylim(top=1.15 * max([BAR, *(part["bleu"][way] for part in parts.values() for way in (GREEDY, BEAM))]))
    left.legend(frameon=False, fontsize=12, loc="upper left", ncols=2)
    shown = [part["attention"] for part in parts.values() if part["attention"]]
    if shown:
        _heat(figure, shown[0])
    return figure


def _heat(figure: Figure, attention: dict[str, Any]) -> None:
    axes = figure.add_axes((0.57, 0.06, 0.37, 0.52))
    weights = np.array(attention["weights"], float)
    image = axes.imshow(weights, aspect="auto", vmin=0, vmax=1, cmap="Blues")
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(attention["source"])), attention["source"], rotation=50, ha="left", fontsize=12)
    axes.set_yticks(range(len(attention["told"])), attention["told"], fontsize=12)
    axes.tick_params(length=0)
    figure.colorbar(image, cax=figure.add_axes((0.95, 0.06, 0.01, 0.52)))
