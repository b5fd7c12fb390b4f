"""What is asked of each series, and what forecasts it: two recurrent networks, a window MLP, and two repetitions."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.forecasting_figure import LAST, SEASON, WINDOW
from jaxrnn import GRU, LSTM
from jaxrnn.models import SequenceClassifier
from jaxrnn.models.encoding import drop
from jaxrnn.nn import RNN

Predict = Callable[[Any], Any]  # from windows (history, batch, columns) to forecasts (horizon, batch, columns)


class Task(NamedTuple):
    """What is asked of a series, in its steps."""

    horizon: int  # steps to be told at once
    history: int  # steps that a network sees
    season: int
    step: str
    unit: str | None  # none where there are many columns
    relative: bool  # networks see a window less its last value, and tell what to add to that


TASKS = {
    "monthly-sunspots": Task(12, 132, 132, "month", "sunspots", True),
    "daily-min-temperatures": Task(7, 60, 365, "day", "°C", False),
    "etth1": Task(24, 48, 24, "hour", None, True),
}


class Perceptron(nnx.Module):
    """A hidden layer over all values of a window at once."""

    def __init__(self, inputs: int, hidden_size: int, outputs: int, dropout: float, rngs: nnx.Rngs):
        """Draws the parameters."""
        self.first = nnx.Linear(inputs, hidden_size, rngs=rngs)
        self.second = nnx.Linear(hidden_size, outputs, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, xs, key=None):
        """Outputs (batch, outputs)."""
        hidden = nnx.relu(self.first(jnp.moveaxis(xs, 1, 0).reshape(xs.shape[1], -1)))
        return self.second(drop(self.dropout, hidden, key))


class Forecaster(nnx.Module):
    """All steps of the horizon from one network's outputs (batch, horizon * columns)."""

    def __init__(self, network: nnx.Module, task: Task):
        """Takes a network that is called on a window."""
        self.network, self.task = network, task

    def __call__(self, xs, key=None):
        """Forecasts (horizon, batch, columns)."""
        xs = xs[-self.task.history :]
        level = xs[-1] if self.task.relative else jnp.zeros_like(xs[-1])
        ys = self.network(xs - level, key=key).reshape(*xs.shape[1:2], self.task.horizon, xs.shape[2])
        return jnp.moveaxis(ys, 1, 0) + level


def networks(task: Task, columns: int, hidden_size: int, dropout: float) -> dict[str, Callable[[nnx.Rngs], Forecaster]]:
    """How each network is made."""
    outputs = task.horizon * columns

    def recurrent(cell, rngs: nnx.Rngs) -> Forecaster:
        layer = RNN(cell, columns, rngs=rngs)
        return Forecaster(SequenceClassifier(layer, outputs, dropout=dropout, rngs=rngs), task)

    def window(rngs: nnx.Rngs) -> Forecaster:
        return Forecaster(Perceptron(task.history * columns, hidden_size, outputs, dropout, rngs), task)

    return {
        "LSTM": functools.partial(recurrent, LSTM(hidden_size)),
        "GRU": functools.partial(recurrent, GRU(hidden_size)),
        WINDOW: window,
    }


def baselines(task: Task) -> dict[str, Predict]:
    """What needs no training."""
    last, season = np.full(task.horizon, -1), np.arange(task.horizon) % task.season - task.season
    return {LAST: lambda xs: xs[last], SEASON: lambda xs: xs[season]}
