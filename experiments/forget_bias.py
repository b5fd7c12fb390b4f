"""How long an LSTM remembers: half-lives predicted from the forget bias, measured, and after training on copying.

Command:  python -m experiments.forget_bias --out experiments/results/forget_bias
Runtime:  5 minutes on 2 cores; --smoke half a minute
Expected: own paths as predicted within 10%; measured half-lives longer, and from a bias of 2 on norms that grow, as the
          path through h adds more than the gates take; after training 8 steps without bias, 200 with chrono biases, and
          between them no single rate

    predicted   -ln 2 / ln sigmoid(b_f), the half-life of a memory that nothing but its forget gate touches; with chrono
                biases, b_f = ln u with u uniform in [1, 149], the median over units
    measured    -ln 2 / rate with the R^2 of the line, the rate of ||dL/dc_t|| over the lag, of a random projection L of
                the last output, on sequences of the copying problem
    own path    -ln 2 / mean ln f_t, the same along each unit's own memory, the median over units
    trained     the last two again, after training on the copying problem with a delay of 100 steps

Biases 0, 1, 2, 3, 5 and chrono (Tallec & Ollivier, 2018, https://arxiv.org/abs/1804.11188, with T_max = 1.5 delay, as
they take it); RMSprop with learning rate 0.001 and decay 0.9, no clipping, as they train it, 128 units there and fewer
here. Half-lives of a network are not those of its gates alone: the path through h adds to that through c.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from experiments.forget_bias_figure import draw, to_markdown
from jaxrnn.gradients import adjoint_parts, decay_fit, median, memory_rates
from jaxrnn.initializers import BiasInitializer, Chrono, ForgetBias, Gaussian
from jaxrnn.tasks import Batch, Copy
from jaxrnn.train import Trainer, losses

FIELDS = ("predicted", "before", "after", "losses", "seconds")  # of the results of each bias


@dataclass(frozen=True)
class Settings:
    """Compares forget biases by how long the memory lasts, before and after training on the copying problem.

    Writes a figure (PNG, SVG), a table and data (JSON) into one folder after each bias. Interrupted, the same command
    goes on with the next one.
    """

    biases: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 5.0)
    """Forget biases, the same for all units; chrono biases come besides."""
    delay: int = 100
    """Steps from the symbols to their copies, less ten."""
    hidden_size: int = 64
    """Units."""
    batch: int = 32
    """Sequences for each update."""
    updates: int = 2000
    """Updates of every network."""
    every: int = 100
    """Updates between two losses that are kept."""
    rate: float = 1e-3
    """Learning rate."""
    seeds: int = 2
    """Networks with each bias."""
    held_out: int = 32
    """Sequences to measure on."""
    seed: int = 0
    """The key from which every draw follows."""
    out: Path | None = None
    """Folder for the results. Default: scratch/forget_bias."""
    smoke: bool = False
    """A quick look that all works: delay 10, 8 units, 2 biases, 20 updates; replaces these settings."""


def initialisers(settings: Settings) -> dict[str, BiasInitializer]:
    """What is compared."""
    fixed: dict[str, BiasInitializer] = {f"b_f = {bias:g}": ForgetBias(bias) for bias in settings.biases}
    return fixed | {"chrono": Chrono(3 * settings.delay // 2)}


def predicted(initialiser: BiasInitializer) -> float:
    """The half-life of the memory of a unit without weights, in steps; the median over units of a chrono draw."""
    if isinstance(initialiser, ForgetBias):
        return math.log(2) / math.log1p(math.exp(-initialiser.value))
    assert isinstance(initialiser, Chrono)
    return math.log(2) / math.log1p(2 / initialiser.longest)  # e^b is uniform: its median is longest / 2


def measure(initialiser: BiasInitializer, settings: Settings, advance: Callable[[int], None]) -> dict[str, Any]:
    """Half-lives with one bias before and after training, and the losses on the way, all seeds side by side."""
    task, cell = Copy(settings.delay), jaxrnn.LSTM(settings.hidden_size, bias_init=initialiser)
    begin_key, held_key, projection_key = jax.random.split(jax.random.key(settings.seed), 3)
    held = task.sample(held_key, settings.held_out)
    projection = Gaussian()(projection_key, (settings.hidden_size, 1))[:, 0]
    started = time.perf_counter()

    def loss_fn(params, batch: Batch, key):
        _, ys = jaxrnn.unroll(cell, params["cell"], batch.inputs)
        return losses.cross_entropy(ys @ params["weight"] + params["bias"], batch.targets, batch.mask), ()

    trainer = Trainer(loss_fn, optax.rmsprop(settings.rate, decay=0.9))

    def begin(key):
        cell_key, weight_key, key = jax.random.split(key, 3)
        params = {
            "cell": cell.init(cell_key, task.input_size),
            "weight": Gaussian()(weight_key, (settings.hidden_size, task.output_size)),
            "bias": jnp.zeros(task.output_size, jnp.float32),
        }
        return trainer.init(params, key)

    def block(state):
        def update(state, _):
            batch = task.sample(jax.random.fold_in(state.key, state.step), settings.batch)
            state, metrics = trainer.update(state, batch)
            return state, metrics.loss

        state, found = lax.scan(update, state, length=settings.every)
        return state, found.mean()

    def look(params):
        parts = adjoint_parts(cell, params["cell"], held.inputs, lambda ys: ys[-1] @ projection)
        return parts.c, memory_rates(cell, params["cell"], held.inputs)

    states = jax.vmap(begin)(jax.random.split(begin_key, settings.seeds))
    looking, run_block = jax.jit(jax.vmap(look)), jax.jit(jax.vmap(block), donate_argnums=0)
    before, curve = decays(*looking(states.params)), []
    for _ in range(settings.updates // settings.every):
        states, loss = run_block(states)
        curve.append(np.asarray(loss))
        advance(settings.every)
    return {
        "predicted": predicted(initialiser),
        "before": before,
        "after": decays(*looking(states.params)),
        "losses": output.plain(np.stack(curve, axis=-1)),
        "seconds": round(time.perf_counter() - started, 1),
    }


def decays(log_norms, rates) -> dict[str, Any]:
    """The decay of ||dL/dc_t|| (seeds, time, batch), by the median over all, and that of the units' own memories."""
    curve = median(log_norms, (0, 2))[:-1]  # at the last step the memory is not read yet
    fit, own = decay_fit(curve), np.median(np.asarray(rates))
    return {
        "rate": output.plain(fit.rate),
        "r_squared": output.plain(fit.r_squared),
        "own_path": output.plain(-math.log(2) / own if own < 0 else math.inf),
        "curve": output.plain(np.asarray(curve, np.float64) / math.log(10)),
    }


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    if settings.smoke:
        small = {"delay": 10, "hidden_size": 8, "batch": 4, "updates": 20, "every": 10, "held_out": 4}
        settings = replace(settings, biases=(1.0,), **small)
    check_at_least(settings, 2, "delay")
    check_at_least(settings, 1, "hidden_size", "batch", "every", "seeds", "held_out")
    check_seed(settings)
    if len(set(settings.biases)) < len(settings.biases) or not all(map(math.isfinite, settings.biases)):
        raise ValueError(f"--biases: must be finite numbers, each of them once, got {settings.biases}.")
    if not 0 < settings.rate < math.inf:
        raise ValueError(f"--rate: must be a finite number above 0, got {settings.rate}.")
    if settings.updates < settings.every or settings.updates % settings.every:
        raise ValueError(
            f"--updates: must be a multiple of --every, which is {settings.every}, got {settings.updates}. "
            "Change one of the two."
        )
    return settings, ready_folder(settings.out, "forget_bias")


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Trains with one bias after the other and writes everything after each."""
    results = output.open_results(folder, settings, FIELDS, messages)
    planned = initialisers(settings)
    left = [name for name in planned if name not in results["parts"]]
    with progress(messages) as bar:
        task = bar.add_task("", total=len(left) * settings.updates)
        for name in left:
            bar.update(task, description=name)
            results["parts"][name] = measure(planned[name], settings, lambda n: bar.advance(task, n))
            output.write(folder, "forget_bias", lambda: draw(results), to_markdown(results), results)
    results["finished"] = True
    output.write(folder, "forget_bias", lambda: draw(results), to_markdown(results), results)
    print(to_markdown(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
