"""Gradient flow in linear recurrent networks: eigenvalues, singular values, and the transients between them.

Command:  python -m experiments.linear_flow --out experiments/results/linear_flow
Runtime:  half a minute on 2 cores; --smoke 20 seconds
Expected: orthogonal 1 at every lag; Gaussian: largest 2.0, 3.9 and 19 at lags 1, 21 and 100, root mean square 1.0, 0.7
          and 3.0, where infinitely many rows have sqrt(e (lag + 1)) and 1; [[0.9, 10], [0, 0.9]] peaks at 38.746, lag
          9; J = [[8, 6], [-8, -6]] doubles with every lag, where the matrix that it belongs to has a spectral radius of
          0

h' = W h, so gradients travel by powers of W. A spectral radius below 1 says that they vanish in the end, and nothing of
what comes before (for a nonlinear network not even that: of the last one W = [[8, 8], [-8, -8]] has no eigenvalue but
0). Singular values say it at every lag.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from benchmarks.command import check_at_least, check_seed, command, progress, ready_folder
from experiments import output
from experiments.linear_flow_figure import draw, to_markdown
from jaxrnn.gradients import linear_flow


@dataclass(frozen=True)
class Settings:
    """Takes powers of five matrices by their singular values and by their eigenvalues.

    Writes a figure (PNG, SVG), a table and data (JSON) into one folder.
    """

    size: int = 64
    """Rows of the orthogonal, the Gaussian and the triangular matrix."""
    lags: int = 100
    """The largest power."""
    seed: int = 0
    """The key from which the matrices are drawn."""
    out: Path | None = None
    """Folder for the results. Default: scratch/linear_flow."""
    smoke: bool = False
    """A quick look that all works: 8 rows, 20 lags; replaces these settings."""


def matrices(size: int, seed: int) -> dict[str, np.ndarray]:
    """Normal and non-normal ones; the triangular one has eigenvalues of 0.8 alone, and is far from normal."""
    draw = np.random.default_rng(seed)
    gaussian = draw.normal(size=(size, size)) / np.sqrt(size)
    triangular = np.triu(draw.normal(size=(size, size)) / np.sqrt(size), 1) + np.diag(np.full(size, 0.8))
    return {
        "orthogonal": np.linalg.qr(draw.normal(size=(size, size)))[0],
        "Gaussian": gaussian,
        "triangular": triangular,
        "shear": np.array([[0.9, 10.0], [0.0, 0.9]]),
        "saturated": np.array([[8.0, 6.0], [-8.0, -6.0]]),
    }


def measure(weight: np.ndarray, lags: int) -> dict[str, Any]:
    """Powers of one matrix, in log10."""
    flow = linear_flow(jnp.asarray(weight, jnp.float64), range(lags + 1))
    tens = np.log(10.0)
    curves = {"largest": flow.log_norm, "root_mean_square": flow.log_root_mean_square, "radius": flow.log_radius}
    lag, peak = flow.peak
    return {
        "eigenvalues": output.plain(np.stack([np.real(flow.eigenvalues), np.imag(flow.eigenvalues)], axis=-1)),
        "singular_values": output.plain(np.exp(np.asarray(flow.log_values[1]))),
        "departure": flow.departure,
        "peak": [lag, peak],
        **{name: output.plain(np.asarray(curve) / tens) for name, curve in curves.items()},
    }


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    if settings.smoke:
        settings = replace(settings, size=8, lags=20)
    check_at_least(settings, 2, "size")
    check_at_least(settings, 1, "lags")
    check_seed(settings)
    return settings, ready_folder(settings.out, "linear_flow")


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Measures one matrix after the other in double precision, and writes all."""
    jax.config.update("jax_enable_x64", True)
    results = output.new_results(settings)
    with progress(messages) as bar:
        for name, weight in bar.track(matrices(settings.size, settings.seed).items(), description="matrices"):
            results["parts"][name] = measure(weight, settings.lags)
    results["finished"] = True
    output.write(folder, "linear_flow", lambda: draw(results), to_markdown(results), results)
    print(to_markdown(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments, "Nothing was finished for")


if __name__ == "__main__":
    sys.exit(main())
