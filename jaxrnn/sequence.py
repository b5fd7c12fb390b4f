"""Cells over cells: Stack and Bidirectional, pure, unrolled by the same door, carries always returned."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxrnn.cell import Cell
from jaxrnn.network import Network
from jaxrnn.numerics import zero_unless


def _parts(network: Network, name: str, values, count: int) -> tuple:
    if not isinstance(values, tuple) or len(values) != count:
        got = f"{len(values)} entries" if isinstance(values, tuple) else f"a {type(values).__name__}"
        raise ValueError(
            f"`{name}` of a {type(network).__name__} must be a tuple of {count}, one for each part, got {got}. "
            f"Build it with its init{'_carry' if name == 'carry' else ''}."
        )
    return values


def _add(ys, xs, how):
    """The residual connection, free of whatever stands in padding."""
    active = how["mask"]
    if how["lengths"] is not None:
        valid = jnp.arange(xs.shape[0]).reshape(-1, *(1,) * how["lengths"].ndim) < how["lengths"]
        active = valid if active is None else valid & active
    return ys + zero_unless(active, xs)


def _check_cells(network: Network, cells) -> None:
    for cell in cells:
        if not isinstance(cell, Cell | Network):
            raise TypeError(
                f"{type(network).__name__}: every part must be a Cell, Stack or Bidirectional, got {cell!r}."
            )


@dataclass(frozen=True)
class Stack(Network):
    """Layers one above the other: the outputs of each are the inputs of the next.

        y^l = cell_l(y^{l-1}),   with `residual`: y^l = y^{l-1} + cell_l(y^{l-1}) wherever both have the same size

    Parameters and carries are tuples, layer by layer.

    Raises:
        ValueError: there are no cells.
        TypeError: one of them is no cell.

    Example:
        >>> from jaxrnn.cells import GRU
        >>> Stack((GRU(4), GRU(3))).output_size
        3
    """

    cells: tuple[Cell | Network, ...]
    residual: bool = False

    def __post_init__(self):  # noqa: D105
        object.__setattr__(self, "cells", tuple(self.cells))
        if not self.cells:
            raise ValueError("Stack: `cells` must hold at least one cell, got none.")
        _check_cells(self, self.cells)

    @property
    def parts(self) -> tuple:
        """The layers."""
        return self.cells

    @property
    def output_size(self) -> int:
        """That of the last layer."""
        return self.cells[-1].output_size

    def init(self, key, input_size: int, dtype=jnp.float32) -> tuple:
        """Parameters, layer by layer."""
        sizes = [input_size, *(cell.output_size for cell in self.cells)]
        keys = jax.random.split(key, len(self.cells))
        return tuple(cell.init(k, size, dtype) for cell, k, size in zip(self.cells, keys, sizes, strict=False))

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> tuple:
        """Carries, layer by layer."""
        return tuple(cell.init_carry(batch_shape, dtype) for cell in self.cells)

    def unroll_with(self, unroll, params, xs, carry, how):
        """See Network."""
        params = _parts(self, "params", params, len(self.cells))
        starts = (None,) * len(self.cells) if carry is None else _parts(self, "carry", carry, len(self.cells))
        ends = []
        for cell, weights, start in zip(self.cells, params, starts, strict=True):
            end, ys = unroll(cell, weights, xs, start, **how)
            residual = self.residual and jnp.shape(ys) == jnp.shape(xs)
            xs = _add(ys, xs, how) if residual else ys
            ends.append(end)
        return tuple(ends), xs


@dataclass(frozen=True)
class Bidirectional(Network):
    """One cell forward and one backward in time, outputs side by side: y_t = [forward_t, backward_t].

    With `residual`, y_t = x_t + [forward_t, backward_t], where inputs must have as many features as outputs.
    Parameters and carries are tuples (forward, backward); the backward carry is the one after the first step.

    Raises:
        TypeError: a part is no cell.
        ValueError: `residual` and sizes that differ.

    Example:
        >>> from jaxrnn.cells import GRU
        >>> Bidirectional(GRU(4), GRU(4)).output_size
        8
    """

    forward: Cell | Network
    backward: Cell | Network
    residual: bool = False

    def __post_init__(self):  # noqa: D105
        _check_cells(self, (self.forward, self.backward))

    @property
    def parts(self) -> tuple:
        """(forward, backward)."""
        return self.forward, self.backward

    @property
    def output_size(self) -> int:
        """Both sizes together."""
        return self.forward.output_size + self.backward.output_size

    def init(self, key, input_size: int, dtype=jnp.float32) -> tuple:
        """(forward, backward) parameters."""
        if self.residual and input_size != self.output_size:
            raise ValueError(
                f"Bidirectional: `residual` needs inputs of {self.output_size} features, as many as outputs, "
                f"got {input_size}. Choose the cells' sizes so that they add up to the inputs', or put a layer before."
            )
        keys = jax.random.split(key)
        return self.forward.init(keys[0], input_size, dtype), self.backward.init(keys[1], input_size, dtype)

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> tuple:
        """(forward, backward) carries."""
        return self.forward.init_carry(batch_shape, dtype), self.backward.init_carry(batch_shape, dtype)

    def unroll_with(self, unroll, params, xs, carry, how):
        """See Network."""
        ahead, back = _parts(self, "params", params, 2)
        start, stop = (None, None) if carry is None else _parts(self, "carry", carry, 2)
        start, forward = unroll(self.forward, ahead, xs, start, **how)
        stop, backward = unroll(self.backward, back, xs, stop, **(how | {"reverse": not how["reverse"]}))
        ys = jnp.concatenate([forward, backward], axis=-1)
        return (start, stop), _add(ys, xs, how) if self.residual else ys
