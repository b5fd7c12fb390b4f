"""Zoneout: units that keep their state at random, for cells of every contract."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxrnn.cell import Cell, GatedCell, LinearCell
from jaxrnn.numerics import bernoulli
from jaxrnn.stochastic.wrapper import GatedWrapper, Rate, Wrapper, as_rate, shape_of

Rates = Rate | Sequence[Rate]


def as_rates(owner: str, name: str, rates) -> float | tuple[float, ...]:
    """One rate, or a tuple of rates; see `as_rate`."""
    if isinstance(rates, list | tuple):
        return tuple(as_rate(owner, name, rate) for rate in rates)
    return as_rate(owner, name, rates)


def _mix(m, old, new):
    """m * old + (1 - m) * new, where m is a rate or real masks and the states may be complex."""
    if isinstance(m, float):
        return new if m == 0 else m * old + (1 - m) * new
    m = m.astype(new.dtype)
    return m * old + (1 - m) * new


class Zoned(NamedTuple):
    """Inputs, or projections, and masks (time, *batch, units), one for each array of the carry whose rate is not 0."""

    xs: PyTree
    masks: tuple[Float[Array, "..."], ...]


class Mask(NamedTuple):
    """Marks an entry of a gated cell's u as a mask, so that u without masks is told from u with them."""

    keep: Float[Array, "..."]


@functools.lru_cache(maxsize=1024)
def _carry_shapes(cell: Cell) -> tuple[tuple[int, ...], ...]:
    leaves = jax.tree.leaves(jax.eval_shape(cell.init_carry))
    if not all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves):
        raise TypeError(f"zoneout: every array in the carry of {type(cell).__name__} must be floating point.")
    return tuple(leaf.shape for leaf in leaves)


@dataclass(frozen=True)
class _Zoned(Wrapper):
    """What the three contracts share: see `zoneout`."""

    rate: Rates

    def __post_init__(self):  # noqa: D105
        if isinstance(self.cell, Wrapper):
            raise TypeError(
                f"zoneout: `cell` must not hold noise already, got {self.cell!r}. "
                "Zoneout goes inside: recurrent_dropout(zoneout(cell, rate), rate)."
            )
        rate, count = as_rates("zoneout", "rate", self.rate), len(_carry_shapes(self.cell))
        if isinstance(rate, tuple) and len(rate) != count:
            raise ValueError(
                f"zoneout: `rate` must be one number, or one for each of the {count} arrays in the carry of "
                f"{type(self.cell).__name__}, got {len(rate)}."
            )
        object.__setattr__(self, "rate", rate)

    @property
    def rates(self) -> tuple[float, ...]:
        """One rate for each array of the carry."""
        rates = self.rate if isinstance(self.rate, Sequence) else (self.rate,) * len(_carry_shapes(self.cell))
        return tuple(map(float, rates))

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32):
        """The carry of the inner cell."""
        return self.cell.init_carry(batch_shape, dtype)

    def with_masks(self, key, xs: PyTree) -> Zoned:
        """`xs` (time, *batch, features) with masks drawn for training; a unit keeps its state with probability rate."""
        lead, dtype = shape_of(xs)
        shapes = _carry_shapes(self.cell)
        keys = jax.random.split(key, len(shapes))
        masks = tuple(
            # One axis of units, as every sequence has one axis of features; a step gives it the array's own shape.
            bernoulli(k, rate, (*lead, math.prod(shape))).astype(dtype)
            for k, rate, shape in zip(keys, self.rates, shapes, strict=True)
            if rate != 0
        )
        return Zoned(xs, masks)

    def project(self, params, xs):
        """Projections of the inner cell, masks beside them."""
        if isinstance(xs, Zoned):
            return Zoned(self.cell.project(params, xs.xs), xs.masks)
        return self.cell.project(params, xs)

    def _keep(self, masks, shapes) -> tuple:
        """m of every array of the carry: its mask, or its rate where there is none."""
        if masks is None:
            return self.rates
        drawn = iter(masks)
        return tuple(
            next(drawn).reshape(shape) if rate != 0 else 0.0 for rate, shape in zip(self.rates, shapes, strict=True)
        )

    def _zone(self, masks, before, candidate):
        """`_mix` of every array of the carry."""
        leaves, structure = jax.tree.flatten(before)
        keep = self._keep(masks, [leaf.shape for leaf in leaves])
        return jax.tree.map(_mix, jax.tree.unflatten(structure, keep), before, candidate)


