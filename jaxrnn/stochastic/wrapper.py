"""What the cells around cells share: the inner cell's size, parameters, gates and product; and rates as floats."""

import numbers
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn import validation
from jaxrnn.cell import Cell, GatedCell

Rate = float | numbers.Real


def as_rate(owner: str, name: str, rate) -> float:
    """A rate as a plain float, which keeps the dtype of what it meets; ValueError unless a number in [0, 1)."""
    if not isinstance(rate, numbers.Real) or not 0 <= float(rate) < 1:
        raise ValueError(f"{owner}: `{name}` must be a number in [0, 1), the part that is dropped, got {rate!r}.")
    return float(rate)


def shape_of(xs: PyTree) -> tuple[tuple[int, ...], Any]:
    """(time, *batch) and the dtype of a sequence."""
    validation.check_inputs(xs)
    leaf = jax.tree.leaves(xs)[0]
    return leaf.shape[:-1], leaf.dtype


@dataclass(frozen=True)
class Wrapper(Cell):
    """A cell around a cell: parameters and outputs are those of the inner one."""

    cell: Cell

    @property
    def output_size(self) -> int:
        """That of the inner cell."""
        return self.cell.output_size

    def init(self, key, input_size: int, dtype=jnp.float32):
        """Parameters of the inner cell."""
        return self.cell.init(key, input_size, dtype)

    def widen(self, params, dtype):
        """As the inner cell does."""
        return self.cell.widen(params, dtype)


class GatedWrapper(Wrapper, GatedCell):
    """A gated cell around a gated cell, with the inner one's gates and product."""

    cell: GatedCell

    @property
    def hidden_size(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the inner cell."""
        return self.cell.hidden_size

    @property
    def heads(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of the inner cell."""
        return self.cell.heads

    @property
    def gates(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of the inner cell."""
        return self.cell.gates

    def recurrent(self, params):
        """R of the inner cell."""
        return self.cell.recurrent(params)

    def pointwise(self, params):
        """Those of the inner cell."""
        return self.cell.pointwise(params)
