"""The picture and the table of word vectors, from their results.json alone."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.figure import FONTS
from experiments import output
from experiments.application import REAL, Row
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import OWN

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#C4609A", "#222222", "#661100", "#56A8DC", "#D99500", "#332288")
FILLS = {"skip-gram": OWN["LSTM-forget-1"].colour, "CBOW": OWN["LRU"].colour}
LETTER, LINE = 0.082, 0.148  # inches: the width of a letter of the map's labels, and their height


def _share(part: dict[str, Any], which: str) -> float | None:
    asked = sum(kind["asked"] for kind in part["analogies"].values())
    return 100 * sum(kind[which] for kind in part["analogies"].values()) / asked if asked else None


def _margin(part: dict[str, Any]) -> float | None:
    like = part["likeness"]
    return None if like["related"] is None else like["related"] - like["others"]


def _words(value: float | None, form: str) -> str:
    return "none known" if value is None else format(value, form)


def rows(results: dict[str, Any]) -> list[Row]:
    """Analogies and likeness of each; nothing is published of either."""
    found = []
    for name, part in results["parts"].items():
        metrics = {
            "analogies answered first, in %, own list": _words(_share(part, "first"), ".0f"),
            "cosine of related words less that of others, own list": _words(_margin(part), ".3f"),
        }
        found += [Row(name, metric, here, "none", "-") for metric, here in metrics.items()]
    return found


def to_markdown(results: dict[str, Any]) -> str:
    """Analogies by kind, likeness, and nearest words."""
    parts = results["parts"]
    kinds = list(next(iter(parts.values()))["analogies"]) if parts else []
    lines = []
    for name, part in parts.items():
        by_kind = (part["analogies"][kind] for kind in kinds)
        told = [f"{kind['first']} ({kind['five']}) of {kind['asked']}" for kind in by_kind]
        like = [_words(part["likeness"][which], ".3f") for which in ("related", "others")]
        every = " and ".join(_words(_share(part, which), ".0f") for which in ("first", "five"))
        lines.append((name, *told, every, *like, f"{part['test_loss']:.3f}"))
    headings = ("", *kinds, "all, %", "cosine, related", "cosine, others", "test loss, nats")
    words = (
        "Analogies answered first, in brackets among the first five, of the questions whose words are all known; those "
        "asked, and the related pairs, are lists written for this (experiments/embeddings_words.py), so nothing is "
        "published of them. The losses of the two are of different things, and not to be compared."
    )
    texts = []
    for name, part in parts.items():
        near = "\n".join(f"* {word}: {', '.join(found)}" for word, found in part["nearest"].items())
        texts.append(f"\nNearest by cosine, {name}, of {part['words']:,} words:\n\n{near}")
    return "\n".join([output.about(results), markdown_table(headings, lines), words, *texts, ""])


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: the map of the words in groups. Right: analogies by kind, and the losses."""
    settings, parts = results["settings"], results["parts"]
    what = "WikiText-2" if results["data"] == REAL else "made words"
    name, part = next(iter(parts.items()))
    figure = output.titled(
        f"Vectors of words from {what}, by skip-gram and by CBOW",
        (
            f"Left: words in groups as {name} places them, {settings['features']} numbers each, on a plane by t-SNE; "
            "labels are moved apart where they would overlap.",
            "Right: analogies of an own list that are answered at once; and the loss on the validation split.",
        ),
    )
    axes = figure.add_axes((0.02, 0.085, 0.655, 0.735))
    _map(axes, part["map"], (13.33 * 0.655, 7.5 * 0.735))
    groups = list(dict.fromkeys(part["map"]["groups"]))
    marks = [Line2D([], [], color=PALETTE[n], marker="s", ls="", ms=9, label=group) for n, group in enumerate(groups)]
    place = {"loc": "lower center", "ncols": 5, "frameon": False, "fontsize": 10, "columnspacing": 1.0}
    figure.legend(handles=marks, bbox_to_anchor=(0.35, 0.0), handletextpad=0.2, **place)
    _bars(output.panel(figure, (0.79, 0.5, 0.19, 0.27), "Analogies, %", ""), parts)
    below = output.panel(figure, (0.75, 0.105, 0.23, 0.25), "Validation loss, nats", "updates")
    for name, part in parts.items():
        below.plot(part["history"]["step"], part["history"]["loss"], color=FILLS[name], lw=2.2, label=name)
    below.legend(frameon=False, fontsize=11)
    return figure


def _bars(axes: Axes, parts: dict[str, Any]) -> None:
    for number, (name, part) in enumerate(parts.items()):
        values = [100 * kind["first"] / kind["asked"] if kind["asked"] else 0.0 for kind in part["analogies"].values()]
        places = np.arange(len(values)) + 0.38 * (number - 0.5)
        axes.barh(places, values, 0.36, color=FILLS[name], label=name)
        axes.set_yticks(range(len(values)), list(part["analogies"]), fontsize=11)
    axes.set_xlim(0, 100)
    axes.set_ylim(len(next(iter(parts.values()))["analogies"]) + 0.6, -0.6)  # room for the legend below all bars
    axes.grid(visible=False)
    axes.legend(frameon=False, fontsize=11, loc="lower center", ncols=2)


def _map(axes: Axes, chart: dict[str, Any], inches: tuple[float, float]) -> None:
    axes.axis("off")
    axes.set_xlim(0, inches[0])
    axes.set_ylim(0, inches[1])
    if not chart["words"]:
        return
    groups = list(dict.fromkeys(chart["groups"]))
    sizes = np.array([(LETTER * len(word) + 0.06, LINE) for word in chart["words"]])
    places = apart(np.array(chart["places"], float), sizes, np.array(inches))
    for (x, y), word, group in zip(places, chart["words"], chart["groups"], strict=True):
        colour = PALETTE[groups.index(group)]
        axes.text(x, y, word, color=colour, fontsize=9.5, ha="center", va="center")


def apart(places: np.ndarray, sizes: np.ndarray, frame: np.ndarray, rounds: int = 400) -> np.ndarray:
    """Places spread over a frame, and boxes of such sizes around them pushed apart until hardly any overlap."""
    low, high = places.min(axis=0), places.max(axis=0)
    places = (places - low) / np.maximum(high - low, 1e-9) * (frame - sizes.max(axis=0)) + sizes.max(axis=0) / 2
    places = places + 1e-3 * np.arange(len(places))[:, None] * (1, -1) / len(places)  # no two in one place
    for _ in range(rounds):
        between = places[:, None] - places[None]
        over = (sizes[:, None] + sizes[None]) / 2 - np.abs(between)
        over[np.arange(len(places)), np.arange(len(places))] = -1
        hit = np.all(over > 0, axis=-1)
        if not hit.any():
            break
        push = np.where(hit[..., None], np.sign(between) * over, 0.0)
        shorter = np.argmin(over, axis=-1, keepdims=True) == np.arange(2)
        # A little the longer way too, as at an edge of the frame there may be no other.
        places = places + (np.where(shorter, 0.5, 0.05) * push).sum(axis=1)
        places = np.clip(places, sizes / 2, frame - sizes / 2)
    return places