def _unzip(us) -> tuple[PyTree, tuple | None]:
    return us if isinstance(us, Zoned) else (us, None)


@dataclass(frozen=True)
class ZonedPlain(_Zoned):
    """Zoneout of a plain cell: see `zoneout`."""

    def advance(self, params, carry, u):
        """m * s + (1 - m) * candidate."""
        u, masks = _unzip(u)
        return self._zone(masks, carry, self.cell.advance(params, carry, u))

    def output(self, params, carry, u):
        """The output of the inner cell, from the zoned carry."""
        return self.cell.output(params, carry, _unzip(u)[0])


@dataclass(frozen=True)
class ZonedLinear(_Zoned, LinearCell):
    """Zoneout of a linear cell, which stays linear, a' = m + (1 - m) * a and b' = (1 - m) * b: see `zoneout`."""

    cell: LinearCell

    def coefficients(self, params, us):
        """(a', b')."""
        us, masks = _unzip(us)
        a, b = self.cell.coefficients(params, us)
        (m,) = self._keep(masks, [b.shape])
        return _mix(m, 1, a), _mix(m, 0, b)

    def readout(self, params, hs, us):
        """The outputs of the inner cell, from the zoned states."""
        return self.cell.readout(params, hs, _unzip(us)[0])


@dataclass(frozen=True)
class ZonedGated(_Zoned, GatedWrapper):
    """Zoneout of a gated cell, whose u holds the masks behind the inner cell's entries: see `zoneout`."""

    cell: GatedCell

    def project(self, params, xs) -> tuple:
        """The inner cell's u, then one Mask for each array of the carry that has one."""
        us, masks = _unzip(super().project(params, xs))
        return us if masks is None else (*us, *map(Mask, masks))

    def _part(self, u) -> tuple[tuple, tuple | None]:
        if not isinstance(u[-1], Mask):
            return u, None
        count = sum(rate != 0 for rate in self.rates)
        return u[:-count], tuple(mask.keep for mask in u[-count:])

    def update(self, pointwise, carry, u, v):
        """m * s + (1 - m) * candidate."""
        u, masks = self._part(u)
        return self._zone(masks, carry, self.cell.update(pointwise, carry, u, v))

    def output(self, params, carry, u):
        """The output of the inner cell, from the zoned carry."""
        return self.cell.output(params, carry, self._part(u)[0])


def zoneout(cell, rate: Rates) -> ZonedGated | ZonedLinear | ZonedPlain:
    """A cell whose units keep their state at random (Krueger et al., 2016, https://arxiv.org/abs/1606.01305).

        s_t = m_t * s_{t-1} + (1 - m_t) * candidate_t        for every array s of the carry

    The candidate is the carry that the inner cell makes of the whole s_{t-1}; in an LSTM, h comes from the candidate
    of c before zoneout. Training: m_t is 1 with probability `rate`, else 0, drawn for each step, unit and array:
    `unroll(zoned, params, zoned.with_masks(key, xs))`. Evaluation: m_t is the rate, its expectation:
    `unroll(zoned, params, xs)`. Parameters and carries are those of the inner cell, and so is the contract: gated
    stays gated, linear stays linear.

    Args:
        cell: The inner cell.
        rate: In [0, 1): one number, or one for each array of the carry in the order of its fields, h and c for an
            LSTM. The paper takes 0.5 for c and 0.05 for h in language models.

    Raises:
        ValueError: a rate outside [0, 1), or another number of them than the carry has arrays.
        TypeError: `cell` is no cell, holds noise already, or its carry holds an array that is not floating point.

    Example:
        >>> from jaxrnn import LSTM, unroll
        >>> cell = zoneout(LSTM(4), rate=(0.05, 0.5))
        >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((10, 2, 3), jnp.float32)
        >>> carry, ys = unroll(cell, params, cell.with_masks(jax.random.key(1), xs))  # training
        >>> carry, ys = unroll(cell, params, xs)  # evaluation
        >>> ys.shape
        (10, 2, 4)
    """
    if isinstance(cell, GatedCell):
        return ZonedGated(cell, rate)
    if isinstance(cell, LinearCell):
        return ZonedLinear(cell, rate)
    if isinstance(cell, Cell):
        return ZonedPlain(cell, rate)
    raise TypeError(f"zoneout: `cell` must be a Cell, got {cell!r}. For a Stack or Bidirectional see regularize.")
