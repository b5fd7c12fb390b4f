"""The phase diagram of tanh networks: where gradients vanish and explode at the start, in theory and as measured.

Command:  python -m experiments.phase_diagram --out experiments/results/phase_diagram
Runtime:  50 seconds on 2 cores; --smoke 15 seconds
Expected: measured rates of the root mean square adjoint within 1.2% of sqrt(chi), on both sides of the line

    h_t = tanh(W h_{t-1} + x_t),   W Gaussian of deviation sw / sqrt(400),   x_t noise of variance s^2, new at each step

Theory: mean field (Chen, Pennington & Schoenholz, 2018, https://arxiv.org/abs/1806.05394), chi = 1 on the line.
Measured: the slope of ln RMS ||dL/dh_t|| between lags 10 and 60, over sequences and networks, L a random projection of
the last state.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

import jaxrnn
from benchmarks.command import check_at_least, check_seed, command, progress, ready_folder
from experiments import output
from experiments.phase_diagram_figure import draw, to_markdown
from jaxrnn.gradients import adjoint_norms, critical_weight_scale, mean_field, root_mean_square
from jaxrnn.initializers import Gaussian, Identity

FIELDS = ("predicted", "measured", "networks", "seconds")  # of the results of each point
FIRST, LAST = 10, 60  # lags between which the rate is taken
SCALES, VARIANCES = (0.8, 1.2, 1.6, 2.0, 2.5, 3.0), (0.01, 0.05, 0.25, 1.0)


@dataclass(frozen=True)
class Settings:
    """Compares the mean field of tanh networks with gradients measured on a grid of weight and input scales.

    Writes a figure (PNG, SVG), a table and data (JSON) into one folder after each row of the grid. Interrupted, the
    same command goes on with the next row.
    """

    hidden_size: int = 400
    """Units."""
    networks: int = 3
    """Networks at each point."""
    batch: int = 4
    """Sequences for each network."""
    seed: int = 0
    """The key from which every draw follows."""
    out: Path | None = None
    """Folder for the results. Default: scratch/phase_diagram."""
    smoke: bool = False
    """A quick look that all works: 32 units, 2 networks, 2 points; replaces these settings."""


def points(settings: Settings) -> list[tuple[float, float]]:
    """(sw, s^2) of every measurement."""
    grid = [(scale, variance) for variance in VARIANCES for scale in SCALES]
    return grid[:2] if settings.smoke else grid


def measure(scale: float, variance: float, settings: Settings) -> dict[str, Any]:
    """exp of the rate of each network's RMS adjoint, and of all together, beside sqrt(chi)."""
    size, started = settings.hidden_size, time.perf_counter()
    cell = jaxrnn.Elman(size)

    def one(key):
        keys = jax.random.split(key, 3)
        xs = jax.random.normal(keys[0], (LAST + 30, settings.batch, size), jnp.float32)
        projection = jax.random.normal(keys[1], (size,), jnp.float32)
        params = cell.init(keys[2], size)._replace(
            input=Identity(variance**0.5)(keys[2], (size, size)), recurrent=Gaussian(scale)(keys[2], (size, size))
        )
        return adjoint_norms(cell, params, xs, lambda ys: ys[-1] @ projection)

    logs = jnp.stack([one(key) for key in jax.random.split(jax.random.key(settings.seed), settings.networks)])

    def rate(logs, axes):
        curve = np.asarray(root_mean_square(logs, axes))[..., ::-1]
        return np.exp((curve[..., LAST] - curve[..., FIRST]) / (LAST - FIRST))

    return {
        "weight_scale": scale,
        "input_variance": variance,
        "predicted": float(np.exp(mean_field(scale, variance).rate)),
        "measured": output.plain(rate(logs, (0, 2))),
        "networks": output.plain(rate(logs, 2)),
        "seconds": round(time.perf_counter() - started, 1),
    }


def theory(settings: Settings) -> dict[str, Any]:
    """sqrt(chi) over the plane, and the critical line; in the short form coarsely."""
    columns, rows = (9, 6) if settings.smoke else (59, 41)
    scales, variances = np.linspace(0.5, 3.4, columns), np.geomspace(0.005, 2.0, rows)
    field = [[np.exp(mean_field(float(scale), float(variance)).rate) for scale in scales] for variance in variances]
    line = [critical_weight_scale(float(variance)) for variance in variances]
    return {
        "scales": output.plain(scales),
        "variances": output.plain(variances),
        "field": output.plain(field),
        "line": output.plain(line),
    }


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    if settings.smoke:
        settings = replace(settings, hidden_size=32, networks=2, batch=2)
    check_at_least(settings, 1, "hidden_size", "networks", "batch")
    check_seed(settings)
    return settings, ready_folder(settings.out, "phase_diagram")


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Measures one point after the other and writes everything after each row of the grid."""
    results = output.open_results(folder, settings, FIELDS, messages)
    plane = theory(settings)

    def write() -> None:
        table = to_markdown(results)
        output.write(folder, "phase_diagram", lambda: draw(results, plane), table, results)

    planned = {f"sw = {scale:g}, s^2 = {variance:g}": (scale, variance) for scale, variance in points(settings)}
    left = [name for name in planned if name not in results["parts"]]
    with progress(messages) as bar:
        task = bar.add_task("", total=len(left))
        for number, name in enumerate(left):
            bar.update(task, description=name)
            results["parts"][name] = measure(*planned[name], settings)
            bar.advance(task)
            if number % len(SCALES) == len(SCALES) - 1:
                write()
    results["finished"] = True
    write()
    print(to_markdown(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
