"""How far back do gradients reach? Three cells in a terminal, in about ten seconds, with nothing but JAX.

Command:  python -m jaxrnn.gradients
Expected: a plot in letters and a sentence on each cell; with --out also as decay.txt and, as numbers, decay.csv
"""

import argparse
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.cells import GRU, LSTM, Elman
from jaxrnn.files import text, write_all
from jaxrnn.gradients.adjoint import adjoint_norms
from jaxrnn.gradients.decay import decay_fit
from jaxrnn.gradients.findings import MEANING, describe_decay
from jaxrnn.gradients.statistics import median
from jaxrnn.gradients.terminal import plot

FEATURES, SAMPLES = 4, 64


def curves(length: int, hidden_size: int, seed: int) -> dict[str, np.ndarray]:
    """ln ||dL/ds_t|| (length + 1,) of a tanh network, an LSTM and a GRU at the start, the median over noise.

    L is a random projection of the last output.
    """
    keys = jax.random.split(jax.random.key(seed), 3)
    xs = jax.random.normal(keys[0], (length + 1, SAMPLES, FEATURES), jnp.float32)
    weights = jax.random.normal(keys[1], (hidden_size,), jnp.float32) / math.sqrt(hidden_size)
    cells = {"tanh": Elman(hidden_size), "LSTM": LSTM(hidden_size), "GRU": GRU(hidden_size)}
    found = {}
    for name, cell in cells.items():
        log_norms = adjoint_norms(cell, cell.init(keys[2], FEATURES), xs, lambda ys: ys[-1] @ weights)
        found[name] = np.asarray(median(log_norms, 1))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the plot, one sentence for each cell, and what to do next; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxrnn.gradients", description="How far back do gradients reach? Three cells, drawn."
    )
    parser.add_argument("--length", type=int, help="steps that gradients travel back (default: 100; smoke: 20)")
    parser.add_argument("--hidden-size", type=int, help="units of each cell (default: 64; smoke: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and sequences (default: 0)")
    parser.add_argument("--out", type=Path, help="folder for decay.txt and decay.csv (default: prints alone)")
    parser.add_argument("--smoke", action="store_true", help="a quick look that all works, of small sizes")
    settings = parser.parse_args(arguments)
    for name, (full, small) in {"length": (100, 20), "hidden_size": (64, 4)}.items():
        if getattr(settings, name) is None:
            setattr(settings, name, small if settings.smoke else full)
    for name in ("length", "hidden_size"):
        if getattr(settings, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: must be at least 1, got {getattr(settings, name)}")
    if not 0 <= settings.seed < 2**32:
        parser.error(f"--seed: must lie between 0 and 2^32 - 1, got {settings.seed}")
    if settings.out is not None and settings.out.exists() and not settings.out.is_dir():
        parser.error(f"--out: must be a folder, got the file {settings.out}")
    found = curves(settings.length, settings.hidden_size, settings.seed)
    sentences = [describe_decay(name, curve, decay_fit(jnp.asarray(curve))) for name, curve in found.items()]
    picture = plot(found, width=min(shutil.get_terminal_size().columns, 100))
    page = "\n\n".join(
        [
            "||dL/ds_t||, the gradient by the state, over the steps back from the loss",
            picture,
            "\n".join([*sentences, MEANING]),
        ]
    )
    print(f"\n{page}\n\nYour own cell: jaxrnn.gradients.adjoint_norms(cell, params, xs, loss)")
    if settings.out is not None:
        try:
            settings.out.mkdir(parents=True, exist_ok=True)
            write_all(settings.out, {"decay.txt": text(page + "\n"), "decay.csv": text(table(found))})
        except OSError as error:
            parser.error(f"--out: cannot write to {settings.out}: {error}")
    return 0


def table(found: dict[str, np.ndarray]) -> str:
    """ln norms by lag as CSV, a column for each cell."""
    by_lag = np.stack([curve[::-1] for curve in found.values()], axis=1)
    rows = [",".join([str(lag), *(f"{value:.6g}" for value in row)]) for lag, row in enumerate(by_lag)]
    return "\n".join([",".join(["lag", *found]), *rows]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
