"""The table and the sentences in words of the sentiment experiment, from its results.json alone."""

from typing import Any

import numpy as np

from experiments import output
from experiments.application import Row
from jaxrnn.files import markdown_table

RECURRENT, WINDOW, MEAN = ("LSTM", "GRU"), "window MLP", "mean MLP"
CLASSES = "blame", "praise"
WITHOUT, WITH = 76.1, 81.0  # convolutional networks without pretrained vectors, and with: see the experiment's head


def rows(results: dict[str, Any]) -> list[Row]:
    """Each network beside the convolutional ones, whose numbers are of ten-fold cross-validation."""
    published = f"about {WITHOUT}, CNN without pretrained vectors (recalled); above {WITH:.0f}, CNN with them; 10-fold"
    found = []
    for name, part in results["parts"].items():
        mean = 100 * np.mean(part["accuracy"])
        gap = f"{mean - WITHOUT:+.1f}; {mean - WITH:+.1f}"
        found.append(Row(name, "test accuracy, %", _percent(part["accuracy"]), published, gap))
    return found


def to_markdown(results: dict[str, Any]) -> str:
    """Accuracies, the published ones, confusion, and the words that decided."""
    headings = "network", "parameters", "test accuracy, %", "least", "most", "validation"
    table = markdown_table(
        headings,
        [
            (name, f"{part['parameters']:,}", _percent(part["accuracy"]))
            + tuple(f"{100 * value:.1f}" for value in (min(part["accuracy"]), max(part["accuracy"])))
            + (_percent(part["validation"]),)
            for name, part in results["parts"].items()
        ],
    )
    sentences = sum(sum(line) for line in next(iter(results["parts"].values()))["confusion"]) // _seeds(results)
    words = (
        f"Mean ± standard deviation over the seeds, {_seeds(results)} of them, on {sentences:,} sentences of the test "
        f"split, whose choice alone moves a number by ± {100 * np.sqrt(0.25 * 0.75 / sentences):.1f} or so. Guessing "
        "gives 50.\n\n"
        f"Published, all in 10-fold cross-validation: about {WITHOUT} by a CNN without pretrained vectors and about 77 "
        f"to 80 by LSTMs with them (both recalled), above {WITH:.0f} by a CNN with them (yoonkim/CNN_sentence)."
    )
    confusion = markdown_table(
        ("confusion, all seeds", *(f"{kind}, told {told}" for kind in CLASSES for told in CLASSES)),
        [(name, *part["confusion"][0], *part["confusion"][1]) for name, part in results["parts"].items()],
    )
    texts = [
        f"What moved the {name} (its first seed): by how much the log-odds of praise would fall without the word.\n\n"
        + "\n".join(map(_in_words, part["examples"]))
        for name, part in results["parts"].items()
        if part["examples"]
    ]
    return "\n".join([output.about(results), table, words, "", confusion, *texts])


def header(example: dict[str, Any]) -> str:
    """What a sentence was told to be, whether that is right, and how sure."""
    told, label = int(example["margin"] > 0), example["label"]
    right = "right" if told == label else f"wrong, is {CLASSES[label]}"
    return f"told {CLASSES[told]}: {right}   (log-odds of praise {example['margin']:+.1f})"


def _in_words(example: dict[str, Any]) -> str:
    moved, words = np.array(example["moved"]), example["words"]
    large = np.abs(moved) >= 0.3 * np.abs(moved).max()
    marked = [f"{word}{{{by:+.1f}}}" if show else word for word, by, show in zip(words, moved, large, strict=True)]
    heavy = sorted(zip(example["attention"], words, strict=True), reverse=True)[:3]
    attention = ", ".join(f"{word} {weight:.2f}" for weight, word in heavy)
    return f"    {header(example)}\n    {' '.join(marked)}\n    most attention: {attention}\n"


def _percent(shares: list[float]) -> str:
    spread = f" ± {100 * np.std(shares, ddof=1):.1f}" if len(shares) > 1 else ""
    return f"{100 * np.mean(shares):.1f}{spread}"


def _seeds(results: dict[str, Any]) -> int:
    return results["settings"]["seeds"]
