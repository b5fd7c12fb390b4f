"""Dropout by one mask for all steps of a sequence: on inputs and outputs, and on the recurrent connection."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxrnn.cell import GatedCell
from jaxrnn.numerics import bernoulli
from jaxrnn.stochastic.wrapper import GatedWrapper, Rate, as_rate, shape_of


def sequence_dropout(key, xs: Float[Array, "time *batch features"], rate: Rate) -> Float[Array, "time *batch features"]:
    """Dropout with ONE mask for all steps of a sequence (Gal & Ghahramani, 2016, https://arxiv.org/abs/1512.05287).

        y_t = x_t * m / (1 - rate),   m (*batch, features) is 0 with probability `rate`, else 1

    For inputs, outputs, and whatever lies between layers; evaluation is not to call it.

    Raises:
        ValueError: `rate` lies outside [0, 1).

    Example:
        >>> ys = sequence_dropout(jax.random.key(0), jnp.ones((5, 2, 3), jnp.float32), rate=0.5)
        >>> bool((ys == ys[0]).all())
        True
    """
    rate = as_rate("sequence_dropout", "rate", rate)
    keep = bernoulli(key, 1 - rate, xs.shape[1:])
    return jnp.where(keep, xs / (1 - rate), jnp.zeros((), xs.dtype))


class DropoutParams(NamedTuple):
    """Parameters of the inner cell and one mask of zeros and ones for the whole sequence, (*batch, hidden)."""

    cell: PyTree
    mask: Float[Array, "*batch hidden"]


class DropoutCarry(NamedTuple):
    """h as the product meets it, h * m / (1 - rate), and the carry of the inner cell."""

    h: Float[Array, "*batch hidden"]
    cell: PyTree


@functools.lru_cache(maxsize=1024)
def _starts_at_zero(cell: GatedCell) -> bool:
    with jax.ensure_compile_time_eval():
        return not bool(jnp.any(cell.init_carry().h))


@dataclass(frozen=True)
class RecurrentDropout(GatedWrapper):
    """Dropout of the recurrent connection: see `recurrent_dropout`."""

    cell: GatedCell
    rate: Rate

    def __post_init__(self):  # noqa: D105
        if isinstance(self.cell, RecurrentDropout):
            raise TypeError(f"recurrent_dropout: `cell` has it already, got {self.cell!r}. Choose one rate.")
        if not _starts_at_zero(self.cell):
            raise ValueError(
                f"recurrent_dropout: `cell` must start from h = 0, as a mask is not known where a sequence begins "
                f"afresh, got {self.cell!r}. Take zoneout."
            )
        object.__setattr__(self, "rate", as_rate("recurrent_dropout", "rate", self.rate))

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> DropoutCarry:
        """The start of the inner cell."""
        inner = self.cell.init_carry(batch_shape, dtype)
        return DropoutCarry(jnp.zeros_like(inner.h), inner)

    def with_mask(self, key, params, xs: PyTree) -> DropoutParams:
        """The inner cell's `params` with one mask for each sequence of `xs` (time, *batch, features): training."""
        (_, *batch), dtype = shape_of(xs)
        keep = bernoulli(key, 1 - float(self.rate), (*batch, self.hidden_size))
        return DropoutParams(params, keep.astype(dtype))

    def start(self, params: DropoutParams, carry) -> DropoutCarry:
        """A carry of the inner cell as one to start from."""
        return DropoutCarry(self._drop(carry.h, params.mask.astype(carry.h.dtype)), carry)

    def _drop(self, h, mask):
        return h * mask / (1 - self.rate)

    def _inner(self, params):
        return params.cell if isinstance(params, DropoutParams) else params

    def widen(self, params, dtype):
        """As the inner cell does."""
        if isinstance(params, DropoutParams):
            return DropoutParams(self.cell.widen(params.cell, dtype), params.mask)
        return self.cell.widen(params, dtype)

    def project(self, params, xs):
        """That of the inner cell."""
        return self.cell.project(self._inner(params), xs)

    def recurrent(self, params):
        """R of the inner cell."""
        return self.cell.recurrent(self._inner(params))

    def pointwise(self, params):
        """(those of the inner cell, the mask; None in evaluation)."""
        mask = params.mask if isinstance(params, DropoutParams) else None
        return self.cell.pointwise(self._inner(params)), mask

    def update(self, pointwise, carry, u, v):
        """The step of the inner cell; h behind the mask for the next product."""
        inner, mask = pointwise
        after = self.cell.update(inner, carry.cell, u, v)
        return DropoutCarry(after.h if mask is None else self._drop(after.h, mask), after)

    def output(self, params, carry, u):
        """The output of the inner cell, from h before the mask."""
        return self.cell.output(self._inner(params), carry.cell, u)


def recurrent_dropout(cell, rate: Rate) -> RecurrentDropout:
    """A gated cell that drops what its product reads (Gal & Ghahramani, 2016, https://arxiv.org/abs/1512.05287).

        v_t = (h_{t-1} * m / (1 - rate)) R,   m (*batch, hidden) is 0 with probability `rate`, else 1

    m is ONE mask for all steps of a sequence. Whatever else the step does with h, as the z * h of a GRU, reads the
    whole h. Training: `unroll(dropped, dropped.with_mask(key, params, xs), xs)`. Evaluation:
    `unroll(dropped, params, xs)`, the inner cell as it is.

    Args:
        cell: The inner cell, gated; zoneout goes inside: `recurrent_dropout(zoneout(cell, 0.1), 0.2)`.
        rate: In [0, 1).

    Returns:
        A cell with the carry DropoutCarry(h * m / (1 - rate), the inner cell's carry).

    Raises:
        TypeError: `cell` is not gated, or has recurrent dropout already.
        ValueError: `rate` lies outside [0, 1), or the cell's carry does not start from h = 0.

    Example:
        >>> from jaxrnn import GRU, unroll
        >>> cell = recurrent_dropout(GRU(4), rate=0.25)
        >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((10, 2, 3), jnp.float32)
        >>> carry, ys = unroll(cell, cell.with_mask(jax.random.key(1), params, xs), xs)  # training
        >>> carry.h.shape, carry.cell.h.shape
        ((2, 4), (2, 4))
    """
    if not isinstance(cell, GatedCell):
        raise TypeError(
            f"recurrent_dropout: `cell` must be a GatedCell, whose carry enters through one product, got {cell!r}. "
            "Take zoneout, which any cell can, or sequence_dropout on its inputs."
        )
    return RecurrentDropout(cell, rate)
