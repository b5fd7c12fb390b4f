"""Polyphonic music, frame by frame: Elman, GRU and LSTM on Bach's chorales and on folk tunes, and what they compose.

Command:  python -m experiments.music --out experiments/results/music
Runtime:  21 minutes on 1 core; --smoke 23 seconds on 2 slow cores
Metric:   negative log-likelihood a frame of the test split in nats: the binary cross-entropy summed over 88 keys, its
          mean over every frame of every piece but the first
Published: JSB chorales 8.91, 8.43, 8.45 and Nottingham 4.05, 3.46, 3.29 for RNN, GRU, LSTM; 8.10 and 3.07 for the TCN
          (Bai, Kolter & Koltun, 2018, arXiv 1803.01271)

    data      JSB chorales and Nottingham (Boulanger-Lewandowski et al., 2012), their splits, as rolls of 88 keys
    model     a recurrent layer over the rolls, dropout, a linear layer to the logit of each key at the next frame
    training  Adam, its rate falling to nothing by a cosine, gradients clipped to a global norm of 1; the validation
              split decides which parameters are tested
    shown     the best network of each data set goes on from the first bars of a test piece, each key drawn with its
              own probability; also as MIDI
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import numpy as np
import optax

from benchmarks.command import check_at_least
from experiments import made_music, output
from experiments.application import Application, Common
from experiments.checks import check_choices, check_limits, check_positive, check_rate
from experiments.fitting import Fitting, parameters
from experiments.music_figure import BARS, CHORALES, TUNES, draw, midi, rows, to_markdown
from experiments.music_models import Composer, piece
from jaxrnn import GRU, LSTM, Elman
from jaxrnn.data import Buckets, jsb_chorales, next_step, nottingham
from jaxrnn.initializers import ForgetBias
from jaxrnn.train import Trainer

SPLITS = ("train", "validation", "test")
CellName = Literal["Elman", "GRU", "LSTM"]
Rolls = list[np.ndarray]
Data = dict[str, dict[str, Rolls]]  # by data set and split


@dataclass(frozen=True)
class Settings(Common):
    """Trains recurrent networks on chorales and tunes; writes their likelihoods, and a piece of each as MIDI."""

    cells: tuple[CellName, ...] = get_args(CellName)
    """Which cells."""
    hidden_size: int = 200
    """Units of every network."""
    dropout: tuple[float, float] = (0.4, 0.2)
    """Rates of dropout on the outputs of the recurrent layer, for the chorales and for the tunes."""
    input_dropout: tuple[float, float] = (0.1, 0.0)
    """Rates of dropout on the keys, the same ones for a whole piece."""
    batch: int = 8
    """Pieces in an update."""
    longest: int = 128
    """Frames of a piece that are trained in one go; longer pieces are cut there."""
    rate: float = 8e-3
    """Learning rate at the start."""
    updates: tuple[int, int] = (2000, 6000)
    """Updates of a network on the chorales and on the tunes."""
    looks: int = 20
    """Looks at the validation split on the way."""
    composed: int = 96
    """Frames that are composed."""
    pieces: int | None = None
    """Pieces of each split that are used. Default: all."""
    frames: int | None = None
    """Frames of each piece that are used. Default: all."""


# Both data sets share what is compiled, where their networks and shapes are the same.
composing, clipping = functools.lru_cache(Composer), functools.lru_cache(optax.clip_by_global_norm)


@functools.lru_cache
def adam(rate: float, updates: int) -> optax.GradientTransformation:
    """Its rate falls to nothing."""
    return optax.adam(optax.cosine_decay_schedule(rate, updates))


def cell_of(name: CellName, size: int) -> Any:
    """A cell of so many units."""
    return {"Elman": Elman(size), "GRU": GRU(size), "LSTM": LSTM(size, bias_init=ForgetBias(1.0))}[name]


def cut(rolls: Rolls, longest: int) -> Rolls:
    """Pieces of at most so many frames to be told; each begins with the last frame of the one before."""
    return [roll[begin : begin + longest + 1] for roll in rolls for begin in range(0, len(roll) - 1, longest)]


def run(settings: Settings, name: str, rolls: dict[str, Rolls], fitting: Fitting) -> dict[str, Any]:
    """All networks on one data set, and a piece by the one that the validation split likes best."""
    which, key = [CHORALES, TUNES].index(name), jax.random.key(settings.seed)
    updates, rates = settings.updates[which], (settings.dropout[which], settings.input_dropout[which])
    source = Buckets(*next_step(cut(rolls["train"], settings.longest)), settings.batch, key)
    validation, test = (Buckets(*next_step(rolls[split]), settings.batch) for split in SPLITS[1:])
    found, models = {}, {}
    for cell in settings.cells:
        composer = composing(cell_of(cell, settings.hidden_size), *rates)
        trainer = Trainer(composer.loss, adam(settings.rate, updates), clip=clipping(1.0))
        how: dict[str, Any] = {
            "every": max(updates // settings.looks, 1),
            "evaluate": lambda params, composer=composer: {"nats": composer.nats(params, validation)},
            "score": lambda found: found["nats"],
            "block": 1,  # batches of other lengths follow one another, and each number of equal ones would be compiled
        }
        params, history = fitting.fit(
            trainer, trainer.init(composer.init(key), key), source.at, updates, part=cell, **how
        )
        models[cell] = composer.model(params)
        found[cell] = {
            "parameters": parameters(params),
            "validation": composer.nats(params, validation),
            "test": composer.nats(params, test),
            "history": output.plain(history),
        }
    best = min(found, key=lambda cell: found[cell]["validation"])
    begun = rolls["test"][0][: BARS[name]]
    composed = piece(models[best], begun, settings.composed, key)
    return {"cells": found, "best": best, "begun": len(begun), "piece": composed}


def check(settings: Settings) -> None:
    """Raises ValueError where a setting cannot be used."""
    check_at_least(settings, 1, "hidden_size", "batch", "longest", "updates", "looks", "composed")
    check_choices(settings, "cells")
    check_limits(settings, 1, "pieces")
    check_limits(settings, 2, "frames")
    check_positive(settings, "rate")
    check_rate(settings, "dropout", "input_dropout")


def runs(settings: Settings, data: Data) -> dict[str, Callable[[Fitting], dict[str, Any]]]:
    """One for each data set."""
    found = {}
    for name, splits in data.items():
        used = {
            split: [roll[: settings.frames] for roll in rolls[: settings.pieces]] for split, rolls in splits.items()
        }
        found[name] = functools.partial(run, settings, name, used)
    return found


def read(settings: Settings) -> Data:
    """Both data sets."""
    readers = {CHORALES: jsb_chorales, TUNES: nottingham}
    return {name: {split: reader(split, settings.data) for split in SPLITS} for name, reader in readers.items()}


def make(settings: Settings) -> Data:
    """Both alike."""
    return {name: {split: made_music.rolls(split, settings.seed) for split in SPLITS} for name in (CHORALES, TUNES)}


APPLICATION = Application(
    name="music",
    settings=Settings,
    small={"cells": ("GRU", "LSTM"), "hidden_size": 32, "updates": (60, 60), "looks": 2, "rate": 1e-2}
    | {"pieces": 48, "frames": 25, "composed": 32, "dropout": (0.2, 0.2), "input_dropout": (0.1, 0.1)},
    check=check,
    files=lambda settings: ("jsb-chorales/jsb-chorales-quarter.json", "nottingham/Nottingham.mat"),
    read=read,
    make=make,
    runs=runs,
    draw=draw,
    to_markdown=to_markdown,
    rows=rows,
    extra=midi,
)
main = APPLICATION.main

if __name__ == "__main__":
    sys.exit(main())
