"""How far back do gradients reach? Three cells in a terminal, in half a minute, with nothing but JAX.

Command:  python -m jaxrnn.gradients
"""

import argparse
import math
import shutil
import sys
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.cells import GRU, LSTM, Elman
from jaxrnn.gradients.adjoint import adjoint_norms
from jaxrnn.gradients.decay import decay_fit
from jaxrnn.gradients.findings import describe_decay
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
    parser.add_argument("--length", type=int, default=100, help="steps that gradients travel back (default: 100)")
    parser.add_argument("--hidden-size", type=int, default=64, help="units of each cell (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and sequences (default: 0)")
    settings = parser.parse_args(arguments)
    for name in ("length", "hidden_size"):
        if getattr(settings, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: must be at least 1, got {getattr(settings, name)}")
    if not 0 <= settings.seed < 2**32:
        parser.error(f"--seed: must lie between 0 and 2^32 - 1, got {settings.seed}")
    found = curves(settings.length, settings.hidden_size, settings.seed)
    print("\n||dL/ds_t||, the gradient by the state, over the steps back from the loss\n")
    print(plot(found, width=min(shutil.get_terminal_size().columns, 100)) + "\n")
    for name, curve in found.items():
        print(describe_decay(name, curve, decay_fit(jnp.asarray(curve))))
    print("\nYour own cell: jaxrnn.gradients.adjoint_norms(cell, params, xs, loss)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
