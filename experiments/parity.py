"""Parity of a sequence: which networks, trained up to 40 steps, still tell it after 400?

Command:  python -m experiments.parity --out experiments/results/parity
Runtime:  26 minutes on 1 core; --smoke 25 seconds on 2 slow cores
Metric:   accuracy at the last step of 400, where guessing gives 0.5; the least over seeds
Published: none for this setting. A counter of one bit needs a state that a step can negate; a cell that is linear in
          its state with factors between 0 and 1, as the MinGRU, cannot hold one at every length (Grazzi et al., 2024,
          https://arxiv.org/abs/2411.12537), and no window of 40 steps sees the 400

    data      signs drawn anew for every update; the target of each step is the parity of all signs up to it, so that
              sequences of 1 to 40 steps are trained at once
    model     a linear layer, a cell, and at each step a hidden layer and two classes; beside them a
              perceptron over the last 40 steps
    training  Adam, gradients clipped to a global norm of 1
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks.command import check_at_least
from experiments import output
from experiments.application import Application, Common
from experiments.checks import check_choices, check_positive
from experiments.fitting import Fitting
from experiments.parity_figure import WINDOW, draw, rows, to_markdown
from jaxrnn import GRU, LRU, LSTM, Elman, MinGRU
from jaxrnn.nn import RNN
from jaxrnn.tasks import Batch, Parity
from jaxrnn.train import Trainer, losses

Network = Literal["Elman", "LSTM", "GRU", "MinGRU", "LRU", "window MLP"]


@dataclass(frozen=True)
class Settings(Common):
    """Trains cells on the parity of up to 40 steps, and tests them on up to 400."""

    networks: tuple[Network, ...] = get_args(Network)
    """Which networks."""
    hidden_size: int = 32
    """Units of every cell; the perceptron has eight times as many."""
    length: int = 40
    """Steps in training, and the window of the perceptron."""
    tested: tuple[int, ...] = (10, 20, 40, 60, 100, 200, 400)
    """Steps of the tests; the last decides."""
    batch: int = 64
    """Sequences in an update."""
    samples: int = 2000
    """Sequences of each test."""
    rate: float = 3e-3
    """Learning rate."""
    updates: int = 4000
    """Updates of every network."""
    every: int = 500
    """Updates between two looks at the accuracy."""
    seeds: int = 3
    """Networks of each kind."""


class StepByStep(nnx.Module):
    """A cell, and a perceptron at every step, without which a linear cell would stay linear."""

    def __init__(self, cell, rngs: nnx.Rngs):
        """Draws the parameters."""
        self.embed = nnx.Linear(1, cell.output_size, rngs=rngs)
        self.rnn = RNN(cell, cell.output_size, rngs=rngs)
        self.middle = nnx.Linear(cell.output_size, cell.output_size, rngs=rngs)
        self.head = nnx.Linear(cell.output_size, 2, rngs=rngs)

    def __call__(self, xs):
        """Logits (time, batch, 2)."""
        return self.head(nnx.relu(self.middle(self.rnn(self.embed(xs))[1])))


class Perceptron(nnx.Module):
    """Two layers over the last steps, zeros before the first."""

    def __init__(self, window: int, hidden_size: int, rngs: nnx.Rngs):
        """Draws the parameters."""
        self.window = window
        self.first, self.second = (nnx.Linear(n, hidden_size, rngs=rngs) for n in (window, hidden_size))
        self.head = nnx.Linear(hidden_size, 2, rngs=rngs)

    def __call__(self, xs):
        """Logits (time, batch, 2)."""
        padded = jnp.concatenate([jnp.zeros((self.window - 1, *xs.shape[1:]), xs.dtype), xs])[..., 0]
        windows = jnp.stack([padded[n : n + len(xs)] for n in range(self.window)], axis=-1)
        return self.head(nnx.relu(self.second(nnx.relu(self.first(windows)))))


def models(settings: Settings) -> dict[str, Callable[..., nnx.Module]]:
    """How each network is made."""
    size = settings.hidden_size
    cells = {"Elman": Elman(size), "LSTM": LSTM(size), "GRU": GRU(size), "MinGRU": MinGRU(size), "LRU": LRU(size, size)}
    found: dict[str, Callable[..., nnx.Module]] = {n: functools.partial(StepByStep, cell) for n, cell in cells.items()}
    return found | {WINDOW: functools.partial(Perceptron, settings.length, 8 * size)}


def sample(settings: Settings, key, length: int, batch: int) -> Batch:
    """Signs, and at every step the parity of all up to it."""
    inputs = Parity(length).sample(key, batch).inputs
    targets = jnp.cumsum(inputs[..., 0] > 0, axis=0, dtype=jnp.int32) % 2
    return Batch(inputs, targets, jnp.ones(targets.shape, bool))


def train(settings: Settings, make: Callable, fitting: Fitting) -> dict[str, Any]:
    """Accuracy by length and history, for each seed."""
    found = [train_one(settings, make, seed, fitting) for seed in range(settings.seeds)]
    return {name: [one[name] for one in found] for name in found[0]}


def train_one(settings: Settings, make: Callable, seed: int, fitting: Fitting) -> dict[str, Any]:
    """One network."""
    key = jax.random.fold_in(jax.random.key(settings.seed), seed)
    validation_key, test_key = jax.random.split(jax.random.key(settings.seed + 1))
    graph, params = nnx.split(make(rngs=nnx.Rngs(key)), nnx.Param)

    def loss_fn(params, batch, key):
        logits = nnx.merge(graph, params)(batch.inputs)
        return losses.cross_entropy(logits, batch.targets, batch.mask), {"tokens": jnp.int32(batch.mask.size)}

    @functools.partial(jax.jit, static_argnums=1)
    def accuracy(params, length, key):
        batch = sample(settings, key, length, settings.samples)
        logits = nnx.merge(graph, params)(batch.inputs)
        return losses.accuracy(logits[-1:], batch.targets[-1:], batch.mask[-1:])

    @jax.jit
    def batch_at(position):
        return sample(settings, jax.random.fold_in(key, position), settings.length, settings.batch)

    params, history = fitting.fit(
        trainer := Trainer(loss_fn, optax.adam(settings.rate), clip=optax.clip_by_global_norm(1.0)),
        trainer.init(params, key),
        batch_at,
        settings.updates,
        every=settings.every,
        evaluate=lambda params: {"accuracy": float(accuracy(params, settings.length, validation_key))},
        score=lambda found: -found["accuracy"],
        part=f"seed {seed}" if settings.seeds > 1 else None,
    )
    tests = [(length, jax.random.fold_in(test_key, length)) for length in settings.tested]  # else one begins the next
    by_length = [output.plain(accuracy(params, *test)) for test in tests]
    return {"accuracy": by_length, "history": output.plain(history)}


def check(settings: Settings) -> None:
    """Raises ValueError where a setting cannot be used."""
    check_at_least(settings, 1, "hidden_size", "batch", "samples", "updates", "every", "seeds")
    check_at_least(settings, 2, "length", "tested")
    check_choices(settings, "networks")
    check_positive(settings, "rate")


def runs(settings: Settings, data: None) -> dict[str, Callable[[Fitting], dict[str, Any]]]:
    """One for each kind of network."""
    made = models(settings)
    return {name: functools.partial(train, settings, made[name]) for name in settings.networks}


APPLICATION = Application(
    name="parity",
    settings=Settings,
    small={"networks": ("LSTM", WINDOW), "hidden_size": 8, "length": 8, "tested": (8, 16), "batch": 16, "samples": 200}
    | {"updates": 60, "every": 30, "seeds": 1},
    check=check,
    files=lambda settings: (),
    read=lambda settings: None,
    make=lambda settings: None,
    runs=runs,
    draw=draw,
    to_markdown=to_markdown,
    rows=rows,
)
main = APPLICATION.main

if __name__ == "__main__":
    sys.exit(main())
