"""||dL/dh_t|| over time for five recurrent networks, at the start and after 100 updates on the adding problem.

Command:  python -m experiments.state_gradients --out experiments/results/state_gradients
Runtime:  70 seconds on 2 cores; --smoke half a minute
Expected: norms at the first over those at the last step, at the start and after 100 updates: tanh 10^-1.3 and 10^-10.4,
          orthogonal 10^-3.1 and 10^-9.6, LSTM 10^-3.0 and 10^-6.2, GRU 10^-13.4 and 10^-8.7; the IRNN level at both.
          Half-lives with their R^2 stand in the table

    task      jaxrnn.tasks.Adding over 100 steps; L is a sequence's squared error, read off its last output
    model     output = w h_T + b;   five cells of 64 units that read the sequence itself
    training  Adam, learning rate 0.001, batches of 32, gradients clipped to a global norm of 1

The figure of Arjovsky, Shah & Bengio (2016, https://arxiv.org/abs/1511.06464), which shows ||dC/dh_t|| at the start and
after 100 iterations, for h alone and with cells of one family more: the memory c of an LSTM has a curve of its own.
tanh has Gaussian recurrent weights of variance 1 / units, orthogonal an orthogonal matrix in front of the same tanh,
the IRNN relu and the identity (Le, Jaitly & Hinton, 2015). LSTM (forget bias 1) and GRU have their defaults.
Each curve is the median over all held-out sequences and seeds, its band goes from the 10% to the 90% quantile.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from rich.console import Console

import jaxrnn
from benchmarks.command import check_at_least, check_seed, command, progress, ready_folder
from experiments import output
from experiments.checks import check_choices
from experiments.state_gradients_figure import draw, to_markdown
from jaxrnn.gradients import adjoint_parts, decay_fit, median, quantile
from jaxrnn.initializers import Gaussian, Identity
from jaxrnn.tasks import Adding, Batch
from jaxrnn.train import Trainer, losses

FIELDS = ("before", "after", "seconds")  # of the results of each cell
CellName = Literal["tanh", "orthogonal", "IRNN", "LSTM", "GRU"]


@dataclass(frozen=True)
class Settings:
    """Measures the gradient by the hidden state at every step, before and after a little training.

    Writes a figure (PNG, SVG), a table and data (JSON) into one folder after each cell. Interrupted, the same command
    goes on with the next cell.
    """

    cells: tuple[CellName, ...] = ("tanh", "orthogonal", "IRNN", "LSTM", "GRU")
    """Which cells."""
    length: int = 100
    """Steps of a sequence."""
    hidden_size: int = 64
    """Units of every cell."""
    batch: int = 32
    """Sequences for each update."""
    updates: int = 100
    """Updates between the two measurements."""
    rate: float = 1e-3
    """Learning rate."""
    seeds: int = 5
    """Networks of each cell."""
    held_out: int = 128
    """Sequences to measure on."""
    seed: int = 0
    """The key from which every draw follows."""
    out: Path | None = None
    """Folder for the results. Default: scratch/state_gradients."""
    smoke: bool = False
    """A quick look that all works: 12 steps, 8 units, 2 seeds, 10 updates; replaces these settings."""


def cells(settings: Settings) -> dict[str, jaxrnn.Cell]:
    """What is compared."""
    size = settings.hidden_size
    small = Gaussian(0.001 * math.sqrt(2))  # Le et al.: input weights of standard deviation 0.001, two features
    found = {
        "tanh": jaxrnn.Elman(size, recurrent_init=Gaussian()),
        "orthogonal": jaxrnn.Elman(size),
        "IRNN": jaxrnn.Elman(size, "relu", input_init=small, recurrent_init=Identity()),
        "LSTM": jaxrnn.LSTM(size),
        "GRU": jaxrnn.GRU(size),
    }
    return {name: found[name] for name in settings.cells}


def outputs(params, ys):
    """The linear readout."""
    return ys @ params["weight"] + params["bias"]


def measure(cell: jaxrnn.Cell, settings: Settings, advance: Callable[[], None]) -> dict[str, Any]:
    """The curves of one cell before and after training, all seeds side by side."""
    task = Adding(settings.length)
    begin_key, held_key = jax.random.split(jax.random.key(settings.seed))
    held, started = task.sample(held_key, settings.held_out), time.perf_counter()

    def loss_fn(params, batch: Batch, key):
        _, ys = jaxrnn.unroll(cell, params["cell"], batch.inputs)
        return losses.squared_error(outputs(params, ys[-1:]), batch.targets, batch.mask[-1:]), ()

    trainer = Trainer(loss_fn, optax.adam(settings.rate), clip=optax.clip_by_global_norm(1.0))

    def begin(key):
        cell_key, weight_key, key = jax.random.split(key, 3)
        weight = Gaussian()(weight_key, (cell.output_size, 1))
        params = {"cell": cell.init(cell_key, task.input_size), "weight": weight, "bias": jnp.zeros(1, jnp.float32)}
        return trainer.init(params, key)

    def train(state):
        def update(state, _):
            batch = task.sample(jax.random.fold_in(state.key, state.step), settings.batch)
            return trainer.update(state, batch)[0], ()

        return lax.scan(update, state, length=settings.updates)[0]

    def curves(params):
        def loss(ys):
            return (outputs(params, ys[-1])[:, 0] - held.targets[:, 0]) ** 2

        parts = adjoint_parts(cell, params["cell"], held.inputs, loss)
        return parts, losses.squared_error(
            outputs(params, jaxrnn.unroll(cell, params["cell"], held.inputs)[1][-1:]), held.targets, held.mask[-1:]
        )

    look = jax.jit(jax.vmap(curves))
    states = jax.vmap(begin)(jax.random.split(begin_key, settings.seeds))
    before = look(states.params)
    advance()
    states = jax.jit(jax.vmap(train))(states)
    after = look(states.params)
    advance()
    return {"before": summary(*before), "after": summary(*after), "seconds": round(time.perf_counter() - started, 1)}


def summary(parts, error) -> dict[str, Any]:
    """log10 of the norm by time for each part of the state (seeds, time, batch), and the decay of that of h."""
    found: dict[str, Any] = {"error": output.plain(error)}
    for name, logs in parts._asdict().items():
        curves = {key: quantile(logs, q, (0, 2)) for key, q in (("median", 0.5), ("low", 0.1), ("high", 0.9))}
        found[name] = {key: output.plain(np.asarray(c, np.float64) / math.log(10)) for key, c in curves.items()}
    fit = decay_fit(median(parts.h, (0, 2)))
    return found | {"rate": output.plain(fit.rate), "r_squared": output.plain(fit.r_squared)}


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    if settings.smoke:
        small = {"length": 12, "hidden_size": 8, "batch": 8, "updates": 10, "seeds": 2, "held_out": 8}
        settings = replace(settings, **small)
    check_at_least(settings, 2, "length")
    check_at_least(settings, 1, "hidden_size", "batch", "updates", "seeds", "held_out")
    check_seed(settings)
    check_choices(settings, "cells")
    if not 0 < settings.rate < math.inf:
        raise ValueError(f"--rate: must be a finite number above 0, got {settings.rate}.")
    return settings, ready_folder(settings.out, "state_gradients")


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Measures one cell after the other and writes everything after each."""
    results = output.open_results(folder, settings, FIELDS, messages)
    planned = cells(settings)
    left = [name for name in planned if name not in results["parts"]]
    with progress(messages) as bar:
        task = bar.add_task("", total=2 * len(left))
        for name in left:
            bar.update(task, description=name)
            results["parts"][name] = measure(planned[name], settings, lambda: bar.advance(task))
            output.write(folder, "state_gradients", lambda: draw(results), to_markdown(results), results)
    results["finished"] = True
    output.write(folder, "state_gradients", lambda: draw(results), to_markdown(results), results)
    print(to_markdown(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
