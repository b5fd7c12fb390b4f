"""A character LSTM on tiny Shakespeare, beside the same model in PyTorch: how well and how fast both learn.

Command:  python -m experiments.char_model --out experiments/results/char_model
          (pip install torch 'jaxrnn[data]'; --no-twin leaves PyTorch out)
Runtime:  about 8 minutes on 2 cores with nothing else at work; --smoke 20 seconds
Expected: validation bits per character at most 1.02 times those of PyTorch, for every seed

    data      tiny Shakespeare, 1,115,394 characters, 65 distinct; first 90% for training, last 10% for validation
    model     one-hot characters, LSTM(128), a linear layer with bias to 65 logits
    training  truncated backpropagation through time: windows of 64 steps in 32 rows, the carry handed on from window
              to window; Adam, gradients clipped to a global norm of 1
    measured  bits per character over all of the validation split, in rows and windows of the same sizes, the carry
              handed on; updates per second in turns of `block` updates of one and then the other

Both start from the same weights and see the same batches in the same order. PyTorch holds two biases, of which Adam
would move the sum twice as far; here the second one is zero and is not trained. Both clip by min(1, 1 / norm). The run
ends with an error where the losses of the first two updates do not agree: it would compare different things. Speeds
mean something only while nothing else is at work: PyTorch's threads wait for one another, and with a second program on
2 cores one turn in a trial took twenty times as long as the next.
"""

import importlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import numpy as np
from rich.console import Console

from benchmarks.command import Failed, check_at_least, check_seed, command, progress, ready_folder
from benchmarks.environment import machine
from experiments import output
from experiments.char_figure import draw, to_markdown
from experiments.char_model_jax import JaxSide, Placed, generate, init
from jaxrnn.data import Alphabet, Segments, split_by_position, tinyshakespeare
from jaxrnn.train import Diverged

CLIP = 1.0
AGREE_BEFORE, AGREE_AFTER_ONE = 1e-5, 1e-4  # relative, of the losses before any update and after the first
SMOKE_TEXT = 100 * "to be, or not to be: that is the question: whether 'tis nobler in the mind to suffer "


@dataclass(frozen=True)
class Settings:
    """Trains a character LSTM on tiny Shakespeare with jaxrnn, and the same model beside it in PyTorch.

    Writes a figure (PNG, SVG), a table with a sample of generated text, and data (JSON) into one folder after each
    seed. Interrupted, the same command goes on with the next seed.
    """

    hidden_size: int = 128
    """Units of the LSTM."""
    window: int = 64
    """Steps of a window, and so of backpropagation."""
    batch: int = 32
    """Rows of text that are read side by side."""
    rate: float = 1e-2
    """Learning rate."""
    updates: int = 2500
    """Updates of every run, a multiple of `every`."""
    every: int = 250
    """Updates between two looks at the validation split, a multiple of `block`."""
    block: int = 50
    """Updates in one turn of jaxrnn or PyTorch, timed together."""
    seeds: int = 3
    """Runs, which differ in their initial weights."""
    seed: int = 0
    """The key from which every draw follows."""
    twin: bool = True
    """Train the model in PyTorch too (pip install torch); without it there is no comparison."""
    data: Path | None = None
    """Folder of the data sets. Default: the variable JAXRNN_DATA, else jaxrnn in the user's cache folder."""
    out: Path | None = None
    """Folder for the results. Default: scratch/char_model."""
    smoke: bool = False
    """A quick look that all works: one sentence over and over, 8 units, 20 updates, 1 seed; replaces these settings."""


class Side(Protocol):
    """One of the two that are compared."""

    def advance(self, count: int) -> np.ndarray:
        """Makes so many updates; the loss of each, in nats."""
        ...

    def score(self, carry: Any, batch: Placed) -> tuple[Any, float]:
        """The carry after a segment, and its mean loss in nats; a carry of None is a fresh one."""
        ...


def placed(source: Segments, position: int) -> Placed:
    """The segment at a position, and whether it begins an epoch."""
    return source.at(position), np.bool_(source.begins(position))


def bits_per_character(side: Side, source: Segments) -> float:
    """Over every character of the text but the first."""
    carry, nats, count = None, 0.0, 0
    for position in range(len(source)):
        batch = placed(source, position)
        carry, mean = side.score(carry, batch)
        scored = int(batch[0].mask.sum())
        nats, count = nats + mean * scored, count + scored
    return nats / count / math.log(2)


def segments(settings: Settings, text: str) -> tuple[Segments, Segments]:
    """Those of training and of validation."""
    tokens, (first, last) = Alphabet.of(text).encode, split_by_position(text)
    sizes = settings.batch, settings.window
    return Segments(tokens(first), *sizes), Segments(tokens(last), *sizes)


