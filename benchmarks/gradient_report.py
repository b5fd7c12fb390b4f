"""A report on how gradients travel through cells: an interactive page, pictures, tables, and findings in words.

Command:  python -m benchmarks.gradient_report
Runtime:  2 minutes on 2 cores; --smoke 20 seconds, nearly all of it compiling and drawing
Expected: report.html, .png, .svg, .pdf, .json and .md, and pictures of heat maps and gates, in one folder
"""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
from rich.console import Console

from benchmarks import configurations
from benchmarks.command import check_at_least, check_seed, command, progress, ready_folder
from benchmarks.configurations import OWN, Configuration, Sizes
from jaxrnn.gradients import report

STAGES = 12  # that a report has, for the bar; one more or less does no harm


@dataclass(frozen=True)
class Settings:
    """Measures cells at initialisation on the letters of a sentence, or on as much noise, and writes the report."""

    cells: tuple[str, ...] = ("Elman", "IRNN", "LSTM-forget-1", "LSTM-chrono", "GRU", "LRU")
    """Which configurations; `python -m benchmarks.gradient_norms --help` lists them."""
    inits: tuple[str, ...] = (OWN,)
    """Initialisers to put in, as there."""
    sentence: str = "the key to the cabinets that stood in the old hall of the house by the lake is on the table"
    """What the cells read, letter by letter, one-hot; other sequences are its letters in random order."""
    hidden_size: int = 32
    """Units of every cell."""
    batch: int = 16
    """Sequences."""
    seed: int = 0
    """The key from which weights and sequences follow."""
    out: Path | None = None
    """Folder for the results. Default: scratch/gradient_report."""
    smoke: bool = False
    """A quick look that all works: one cell of 4 units, 4 sequences; replaces these settings."""


def plan(settings: Settings) -> tuple[Settings, list[Configuration], Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    if settings.smoke:
        settings = replace(settings, cells=("GRU",), hidden_size=4, batch=4)
    check_at_least(settings, 1, "hidden_size")
    check_at_least(settings, 2, "batch")
    check_seed(settings)
    if len(settings.sentence) < 8:
        raise ValueError(f"--sentence: must have at least 8 letters, got {len(settings.sentence)}. Write more.")
    return (
        settings,
        configurations.select(settings.cells, settings.inits),
        ready_folder(settings.out, "gradient_report"),
    )


def run(settings: Settings, chosen: list[Configuration], folder: Path, messages: Console) -> None:
    """Measures and writes."""
    letters = sorted(set(settings.sentence))
    keys = jax.random.split(jax.random.key(settings.seed), 2)
    sentence = jnp.array([letters.index(letter) for letter in settings.sentence])
    shuffled = [jax.random.permutation(key, sentence) for key in jax.random.split(keys[0], settings.batch - 1)]
    xs = jax.nn.one_hot(jnp.stack([sentence, *shuffled], axis=1), len(letters), dtype=jnp.float32)
    sizes = Sizes(len(letters), settings.hidden_size, len(sentence))
    cells = {c.name: c.build(sizes) for c in chosen}
    networks = {name: (cell, cell.init(keys[1], sizes.input)) for name, cell in cells.items()}
    recorded: dict[str, Any] = {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("out", "cells")}
    with progress(messages) as bar:
        task = bar.add_task("", total=STAGES)

        def stage(name: str) -> None:
            bar.update(task, description=name)
            bar.advance(task)

        tokens = [letter if letter != " " else "␣" for letter in settings.sentence]
        report(networks, xs, folder, tokens=tokens, settings=recorded, progress=stage)
        bar.update(task, completed=STAGES)
    print((folder / "report.md").read_text(encoding="utf-8"))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments, "Nothing was finished for")


if __name__ == "__main__":
    sys.exit(main())
