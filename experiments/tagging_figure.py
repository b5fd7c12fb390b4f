"""The picture and the text of the tagging experiment, from its results.json alone."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from seqeval.metrics.sequence_labeling import get_entities

from benchmarks.figure import FONTS
from benchmarks.panel import GREY, INK
from experiments import output
from experiments.application import MADE, Row
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import styles_of
from jaxrnn.models import crf

HEADS = "softmax", "CRF"
DATA = {"ncbi": "NCBI-disease", "wikigold": "Wikigold"}
LAMPLE = 85.80  # see the experiment's head


def rows(results: dict[str, Any]) -> list[Row]:
    """Each network beside the published one, which has pretrained vectors."""
    found = []
    for name, part in results["parts"].items():
        here, known = 100 * part["f1"], name.startswith(DATA["ncbi"])
        published = f"{LAMPLE:.2f}, BiLSTM-CRF with PubMed vectors; here none" if known else "none known in-domain"
        found.append(
            Row(name, "test entity F1, %", f"{here:.1f}", published, f"{here - LAMPLE:+.1f}" if known else "-")
        )
    return found


def to_markdown(results: dict[str, Any]) -> str:
    """Precision, recall and F1, the published ones, and sentences."""
    table = markdown_table(
        ("network", "parameters", "sentences", "test precision, %", "test recall, %", "test F1, %", "validation F1, %"),
        [
            (name, f"{part['parameters']:,}", f"{part['sentences']:,}")
            + tuple(f"{100 * part[value]:.1f}" for value in ("precision", "recall", "f1", "validation"))
            for name, part in results["parts"].items()
        ],
    )
    words = (
        "Whole entities, by seqeval, on all sentences of the test split; one network each, so that no spread is "
        "known. NCBI-disease comes with its split; that of "
        "Wikigold is this library's own. All is trained from scratch, on the training split alone.\n\n"
        f"Published F1 on NCBI-disease: {LAMPLE:.2f} (Lample et al.), 83.92 (LM-LSTM-CRF), 82.62 (Ma & Hovy), all with "
        "word vectors of PubMed (yuzhimanhua/Multi-BioNER, whose own model is trained on the validation split "
        "too). None is known for Wikigold."
    )
    texts = [
        f"{name}, the first sentences of the test split that are right, and the first that are wrong:\n\n"
        + "\n".join(map(_in_words, part["examples"]))
        for name, part in results["parts"].items()
    ]
    return "\n".join([output.about(results), table, words, "", *texts])


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: F1 of both heads over the updates, for each data set. Right: what the CRF learned of its tags."""
    settings, parts = results["settings"], results["parts"]
    figure = output.titled(
        "Entities: a softmax for each word, or a CRF over all tags" + (" (made data)" * (results["data"] == MADE)),
        (
            f"Bidirectional LSTM of {settings['hidden_size']} units on words and their characters, nothing pretrained.",
            "Lines: whole entities of the validation split; in the legends, of the test split.",
        ),
    )
    kinds = [DATA[name] for name in settings["corpora"]]
    for number, kind in enumerate(kinds):
        height = 0.26 if len(kinds) > 1 else 0.66
        axes = output.panel(figure, (0.06, 0.77 - height - 0.4 * number, 0.4, height), f"{kind}: F1, %", "updates")
        there = {head: parts[name] for head in HEADS if (name := f"{kind}, {head}") in parts}
        _histories(axes, there, settings["updates"])
        if kind == DATA["ncbi"]:
            axes.set_ylim(top=max(axes.get_ylim()[1], LAMPLE + 8))
            axes.axhline(LAMPLE, color=GREY, lw=1.3, ls=":")
            axes.text(0, LAMPLE + 1.5, " published, with pretrained vectors", fontsize=11, color=GREY, va="bottom")
    learned = [(name, part["transitions"]) for name, part in parts.items() if "transitions" in part]
    if learned:
        _transitions(figure, *learned[-1])
    return figure


def _histories(axes: Axes, parts: dict[str, Any], updates: int) -> None:
    for head, style in styles_of(list(HEADS)).items():
        if head in parts:
            history = parts[head]["history"]
            line = {"color": style.colour, "ls": style.dashes, "marker": style.marker, "lw": 2.3, "ms": 7}
            label = f"{head}, test {100 * parts[head]['f1']:.1f}"
            axes.plot(history["step"], 100 * np.array(history["f1"], float), label=label, **line)
    axes.set_xlim(0, updates * 1.02)
    if parts:
        found = 100 * np.concatenate([part["history"]["f1"] for part in parts.values()])
        axes.set_ylim(max(found.min() - 5, 0), found.max() + 8)
        axes.legend(frameon=False, fontsize=12, loc="lower right", handlelength=3)


def _transitions(figure: Figure, name: str, learned: dict[str, Any]) -> None:
    """From the tag of a row to that of a column, orange to blue; a cross where the scheme forbids it."""
    names, allowed = learned["names"], crf.bio_constraints(learned["names"])
    scores, forbidden = np.full((2, len(names) + 1, len(names) + 1), np.nan)
    scores[0, :-1], scores[1:, :-1], scores[1:, -1] = learned["start"], learned["between"], learned["end"]
    forbidden[0, :-1], forbidden[1:, :-1] = ~np.asarray(allowed.start), ~np.asarray(allowed.between)
    limit = np.nanmax(np.abs(scores)) or 1.0
    axes = figure.add_axes((0.58, 0.115, 0.335, 0.595))
    image = axes.imshow(scores, cmap=output.ORANGE_BLUE, vmin=-limit, vmax=limit, aspect="auto")
    for row, column in zip(*np.where(forbidden == 1), strict=True):
        axes.text(column, row, "×", ha="center", va="center", fontsize=13, color=INK)
    axes.set_title(f"{name}: score of a tag after another", y=1.1)
    axes.set_xticks(range(len(names) + 1), [*names, "end"], rotation=45, ha="left", fontsize=11)
    axes.set_yticks(range(len(names) + 1), ["start", *names], fontsize=11)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, cax=figure.add_axes((0.93, 0.115, 0.012, 0.595)))
    figure.text(0.58, 0.05, "Rows: the tag before.  ×: forbidden by the scheme, never told.", fontsize=12, color=INK)


def _in_words(example: dict[str, Any]) -> str:
    told, true = (_bracketed(example["tokens"], example[which]) for which in ("told", "true"))
    return f"    right: {told}\n" if told == true else f"    told:  {told}\n    true:  {true}\n"


def _bracketed(tokens: list[str], tags: list[str]) -> str:
    """The words with each entity in brackets, its type behind: [colon cancer](Disease)."""
    words = list(tokens)
    for kind, first, last in get_entities(tags):
        words[first] = f"[{words[first]}"
        words[last] = f"{words[last]}]({kind})"
    return " ".join(words)
