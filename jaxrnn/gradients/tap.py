"""Cells whose adjoints can be read off an ordinary backward pass, on every backend and at hardly any cost.

A tap is an array of zeros (time, *batch, 1) that enters every step and changes nothing. The derivative by it is made
to be the norm of the adjoint that passes the step, which backpropagation has at hand anyway.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxrnn.cell import Cell, GatedCell, LinearCell
from jaxrnn.stochastic.wrapper import GatedWrapper, Wrapper

_SCALE = 2.0**54


class WithTap(NamedTuple):
    """Inputs, or projections, and the tap beside them."""

    xs: PyTree
    tap: Float[Array, "*lead one"]


@jax.custom_vjp
def read_adjoint(state: PyTree, tap: Float[Array, "*batch one"]) -> PyTree:
    """The state as it is; the derivative by `tap` is the norm of that by the state, for each sample."""
    return state


def _forward(state, tap):
    return state, tap


def _backward(tap, adjoint):
    leaves = [jnp.abs(leaf) if jnp.iscomplexobj(leaf) else leaf for leaf in jax.tree.leaves(adjoint)]
    rank = tap.ndim - 1
    leaves = [leaf.reshape(*leaf.shape[:rank], math.prod(leaf.shape[rank:])) for leaf in leaves]

    def norm(scale: float):
        squares = sum(jnp.sum((leaf * scale) ** 2, axis=-1, keepdims=True) for leaf in leaves)
        return jnp.sqrt(squares) / scale

    # Squares leave the range of the floats long before norms do: two scales reach within three decades of its ends.
    small, large = norm(_SCALE), norm(1 / _SCALE)
    return adjoint, jnp.where(small < 256, small, large)


read_adjoint.defvjp(_forward, _backward)


@dataclass(frozen=True)
class _Tapped(Wrapper):
    """What the three contracts share: the inner cell with `WithTap` for its inputs and projections."""

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32):
        """The carry of the inner cell."""
        return self.cell.init_carry(batch_shape, dtype)


@dataclass(frozen=True)
class _PlainTapped(_Tapped):
    def project(self, params, xs):
        return WithTap(self.cell.project(params, xs.xs), xs.tap)

    def advance(self, params, carry, u):
        return read_adjoint(self.cell.advance(params, carry, u.xs), u.tap)

    def output(self, params, carry, u):
        return self.cell.output(params, carry, u.xs)


@dataclass(frozen=True)
class _GatedTapped(_Tapped, GatedWrapper):
    cell: GatedCell

    def project(self, params, xs):
        return *self.cell.project(params, xs.xs), xs.tap

    def update(self, pointwise, carry, u, v):
        return read_adjoint(self.cell.update(pointwise, carry, u[:-1], v), u[-1])


@dataclass(frozen=True)
class _GatedReadingTapped(_GatedTapped):
    """Of a gated cell with an output of its own."""

    def output(self, params, carry, u):
        return self.cell.output(params, carry, u[:-1])


@dataclass(frozen=True)
class _LinearTapped(_Tapped, LinearCell):
    """h' = a * h + b: the derivative by b is the adjoint of h', on a parallel scan too."""

    cell: LinearCell

    def project(self, params, xs):
        return WithTap(self.cell.project(params, xs.xs), xs.tap)

    def coefficients(self, params, us):
        a, b = self.cell.coefficients(params, us.xs)
        return a, read_adjoint(b, us.tap)

    def readout(self, params, hs, us):
        return self.cell.readout(params, hs, us.xs)


def tapped(cell: Cell) -> Cell:
    """The cell with a tap: `xs` becomes `WithTap(xs, tap)`, all else stays, and so does what backends make of it.

    Example:
        >>> from jaxrnn import GRU, unroll
        >>> cell, xs = GRU(3), jnp.ones((5, 2, 4), jnp.float32)
        >>> params = cell.init(jax.random.key(0), 4)
        >>> run = lambda tap: unroll(tapped(cell), params, WithTap(xs, tap))[1][-1].sum()
        >>> norms = jax.grad(run)(jnp.zeros((5, 2, 1), jnp.float32))  # ||dL/ds_t|| of each step and sample
        >>> norms.shape, round(float(norms[-1, 0, 0]), 4)  # sqrt(3): the last state, summed
        ((5, 2, 1), 1.7321)
    """
    if isinstance(cell, GatedCell):
        plain = type(cell).output is Cell.output
        return _GatedTapped(cell) if plain else _GatedReadingTapped(cell)
    return _LinearTapped(cell) if isinstance(cell, LinearCell) else _PlainTapped(cell)
