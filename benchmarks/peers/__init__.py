"""Other libraries on the same problems, one file each.

A JAX peer has `network(problem)`, the function (weights, xs) -> ys, time first; and where weights are laid out in a
way of its own `weights(cell, params)`, an affine function through which gradients are taken back for the comparison.
What is no JAX has `program`, see `benchmarks.programs`.
"""

import importlib
import importlib.util
from typing import Any, NamedTuple

from benchmarks.problems import CELLS, LINEAR


class Peer(NamedTuple):
    """A library: the file here, the package it needs (for its version), and the cells that it has."""

    module: str
    package: str
    cells: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu", "gpu", "tpu")
    dtypes: tuple[str, ...] = ("float32", "bfloat16")

    def takes(self, problem) -> bool:
        """Whether it has this problem's cell in its dtype."""
        return problem.cell in self.cells and problem.dtype in self.dtypes

    def installed(self) -> bool:
        """Whether its package is."""
        return importlib.util.find_spec(IMPORTED.get(self.package, self.package)) is not None

    def load(self) -> Any:
        """Its file."""
        return importlib.import_module(f"benchmarks.peers.{self.module}")


IMPORTED = {"dm-haiku": "haiku"}  # where a package is imported by another name
OURS = "jaxrnn"
PEERS = {
    OURS: Peer("ours", "jax", tuple(CELLS)),
    "lax.scan": Peer("lax_scan", "jax", tuple(CELLS)),
    "associative_scan": Peer("associative_scan", "jax", LINEAR),
    "flax.linen": Peer("flax_linen", "flax", ("Elman", "LSTM", "GRU")),
    "flax.nnx": Peer("flax_nnx", "flax", ("Elman", "LSTM", "GRU")),
    "haiku": Peer("haiku_rnn", "dm-haiku", ("LSTM", "ResetBeforeGRU")),
    "equinox": Peer("equinox_rnn", "equinox", ("LSTM", "GRU")),
    "keras": Peer("keras_rnn", "keras", ("Elman", "LSTM", "GRU", "ResetBeforeGRU")),
    "cudnn": Peer("cudnn", "jax", ("LSTM",), ("gpu",), ("float32",)),
    "torch": Peer("torch_rnn", "torch", ("Elman", "LSTM", "GRU"), ("cpu", "gpu")),
}
JAX_PEERS = tuple(name for name in PEERS if name not in (OURS, "torch"))
