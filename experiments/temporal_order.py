"""The temporal order problem in the setting of Pascanu et al. (2013): clipping alone, and clipping with Omega.

Command:  python -m experiments.temporal_order --out experiments/results/temporal_order
Runtime:  6 minutes on 2 cores, never above 30; --smoke half a minute
Expected: at 50 steps clipping and Omega solve it with 5 of 5 seeds, after 8,000 to 18,000 updates; clipping alone with
          5 of 5 too, after 6,000 to 230,000, most of them spent at half wrong. Rounding differs between processors, and
          with it when a seed is through

    task      jaxrnn.tasks.TemporalOrder: which of two symbols came first, among distractors; cross-entropy at the end
    model     50 tanh units in the paper's "smart tanh" initialisation: 15 incoming weights a unit, spectral radius
              0.95, all other weights normal with deviation 0.01; a linear readout of the last state
    training  plain SGD, rate 0.01, batch 20, gradients clipped to a global norm of 1
    Omega     jaxrnn.gradients.omega_squared times 2, the form and the factor of the released code; the paper states
              another form, `omega`, with a factor of 4

Solved means as in the paper that fewer than 1% of 10,000 fresh sequences are wrong, at one measurement. A run ends
there; the code of the paper went on until none was wrong, and its log, with factor 2, has 336,000 updates. But there
each batch draws a length between 50 and 200 anew, which generalises to longer ones; here every run has one length.
`--lengths 50 100 150 200` gives the curve over lengths, with as many minutes for each length and method. The seeds of a
part run side by side in threads of their own; side by side in one compiled call they are not faster, as each alone
keeps a core busy. A seed has the same weights and batches with both methods.
"""

import concurrent.futures
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float
from rich.console import Console

import jaxrnn
from benchmarks.command import check_at_least, check_seed, command, progress, ready_folder
from experiments import output
from experiments.checks import check_choices
from experiments.order_figure import SOLVED, draw, to_markdown
from jaxrnn.gradients.clipping import clipping
from jaxrnn.gradients.omega import omega_squared
from jaxrnn.initializers import Gaussian, Initializer
from jaxrnn.tasks import TemporalOrder
from jaxrnn.train import Trainer, TrainState, losses

FIELDS = ("length", "method", "updates", "curves")  # of the results of each part
Method = Literal["clip", "clip-omega"]


@dataclass(frozen=True)
class Settings:
    """Trains tanh networks on the temporal order problem by SGD, with clipping alone and with clipping and Omega.

    Writes a figure (PNG, SVG), a table and data (JSON) into one folder after each length and method. Interrupted, the
    same command goes on with the next of them.
    """

    lengths: tuple[int, ...] = (50,)
    """Steps of a sequence; for the whole curve 50 100 150 200."""
    methods: tuple[Method, ...] = ("clip", "clip-omega")
    """Which methods."""
    hidden_size: int = 50
    """Units."""
    batch: int = 20
    """Sequences for each update."""
    rate: float = 0.01
    """Learning rate."""
    threshold: float = 1.0
    """Gradients are clipped to this global norm."""
    strength: float = 2.0
    """Factor of Omega, in the form of the released code."""
    updates: int = 5_000_000
    """The most updates of a run."""
    minutes: float = 14.0
    """The most minutes for all seeds of one length and method, side by side; compiling comes before."""
    every: int = 1000
    """Updates between two measurements."""
    seeds: int = 5
    """Runs, which differ in weights and batches; one thread for each."""
    held_out: int = 10_000
    """Fresh sequences for each measurement of the error."""
    seed: int = 0
    """The key from which every draw follows."""
    out: Path | None = None
    """Folder for the results. Default: scratch/temporal_order."""
    smoke: bool = False
    """A quick look that all works: 10 steps, 16 units, batches of 8, 2 seeds, 100 updates; replaces these settings."""


@dataclass(frozen=True)
class SmartTanh(Initializer):
    """Normal weights, `incoming` of them to each unit and no others, scaled to a spectral radius."""

    incoming: int = 15
    spectral_radius: float = 0.95

    def __call__(self, key, shape, dtype=jnp.float32):
        """See Initializer."""
        values_key, places_key = jax.random.split(key)
        order = jnp.argsort(jax.random.uniform(places_key, shape), axis=0)
        weights = jnp.where(order < self.incoming, jax.random.normal(values_key, shape), 0)
        return (weights * (self.spectral_radius / spectral_radius(weights))).astype(dtype)


