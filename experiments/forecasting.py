"""Forecasts of three recorded series: LSTM and GRU beside repeating the last value, the last season, and a window MLP.

Command:  python -m experiments.forecasting --out experiments/results/forecasting
Runtime:  13 minutes on 1 core; --smoke 24 seconds on 2 slow cores
Metric:   mean squared and mean absolute error over all windows, steps of the horizon and columns of the test split,
          standardised by the training split; absolute error in units too where there is one column
Published: ETTh1, all columns, 24 hours: 0.321 squared and 0.359 absolute by SCINet, read in the table of a
          re-implementation; about 0.650 and 0.624 by LSTMa, recalled from the Informer paper (arXiv 2012.07436). None
          for the others

    data      monthly sunspots, daily minimum temperatures of Melbourne, and the loads and oil temperature of a
              transformer (ETTh1); splits in time order, the test split is forecast from its first step on
    model     a recurrent layer over the window, and from its last state one linear layer to all steps of the horizon;
              of sunspots and ETTh1 every network, the perceptron too, sees the window less its last value and tells
              what to add to that, so that repeating the last value is what it does without learning
    repeated  the last value and the last season, which need no training; that of the temperatures lies 365 days back,
              of which a network sees 60
    training  Adam, its rate falling to nothing by a cosine, gradients clipped to a global norm of 1, dropout; the
              validation split decides which parameters are tested
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.command import check_at_least
from experiments import made_forecasting, output
from experiments.application import Application, Common
from experiments.checks import check_choices, check_limits, check_positive, check_rate
from experiments.fitting import Fitting, parameters
from experiments.forecasting_figure import draw, rows, to_markdown
from experiments.forecasting_models import TASKS, Predict, Task, baselines, networks
from jaxrnn.data import Standardised, TimeSeries, Windows, batches, standardise, time_series
from jaxrnn.train import Trainer, losses

FILES = {name: f"time-series/{name}.csv" for name in TASKS} | {"etth1": "etth1/ETTh1.csv"}
SHOWN = 2  # horizons before the forecast in the picture


@dataclass(frozen=True)
class Settings(Common):
    """Trains forecasters of three series; writes their errors beside those of baselines, and a forecast of each."""

    series: tuple[str, ...] = ("monthly-sunspots", "daily-min-temperatures", "etth1")
    """Which of the series."""
    hidden_size: int = 64
    """Units of a recurrent layer, and of the window MLP."""
    dropout: float = 0.1
    """Rate of dropout before the last layer."""
    batch: int = 64
    """Windows in an update."""
    rate: float = 4e-3
    """Learning rate at the start."""
    updates: int = 1000
    """Updates of every network."""
    every: int = 100
    """Updates between two looks at the validation split."""
    seeds: int = 3
    """Networks of each kind."""
    limit: int | None = None
    """Steps of each training split that are used, the last ones. Default: all."""


class Splits(NamedTuple):
    """Windows of each split; those of validation and test look back into the split before."""

    train: Windows
    validation: Windows
    test: Windows


def windows(settings: Settings, task: Task, scaled: Standardised) -> Splits:
    """Every window whose horizon lies in the split."""
    back = max(task.history, task.season)
    key, evaluated = jax.random.key(settings.seed), 256
    before = np.concatenate([scaled.train, scaled.validation])
    train = scaled.train[-(settings.limit or 0) :]
    validation = np.concatenate([scaled.train[-back:], scaled.validation])
    try:
        source = Windows(train, back, task.horizon, settings.batch, key)
    except ValueError as error:
        raise ValueError(f"--limit: {len(train)} steps are too few. {error}") from error
    test = np.concatenate([before[-back:], scaled.test])
    return Splits(source, *(Windows(part, back, task.horizon, evaluated) for part in (validation, test)))


def forecasts(predict: Predict, source: Windows) -> tuple[np.ndarray, np.ndarray]:
    """What is told of every window and what came, both (horizon, windows, columns)."""
    found = []
    for batch in batches(source):
        kept = batch.mask[0]
        found.append((np.asarray(predict(batch.inputs))[:, kept], batch.targets[:, kept]))
    told, came = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
    return told, came


def errors(told: np.ndarray, came: np.ndarray) -> dict[str, Any]:
    """Mean squared and absolute error, and the squared one of each step of the horizon."""
    off = told.astype(np.float64) - came
    by_step = np.mean(off**2, axis=(1, 2))
    return {"mse": np.mean(by_step), "mae": np.mean(np.abs(off)), "mse_by_step": by_step}


def judge(predict: Predict, source: Windows, scaled: Standardised) -> dict[str, Any]:
    """The errors on the test split, and the forecast of the last column for the window in its middle, in units."""
    told, came = forecasts(predict, source)
    middle = scaled.restore(told[:, told.shape[1] // 2])[:, -1]
    return {name: output.plain(value) for name, value in (errors(told, came) | {"example": middle}).items()}


def train(settings: Settings, task: Task, make: Callable, splits: Splits, name: str, fitting: Fitting) -> list[Any]:
    """The network of each seed: how to predict with it, its number of parameters, and how training went."""
    graph = nnx.split(make(rngs=nnx.Rngs(0)), nnx.Param)[0]

    def loss_fn(params, batch, key):
        told = nnx.merge(graph, params)(batch.inputs, key)
        return losses.squared_error(told, batch.targets, batch.mask), {"tokens": jnp.sum(batch.mask).astype(jnp.int32)}

    @jax.jit
    def predict(params, xs):
        return nnx.merge(graph, params)(xs)

    def evaluate(params) -> dict[str, float]:
        found = errors(*forecasts(functools.partial(predict, params), splits.validation))
        return {name: float(found[name]) for name in ("mse", "mae")}

    optimizer = optax.adam(optax.cosine_decay_schedule(settings.rate, settings.updates))
    trainer = Trainer(loss_fn, optimizer, clip=optax.clip_by_global_norm(1.0))
    how: dict[str, Any] = {"every": settings.every, "evaluate": evaluate, "score": lambda found: found["mse"]}
    trained = []
    for seed in range(settings.seeds):
        key = jax.random.fold_in(jax.random.key(settings.seed), seed)
        state = trainer.init(nnx.state(make(rngs=nnx.Rngs(key)), nnx.Param), key)
        part = f"{name}, seed {seed}" if settings.seeds > 1 else name
        params, history = fitting.fit(trainer, state, splits.train.at, settings.updates, part=part, **how)
        size = parameters(params)
        trained.append((functools.partial(predict, params), size, history))
    return trained


def run(settings: Settings, task: Task, series: TimeSeries, fitting: Fitting) -> dict[str, Any]:
    """All forecasters of one series."""
    scaled = standardise(series)
    splits = windows(settings, task, scaled)
    kinds = networks(task, len(series.columns), settings.hidden_size, settings.dropout)
    found = {name: {"seeds": [judge(predict, splits.test, scaled)]} for name, predict in baselines(task).items()}
    for name, make in kinds.items():
        trained = train(settings, task, make, splits, name, fitting)
        found[name] = {
            "parameters": trained[0][1],
            "seeds": [judge(predict, splits.test, scaled) for predict, _, _ in trained],
            "histories": [output.plain(each) for _, _, each in trained],
        }
    back, count = splits.test.history, len(scaled.test) - task.horizon + 1
    begin = back + count // 2  # of what is told of the window in the middle
    around = splits.test.series[max(begin - SHOWN * task.horizon, 0) : begin + task.horizon]
    return {
        "task": task._asdict(),
        "columns": len(series.columns),
        "column": series.columns[-1],
        "deviation": float(scaled.deviation[-1]),
        "windows": count,
        "example": {
            "begin": series.times[series.test.start + count // 2],
            "values": output.plain(scaled.restore(around)[:, -1]),
        },
        "models": found,
    }


def check(settings: Settings) -> None:
    """Raises ValueError where a setting cannot be used."""
    check_choices(settings, "series")
    for name in settings.series:
        if name not in TASKS:
            raise ValueError(f"--series: must be some of {', '.join(TASKS)}, got {name}. Choose among them.")
    check_at_least(settings, 1, "hidden_size", "batch", "updates", "every", "seeds")
    check_limits(settings, 1, "limit")
    check_positive(settings, "rate")
    check_rate(settings, "dropout")


def runs(settings: Settings, data: dict[str, TimeSeries]) -> dict[str, Callable[[Fitting], dict[str, Any]]]:
    """One for each series."""
    for name, series in data.items():
        windows(settings, TASKS[name], standardise(series))  # says here what is too short
    return {name: functools.partial(run, settings, TASKS[name], series) for name, series in data.items()}


APPLICATION = Application(
    name="forecasting",
    settings=Settings,
    small={"series": ("etth1",), "hidden_size": 8, "batch": 32}
    | {"updates": 60, "every": 30, "seeds": 1, "limit": 800},
    check=check,
    files=lambda settings: tuple(FILES[name] for name in settings.series),
    read=lambda settings: {name: time_series(name, settings.data) for name in settings.series},
    make=lambda settings: {
        name: made_forecasting.series(name, TASKS[name].season, settings.seed) for name in settings.series
    },
    runs=runs,
    draw=draw,
    to_markdown=to_markdown,
    rows=rows,
)
main = APPLICATION.main

if __name__ == "__main__":
    sys.exit(main())
