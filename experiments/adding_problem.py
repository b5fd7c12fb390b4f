"""The adding problem over 200 steps: which cells learn it, at which learning rates, and after how many updates.

Command:  python -m experiments.adding_problem --out experiments/results/adding_problem
Runtime:  28 minutes on 2 cores that had other work too; --smoke half a minute
Expected: GRU and LSTM below a test error of 0.01 with every seed at every rate, the LRU with every seed at 0.01, with
          2 of 3 at 0.003 and none at 0.001; a tanh network never, it stays near the 1/6 of always answering 1

    task      jaxrnn.tasks.Adding: the sum of two marked numbers among 200, squared error at the last step
    model     output = w y_T + b,   y the cell's outputs,   read by the cell: GELU(A x_t + a)
    training  Adam, gradients clipped to a global norm of 1, a fresh batch for every update

Only the cell differs. The first layer is there because an LRU is linear in what it reads, and so could not multiply a
number by its mark; all the others get it too, and what is left to the cell is what the task is about, to remember. Its
weights are normal with variance 1 / 2, one over the fan-in. This scale was chosen after a first run, not kept, in which
they were Glorot's, a third of that size, and fewer seeds of the LRU came below 0.01.
GRU and LSTM begin with Chrono biases for the length (Tallec & Ollivier, 2018), which spread their memories over it, the
LRU with slow eigenvalues: moduli from 0.9 to 0.999, phases up to pi / 10. The Elman cell is of tanh units with an
orthogonal matrix. All seeds and learning rates of a cell run side by side in one compiled call. A seed has the same
weights at every rate, and the same batches in every cell.
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
from experiments.adding_figure import draw, to_markdown
from experiments.checks import check_choices
from jaxrnn.initializers import Chrono, Gaussian
from jaxrnn.tasks import Adding
from jaxrnn.train import Trainer, TrainState, losses

FIELDS = ("parameters", "chosen_rate", "validation", "test")  # of the results of each cell, besides what they took
CellName = Literal["GRU", "LSTM", "LRU", "Elman"]


@dataclass(frozen=True)
class Settings:
    """Trains four cells on the adding problem, each at several learning rates and from several seeds.

    Writes a figure (PNG, SVG), a table and data (JSON) into one folder after each cell. Interrupted, the same command
    goes on with the next cell.
    """

    cells: tuple[CellName, ...] = ("GRU", "LSTM", "LRU", "Elman")
    """Which cells."""
    length: int = 200
    """Steps of a sequence."""
    hidden_size: int = 32
    """Units of every cell."""
    batch: int = 32
    """Sequences for each update."""
    updates: int = 2500
    """Updates of every run."""
    every: int = 100
    """Updates between two measurements."""
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    """Learning rates."""
    seeds: int = 3
    """Runs at each learning rate, which differ in weights and batches."""
    held_out: int = 512
    """Sequences for testing, and half as many for choosing the learning rate."""
    seed: int = 0
    """The key from which every draw follows."""
    out: Path | None = None
    """Folder for the results. Default: scratch/adding_problem."""
    smoke: bool = False
    """A quick look that all works: 10 steps, 8 units, 2 rates and seeds, 40 updates; replaces these settings."""


def _affine(key, rows: int, columns: int) -> dict[str, Any]:
    return {"weight": Gaussian()(key, (rows, columns)), "bias": jnp.zeros(columns, jnp.float32)}


@dataclass(frozen=True)
class Model:
    """A layer of GELU units, a cell, and a linear readout of its last output."""

    cell: jaxrnn.Cell
    features: int

    def init(self, key) -> dict[str, Any]:
        """Normal weights of variance 1 over the fan-in, zero biases; the cell has its own initialisation."""
        keys = jax.random.split(key, 3)
        return {
            "encoder": _affine(keys[0], 2, self.features),
            "cell": self.cell.init(keys[1], self.features),
            "readout": _affine(keys[2], self.cell.output_size, 1),
        }

    def __call__(self, params, xs):
        """The outputs at the last step, (1, batch, 1)."""
        encoder, readout = params["encoder"], params["readout"]
        _, ys = jaxrnn.unroll(self.cell, params["cell"], jax.nn.gelu(xs @ encoder["weight"] + encoder["bias"]))
        return ys[-1:] @ readout["weight"] + readout["bias"]


def models(settings: Settings) -> dict[str, Model]:
    """What is compared."""
    size, chrono = settings.hidden_size, Chrono(settings.length)
    cells = {
        "GRU": jaxrnn.GRU(size, bias_init=chrono),
        "LSTM": jaxrnn.LSTM(size, bias_init=chrono),
        "LRU": jaxrnn.LRU(size, size, min_radius=0.9, max_radius=0.999, max_phase=math.pi / 10),
        "Elman": jaxrnn.Elman(size),
    }
    return {name: Model(cells[name], size) for name in settings.cells}


def train(model: Model, settings: Settings, advance: Callable[[], None]) -> dict[str, Any]:
    """All runs of one model: errors on held-out sequences by (rate, seed, measurement), and how long it took."""
    task, held_out, tested = Adding(settings.length), settings.held_out * 3 // 2, settings.held_out
    begin_key, held_key = jax.random.split(jax.random.key(settings.seed))
    held = task.sample(held_key, held_out)

    def loss_fn(params, batch, key):
        return losses.squared_error(model(params, batch.inputs), batch.targets, batch.mask[-1:]), ()

    def trainer(rate) -> Trainer:
        return Trainer(loss_fn, optax.adam(rate), clip=optax.clip_by_global_norm(1.0))

    def begin(key, rate) -> TrainState:
        weights_key, batches_key = jax.random.split(key)
        return trainer(rate).init(model.init(weights_key), batches_key)

    def errors(state: TrainState):
        squares = (model(state.params, held.inputs)[0, :, 0] - held.targets[:, 0]) ** 2
        return jnp.stack([jnp.mean(squares[tested:]), jnp.mean(squares[:tested])])

    def block(state: TrainState, rate):
        def update(state, _):
            batch = task.sample(jax.random.fold_in(state.key, state.step), settings.batch)
            return trainer(rate).update(state, batch)[0], ()

        state, _ = lax.scan(update, state, length=settings.every)
        return state, errors(state)

    keys = jax.random.split(begin_key, settings.seeds)
    rates = jnp.repeat(jnp.array(settings.rates, jnp.float32), settings.seeds)
    states = jax.vmap(begin)(jnp.tile(keys, len(settings.rates)), rates)
    run_block = jax.jit(jax.vmap(block), donate_argnums=0)
    measured, started = [np.asarray(jax.vmap(errors)(states))], time.perf_counter()  # each (runs, 2)
    for _ in range(settings.updates // settings.every):
        states, found = run_block(states, rates)
        measured.append(np.asarray(found))
        advance()
    curves = np.stack(measured, axis=-1).reshape(len(settings.rates), settings.seeds, 2, -1)
    validation, test = curves[:, :, 0], curves[:, :, 1]
    last = np.nan_to_num(validation[..., -1], nan=np.inf)  # a run that is not finite is the worst
    count = sum(leaf.size for leaf in jax.tree.leaves(states.params)) // len(rates)
    return {
        "parameters": count,
        "seconds": round(time.perf_counter() - started, 1),
        "updates_skipped": int(states.skipped.sum()),
        "chosen_rate": settings.rates[int(np.argmin(np.median(last, axis=-1)))],
        "validation": output.plain(validation),
        "test": output.plain(test),
    }


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    if settings.smoke:
        small = {"length": 10, "hidden_size": 8, "batch": 8, "updates": 40, "every": 20, "held_out": 32, "seeds": 2}
        settings = replace(settings, rates=(3e-3, 1e-2), **small)
    check_at_least(settings, 2, "length", "held_out")
    check_at_least(settings, 1, "hidden_size", "batch", "every", "seeds")
    check_seed(settings)
    check_choices(settings, "cells", "rates")
    if not all(0 < rate < math.inf for rate in settings.rates):
        raise ValueError(f"--rates: must be finite numbers above 0, got {settings.rates}. Leave the others out.")
    if settings.updates < settings.every or settings.updates % settings.every:
        raise ValueError(
            f"--updates: must be a multiple of --every, which is {settings.every}, got {settings.updates}. "
            "Change one of the two."
        )
    return settings, ready_folder(settings.out, "adding_problem")


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Trains one cell after the other and writes everything after each."""
    results = output.open_results(folder, settings, FIELDS, messages)
    planned = models(settings)
    left = [name for name in planned if name not in results["parts"]]
    with progress(messages) as bar:
        task = bar.add_task("", total=len(left) * settings.updates)
        for name in left:
            bar.update(task, description=name)
            part = train(planned[name], settings, lambda: bar.advance(task, settings.every))
            results["parts"][name] = part
            output.write(folder, "adding_problem", lambda: draw(results), to_markdown(results), results)
    results["finished"] = True
    output.write(folder, "adding_problem", lambda: draw(results), to_markdown(results), results)
    print(to_markdown(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
