"""Handwritten digits read pixel by pixel, 784 steps, in order and permuted: which cells tell what they have read?

Command:  python -m experiments.sequential_mnist --out experiments/results/sequential_mnist
Runtime:  35 minutes on 1 core; --smoke 24 seconds on 2 slow cores
Metric:   test accuracy, of the parameters with the best validation accuracy; guessing gives about 10%
Published: 87.2 and 85.7% for an LSTM, in order and permuted, 96.2 and 87.3% for a GRU, 21.5 and 25.3% for a plain
          RNN, all of about 70,000 parameters (Bai, Kolter & Koltun, 2018, https://arxiv.org/abs/1803.01271); IRNN of
          100 units, in order, 93% after 900 epochs (Keras, example mnist_irnn); the best nonlinear recurrent network
          read of, coRNN, 99.4 and 97.3% (github.com/tk-rusch/coRNN), the best linear one, S5, 99.65% in order
          (github.com/lindermanlab/S5).
          All take tens to hundreds of epochs; the command above takes about one
Full run: python -m experiments.sequential_mnist --device gpu --hidden-size 128 --batch 128 --updates 40000 --every 1000
          (not run yet)

    data      MNIST, one pixel a step, row by row; permuted: one permutation for all, `jaxrnn.data.fixed_permutation`
    model     a cell, and a linear layer at its last step to ten classes. LSTM and GRU begin with time constants of up
              to 784 steps (Chrono), the IRNN is a relu network with the identity as recurrent matrix; the LRU, linear
              in its state, has a linear layer before it and a nonlinear one after its last step
    training  Adam, as many updates for all, a learning rate for each cell that falls to nothing by a cosine, gradients
              clipped to a global norm of 1
    shown     ||dL/dh_t|| at each step of test images, L the loss at the last, before and after training
"""

import functools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.command import check_at_least
from experiments import output
from experiments.application import Application, Common
from experiments.checks import check_choices, check_limits, check_positive
from experiments.fitting import Fitting, parameters
from experiments.made_digits import digits as made_digits
from experiments.sequential_mnist_figure import ORDERS, PERMUTED, draw, rows, to_markdown
from jaxrnn import GRU, LRU, LSTM, Elman
from jaxrnn.data import LabelledImages, Shuffled, batches, fixed_permutation, many_to_one, mnist, pixel_sequences
from jaxrnn.gradients import adjoint_norms, median
from jaxrnn.initializers import Chrono, Gaussian, Identity
from jaxrnn.models import LastState, SequenceClassifier
from jaxrnn.nn import RNN
from jaxrnn.tasks import Batch
from jaxrnn.train import Trainer, losses

SPLITS = ("train", "validation", "test")
CLASSES = 10
SIDE = 28
SCORED = 250  # images in one batch of an evaluation
RATES = {"LSTM": 1e-2, "GRU": 1e-2, "IRNN": 1e-4, "LRU": 5e-3}
FILES = tuple(f"mnist/{part}-ubyte.gz" for part in ("train-images-idx3", "train-labels-idx1"))
FILES += tuple(file.replace("train", "t10k") for file in FILES)
CellName = Literal["LSTM", "GRU", "IRNN", "LRU"]
Digits = dict[str, LabelledImages]


@dataclass(frozen=True)
class Settings(Common):
    """Trains cells on MNIST pixel by pixel, in order and permuted; tests them and measures their gradients."""

    cells: tuple[CellName, ...] = get_args(CellName)
    """Which cells."""
    hidden_size: int = 64
    """Units of every cell."""
    batch: int = 64
    """Images in an update."""
    rate: float | None = None
    """Learning rate of all cells. Default: for each its own."""
    updates: int = 1000
    """Updates of every cell, in either order."""
    every: int = 100
    """Updates between two looks at the validation split."""
    validation: int = 1000
    """Images of the validation split that are looked at on the way; the test is on all of its split."""
    measured: int = 64
    """Test images on which gradients are measured."""
    stride: int = 1
    """Rows, and columns, from one that is read to the next; 1 reads all 784 pixels."""
    limit: int | None = None
    """Images of each split that are used. Default: all."""


class Hidden(nnx.Module):
    """The last output, normalised, and a nonlinear layer over it, without which a linear cell would stay linear."""

    def __init__(self, cell, rngs: nnx.Rngs):
        """Draws the parameters."""
        self.last = LastState(cell)
        self.norm = nnx.LayerNorm(cell.output_size, rngs=rngs)
        self.linear = nnx.Linear(cell.output_size, cell.output_size, rngs=rngs)

    def __call__(self, ys, lengths=None):
        """Features (batch, output)."""
        return nnx.gelu(self.linear(self.norm(self.last(ys, lengths))))


def model_of(settings: Settings, name: CellName) -> SequenceClassifier:
    """A classifier at its start."""
    size, rngs = settings.hidden_size, nnx.Rngs(settings.seed)
    if name == "LRU":
        cell = LRU(size, size, min_radius=0.9, max_radius=0.999)
        embed, pooling = nnx.Linear(1, size, rngs=rngs), Hidden(cell, rngs)
        return SequenceClassifier(RNN(cell, size, rngs=rngs), CLASSES, embed=embed, pooling=pooling, rngs=rngs)
    spread = Chrono(len(range(0, SIDE, settings.stride)) ** 2)
    cells = {
        "LSTM": LSTM(size, bias_init=spread),
        "GRU": GRU(size, bias_init=spread),
        "IRNN": Elman(size, "relu", input_init=Gaussian(0.001), recurrent_init=Identity()),
    }
    return SequenceClassifier(RNN(cells[name], 1, rngs=rngs), CLASSES, rngs=rngs)