def check_agreement(first: dict[str, np.ndarray]) -> list[float]:
    """The relative differences of the losses before any update and after one.

    Raises:
        Failed: one is too large: the two do not train the same model.
    """
    ours, theirs = first["jaxrnn"], first["PyTorch"]
    differences = [float(abs(ours[n] - theirs[n]) / abs(theirs[n])) for n in (0, 1)]
    if not (differences[0] <= AGREE_BEFORE and differences[1] <= AGREE_AFTER_ONE):
        raise Failed(f"jaxrnn and PyTorch do not train the same model: losses {ours[:2]} and {theirs[:2]}.")
    return differences


def train(key, settings: Settings, text: str, advance: Callable[[], None]) -> dict[str, Any]:
    """One seed of each side, block by block in turn: losses, validation bits, speeds, and a sample of text."""
    alphabet, weights_key, sample_key = Alphabet.of(text), *jax.random.split(key)
    source, validation = segments(settings, text)
    params = init(weights_key, alphabet.size, settings.hidden_size)
    how = {"rate": settings.rate, "clip": CLIP, "batch_at": lambda position: placed(source, position)}
    ours = JaxSide(params, batch=settings.batch, **how)
    sides: dict[str, Side] = {"jaxrnn": ours}
    if settings.twin:
        twin = importlib.import_module("experiments.char_model_torch")
        sides["PyTorch"] = twin.TorchSide(params, threads=int(machine()["cores"]), **how)
    found: dict[str, Any] = {
        name: {"validation_bits": [bits_per_character(side, validation)], "training_bits": [], "updates_per_second": []}
        for name, side in sides.items()
    }
    first: dict[str, np.ndarray] = {}
    for made in range(settings.block, settings.updates + 1, settings.block):
        for name, side in sides.items():
            begin = time.perf_counter()
            nats = side.advance(settings.block)
            found[name]["updates_per_second"].append(settings.block / (time.perf_counter() - begin))
            found[name]["training_bits"].append(nats.mean() / math.log(2))
            first.setdefault(name, nats[:2])
            if made % settings.every == 0:
                found[name]["validation_bits"].append(bits_per_character(side, validation))
        if made == settings.block and settings.twin:
            found["differences"] = check_agreement(first)
        advance()
    sample = generate(ours.state.params, alphabet, sample_key, 500)
    return {name: jax.tree.map(output.plain, part) for name, part in found.items()} | {"sample": sample}


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    if settings.smoke:
        small = {"hidden_size": 8, "window": 8, "batch": 4, "updates": 20, "every": 10, "block": 5, "seeds": 1}
        settings = replace(settings, **small)
    check_at_least(settings, 1, "hidden_size", "window", "batch", "every", "seeds")
    check_at_least(settings, 2, "block")
    check_seed(settings)
    if not 0 < settings.rate < math.inf:
        raise ValueError(f"--rate: must be a finite number above 0, got {settings.rate}. Give another number.")
    for name, unit in (("every", "block"), ("updates", "every")):
        whole, part = getattr(settings, name), getattr(settings, unit)
        if whole < part or whole % part:
            raise ValueError(f"--{name}: must be a multiple of --{unit}, {part}, got {whole}. Change one of the two.")
    if settings.twin:
        try:
            importlib.import_module("torch")
        except ImportError as error:
            raise ValueError(
                f"--twin: PyTorch cannot be imported ({error}). Install it with pip install torch, or leave the "
                "comparison out with --no-twin."
            ) from error
    text = read(settings)
    try:
        segments(settings, text)
    except ValueError as error:
        raise ValueError(f"--batch, --window: the text of {len(text):,} characters is too short. {error}") from error
    return settings, ready_folder(settings.out, "char_model")


def read(settings: Settings) -> str:
    """The text."""
    return SMOKE_TEXT if settings.smoke else tinyshakespeare(settings.data)


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Trains one seed after the other and writes everything after each."""
    fields = ("jaxrnn", "PyTorch", "sample") if settings.twin else ("jaxrnn", "sample")
    results = output.open_results(folder, settings, fields, messages, ("torch",) if settings.twin else ())
    keys = jax.random.split(jax.random.key(settings.seed), settings.seeds)
    left = [n for n in range(settings.seeds) if f"seed {n}" not in results["parts"]]
    with progress(messages) as bar:
        task = bar.add_task("", total=len(left) * settings.updates)
        for n in left:
            bar.update(task, description=f"seed {n}")
            try:
                part = train(keys[n], settings, read(settings), lambda: bar.advance(task, settings.block))
            except Diverged as error:
                raise Failed(f"seed {n} with --rate {settings.rate:g}: {error}") from error
            results["parts"][f"seed {n}"] = part
            output.write(folder, "char_model", lambda: draw(results), to_markdown(results), results)
    results["finished"] = True
    output.write(folder, "char_model", lambda: draw(results), to_markdown(results), results)
    print(to_markdown(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