def spectral_radius(weights: Float[Array, "n n"]) -> Float[Array, ""]:
    """The largest modulus of an eigenvalue."""
    return jnp.max(jnp.abs(jnp.linalg.eigvals(weights)))


class Measured(NamedTuple):
    """What is measured of one run after every block of updates, the first two over the updates of the block."""

    loss: Float[Array, ""]
    clipped: Float[Array, ""]
    error: Float[Array, ""]
    norm: Float[Array, ""]
    cosine: Float[Array, ""]
    omega: Float[Array, ""]
    radius: Float[Array, ""]


@dataclass(frozen=True)
class Experiment:
    """One length and one method."""

    settings: Settings
    length: int
    method: Method

    @property
    def task(self) -> TemporalOrder:
        """The task."""
        return TemporalOrder(self.length)

    @property
    def cell(self) -> jaxrnn.Elman:
        """Tanh units in the paper's "smart tanh" initialisation."""
        sigma = 0.01 * self.task.input_size**0.5  # Gaussian divides by the square root of the fan-in
        return jaxrnn.Elman(self.settings.hidden_size, input_init=Gaussian(sigma), recurrent_init=SmartTanh())

    @property
    def trainer(self) -> Trainer:
        """SGD after clipping."""
        clip = optax.clip_by_global_norm(self.settings.threshold)
        return Trainer(self.loss_fn, optax.sgd(self.settings.rate), clip=clip)

    def begin(self, key) -> TrainState:
        """Fresh weights, and the key of the batches."""
        cell_key, readout_key, batches_key = jax.random.split(key, 3)
        classes = self.task.output_size
        readout = Gaussian(0.01 * self.cell.output_size**0.5)(readout_key, (self.cell.output_size, classes))
        params = {
            "cell": self.cell.init(cell_key, self.task.input_size),
            "readout": {"weight": readout, "bias": jnp.zeros(classes, jnp.float32)},
        }
        return self.trainer.init(params, batches_key)

    def logits(self, params, ys):
        """The readout of the last output, (batch, classes)."""
        return ys[-1] @ params["readout"]["weight"] + params["readout"]["bias"]

    def regularised(self, params, batch):
        """Loss and Omega of each sequence."""

        def loss(ys):
            each = optax.losses.softmax_cross_entropy_with_integer_labels
            return each(self.logits(params, ys), batch.targets)

        return omega_squared(self.cell, params["cell"], batch.inputs, loss)

    def loss_fn(self, params, batch, key):
        """The loss that is trained, and beside it that of the task."""
        if self.method == "clip":
            _, ys = jaxrnn.unroll(self.cell, params["cell"], batch.inputs)
            loss = losses.cross_entropy(self.logits(params, ys)[None], batch.targets, batch.mask[-1:])
            return loss, loss
        found = self.regularised(params, batch)
        return found.loss.mean() + self.settings.strength * found.omega.mean(), found.loss.mean()

    def block(self, state: TrainState) -> tuple[TrainState, Measured]:
        """Updates, each on a fresh batch, and the measurements after them."""

        def update(state, _):
            batch = self.task.sample(jax.random.fold_in(state.key, state.step), self.settings.batch)
            state, metrics = self.trainer.update(state, batch)
            return state, (metrics.aux, metrics.clipped)

        state, (task_losses, clipped) = lax.scan(update, state, length=self.settings.every)
        return state, self.measure(state, task_losses.mean(), jnp.mean(clipped, dtype=jnp.float32))

    def measure(self, state: TrainState, loss, clipped) -> Measured:
        """The error on fresh sequences, and the gradients of some batches as they are before clipping."""
        params, settings = state.params, self.settings
        error_key, batches_key = jax.random.split(jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step))
        held = self.task.sample(error_key, settings.held_out)
        _, ys = jaxrnn.unroll(self.cell, params["cell"], held.inputs)
        last = held._replace(inputs=held.inputs[-1:], mask=held.mask[-1:])
        wrong = self.task.wrong(self.logits(params, ys)[None], last)
        entries = sum(leaf.size for leaf in jax.tree.leaves(params))
        by_value = optax.clip(settings.threshold / entries**0.5)  # bounds the norm by the same threshold

        def one(key):
            batch = self.task.sample(key, settings.batch)
            gradient = jax.grad(lambda params: self.loss_fn(params, batch, key)[0])(params)
            found = clipping(gradient, by_value)
            return found.norm_before, found.cosine, self.regularised(params, batch).omega.mean()

        norm, cosine, omega = (value.mean() for value in jax.vmap(one)(jax.random.split(batches_key, 20)))
        radius = spectral_radius(params["cell"].recurrent)
        return Measured(loss, clipped, jnp.mean(wrong, dtype=jnp.float32), norm, cosine, omega, radius)