class Reader:
    """One cell in its classifier: its training, which is compiled once for both orders, and what is measured of it."""

    def __init__(self, settings: Settings, name: CellName):
        """Takes the model apart into what is trained and what is not."""
        self._graph, self.params = nnx.split(model_of(settings, name), nnx.Param)
        self._right: Callable = jax.jit(self._count)
        rate = optax.cosine_decay_schedule(settings.rate or RATES[name], settings.updates)
        self.trainer = Trainer(self._loss, optax.adam(rate), clip=optax.clip_by_global_norm(1.0))

    def score(self, params, source: Shuffled) -> dict[str, float]:
        """Accuracy and loss, in nats, over all images of a source."""
        found = np.sum([self._right(params, batch) for batch in batches(source)], axis=0)
        return {"accuracy": float(found[0] / found[2]), "loss": float(found[1] / found[2])}

    def gradients(self, params, batch: Batch) -> list[float]:
        """log10 of the norm of dL/dh_t at each step, h the whole state: the median over the images."""
        model = nnx.merge(self._graph, params)
        xs = jnp.asarray(batch.inputs) if model.embed is None else model.embed(batch.inputs)

        def loss(ys):
            logits = model.head(model.pooling(ys))
            return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(batch.targets))

        return output.plain(median(adjoint_norms(model.rnn.cell, model.rnn.params, xs, loss), 1) / math.log(10))

    def _loss(self, params, batch: Batch, key):
        logits = nnx.merge(self._graph, params)(batch.inputs, key=key)
        aux = {"tokens": jnp.int32(batch.mask.size)}
        return losses.cross_entropy(logits[None], batch.targets, batch.mask[-1:]), aux

    def _count(self, params, batch: Batch):
        logits, counted = nnx.merge(self._graph, params)(batch.inputs), batch.mask[-1:]
        number = jnp.sum(counted).astype(jnp.float32)
        of = (losses.accuracy, losses.cross_entropy)
        return jnp.stack([*(f(logits[None], batch.targets, counted) * number for f in of), number])


def train(settings: Settings, make_reader: Callable[[], Reader], digits: Digits, order: str, fitting: Fitting):
    """Accuracy on the way and at the end, and gradients before and after."""
    permutation = fixed_permutation(digits["test"].images[0].size) if order == PERMUTED else None

    def make(images, labels):
        return many_to_one(pixel_sequences(images, permutation), labels)

    def scored(split: str, most: int | None = None) -> Shuffled:
        return Shuffled(tuple(array[:most] for array in digits[split]), make, SCORED)

    reader, key = make_reader(), jax.random.key(settings.seed)
    state = reader.trainer.init(reader.params, key)
    source = Shuffled(tuple(digits["train"]), make, settings.batch, key)
    validation = scored("validation", settings.validation)
    how: dict[str, Any] = {"every": settings.every, "evaluate": lambda params: reader.score(params, validation)}
    how["score"] = lambda found: -found["accuracy"]
    params, history = fitting.fit(reader.trainer, state, source.at, settings.updates, **how)
    shown = make(*(array[: settings.measured] for array in digits["test"]))
    return {
        "history": output.plain(history),
        "validation": reader.score(params, validation),
        "test": reader.score(params, scored("test")),
        "tested": len(digits["test"].labels),
        "parameters": parameters(params),
        "gradients": {"before": reader.gradients(reader.params, shown), "after": reader.gradients(params, shown)},
    }


def check(settings: Settings) -> None:
    """Raises ValueError where a setting cannot be used."""
    check_at_least(settings, 1, "hidden_size", "batch", "updates", "every", "validation", "measured", "stride")
    check_choices(settings, "cells")
    if settings.stride > SIDE // 2:
        raise ValueError(f"--stride: must be at most {SIDE // 2}, got {settings.stride}. Give a smaller number.")
    if settings.rate is not None:
        check_positive(settings, "rate")
    check_limits(settings, 1, "limit")


def runs(settings: Settings, digits: Digits) -> dict[str, Callable[[Fitting], dict[str, Any]]]:
    """One for each cell and order, in turn."""
    step, most = settings.stride, settings.limit
    digits = {
        split: LabelledImages(images[:most, ::step, ::step], labels[:most])
        for split, (images, labels) in digits.items()
    }
    found = {}
    for name in settings.cells:
        reader = functools.cache(functools.partial(Reader, settings, name))
        for order in ORDERS:
            found[f"{name}, {order}"] = functools.partial(train, settings, reader, digits, order)
    return found


APPLICATION = Application(
    name="sequential_mnist",
    settings=Settings,
    small={"cells": ("GRU",), "hidden_size": 8, "batch": 32, "rate": 1e-2, "updates": 60, "every": 30}
    | {"validation": 250, "measured": 8, "stride": 4, "limit": 1000},
    check=check,
    files=lambda settings: FILES,
    read=lambda settings: {split: mnist(split, settings.data) for split in SPLITS},
    make=lambda settings: {split: made_digits(settings.seed + n, 500) for n, split in enumerate(SPLITS)},
    runs=runs,
    draw=draw,
    to_markdown=to_markdown,
    rows=rows,
)
main = APPLICATION.main

if __name__ == "__main__":
    sys.exit(main())