def train(experiment: Experiment, advance: Callable[[float], None]) -> dict[str, Any]:
    """All seeds of one length and method side by side: curves by seed, until solved or out of time or updates."""
    settings = experiment.settings
    keys = jax.random.split(jax.random.key(settings.seed), settings.seeds)
    states = [experiment.begin(key) for key in keys]
    run_block = jax.jit(experiment.block, donate_argnums=0).lower(states[0]).compile()
    started, stop = time.perf_counter(), threading.Event()

    def one(state: TrainState) -> tuple[list[Measured], int, float]:
        curve: list[Measured] = []
        while len(curve) < settings.updates // settings.every and not stop.is_set():
            state, measured = run_block(state)
            curve.append(jax.device_get(measured))
            late = time.perf_counter() - started > 60 * settings.minutes
            if late or curve[-1].error < SOLVED or int(state.skipped_in_a_row) >= experiment.trainer.patience:
                break
        return curve, int(state.skipped), time.perf_counter() - started

    with concurrent.futures.ThreadPoolExecutor(settings.seeds) as pool:
        runs = [pool.submit(one, state) for state in states]
        try:
            while concurrent.futures.wait(runs, timeout=1).not_done:
                advance(min(time.perf_counter() - started, 60 * settings.minutes))
        finally:
            stop.set()
    found = [run.result() for run in runs]
    return {
        "length": experiment.length,
        "method": experiment.method,
        "updates": [settings.every * len(curve) for curve, _, _ in found],
        "seconds": [round(seconds, 1) for _, _, seconds in found],
        "updates_skipped": [skipped for _, skipped, _ in found],
        "curves": {
            name: [output.plain([getattr(measured, name) for measured in curve]) for curve, _, _ in found]
            for name in Measured._fields
        },
    }


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    if settings.smoke:
        small = {"hidden_size": 16, "batch": 8, "updates": 100, "every": 50, "held_out": 64, "seeds": 2, "minutes": 1.0}
        settings = replace(settings, lengths=(10,), **small)
    check_at_least(settings, 10, "lengths")
    check_at_least(settings, SmartTanh().incoming, "hidden_size")
    check_at_least(settings, 1, "batch", "every", "seeds", "held_out")
    check_seed(settings)
    check_choices(settings, "lengths", "methods")
    for name in ("rate", "threshold", "strength", "minutes"):
        value = getattr(settings, name)
        if not 0 < value < float("inf"):
            raise ValueError(f"--{name}: must be a finite number above 0, got {value}. Give another number.")
    if settings.updates < settings.every or settings.updates % settings.every:
        raise ValueError(
            f"--updates: must be a multiple of --every, which is {settings.every}, got {settings.updates}. "
            "Change one of the two."
        )
    return settings, ready_folder(settings.out, "temporal_order")


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Trains one length and method after the other and writes everything after each."""
    results = output.open_results(folder, settings, FIELDS, messages)
    planned = {
        f"{method}-{length}": Experiment(settings, length, method)
        for length in settings.lengths
        for method in settings.methods
    }
    left = [name for name in planned if name not in results["parts"]]
    seconds = 60 * settings.minutes
    with progress(messages) as bar:
        task = bar.add_task("", total=len(left) * seconds)
        for number, name in enumerate(left):
            begun = number * seconds
            bar.update(task, description=name, completed=begun)
            part = train(planned[name], lambda spent, begun=begun: bar.update(task, completed=begun + spent))
            results["parts"][name] = part
            output.write(folder, "temporal_order", lambda: draw(results), to_markdown(results), results)
    results["finished"] = True
    output.write(folder, "temporal_order", lambda: draw(results), to_markdown(results), results)
    print(to_markdown(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments)


if __name__ == "__main__":
    # Matrices this small are multiplied faster by one thread; the seeds keep the others busy.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    sys.exit(main())
