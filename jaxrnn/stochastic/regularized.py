"""All noise at once, in a cell, Stack or Bidirectional, turned on by a key that rides in the parameters."""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn import validation
from jaxrnn.cell import Cell
from jaxrnn.network import Network
from jaxrnn.sequence import Bidirectional, Stack
from jaxrnn.stochastic.dropout import recurrent_dropout, sequence_dropout
from jaxrnn.stochastic.wrapper import Rate, Wrapper, as_rate, shape_of
from jaxrnn.stochastic.zoned import Rates, as_rates, zoneout


def check_bare(owner: str, network) -> None:
    """Raises TypeError where a cell of `zoneout` or `recurrent_dropout` stands, whose noise a key does not reach."""
    if isinstance(network, Wrapper):
        raise TypeError(
            f"{owner}: `cell` must hold no noise of its own, which no key would reach, got {network!r}. "
            "Give the rates to nn.RNN, or to regularize, with the cell itself."
        )
    for part in network.parts if isinstance(network, Network) else ():
        check_bare(owner, part)


class Keyed(NamedTuple):
    """Parameters of a Regularized cell and the key that its noise is drawn from: training."""

    params: PyTree
    key: Any


@dataclass(frozen=True)
class Regularized(Network):
    """A cell with all its noise, made by `regularize`; parameters and carries are those of the cell itself.

    With `Keyed` parameters (see `with_key`) noise is drawn, else it evaluates. Fields are those of `regularize`.

    Raises:
        TypeError: `cell` holds noise already, or is not gated and `recurrent_dropout` is asked for.
        ValueError: a rate outside [0, 1).

    Example:
        >>> from jaxrnn import GRU
        >>> Regularized(GRU(4), zoneout=0.1).output_size
        4
    """

    cell: Cell
    input_dropout: Rate = 0.0
    recurrent_dropout: Rate = 0.0
    zoneout: Rates = 0.0

    def __post_init__(self):  # noqa: D105
        check_bare("Regularized", self.cell)
        for name in ("input_dropout", "recurrent_dropout"):
            object.__setattr__(self, name, as_rate("Regularized", name, getattr(self, name)))
        object.__setattr__(self, "zoneout", as_rates("Regularized", "zoneout", self.zoneout))
        cell = self._zoned
        if self.recurrent_dropout != 0:
            recurrent_dropout(cell, self.recurrent_dropout)

    @property
    def _zoned(self) -> Any:
        return zoneout(self.cell, self.zoneout) if self.zoneout != 0 else self.cell

    @property
    def output_size(self) -> int:
        """That of the cell."""
        return self.cell.output_size

    def init(self, key, input_size: int, dtype=jnp.float32) -> Any:
        """Parameters of the cell."""
        return self.cell.init(key, input_size, dtype)

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> Any:
        """The carry of the cell."""
        return self.cell.init_carry(batch_shape, dtype)

    def unroll_with(self, unroll, params, xs, carry, how):
        """See Network."""
        cell = self._zoned
        if not isinstance(params, Keyed):
            return unroll(cell, params, xs, carry, **how)
        input_key, zoneout_key, recurrent_key = jax.random.split(params.key, 3)
        params = params.params
        if self.input_dropout != 0:
            if not isinstance(xs, jax.Array):
                raise TypeError(
                    f"Regularized: `input_dropout` is for inputs that are one array, got {validation.describe(xs)}. "
                    "Put sequence_dropout on the entries that shall have it, before."
                )
            xs = sequence_dropout(input_key, xs, self.input_dropout)
        if self.zoneout != 0:
            xs = cell.with_masks(zoneout_key, xs)
        if self.recurrent_dropout == 0:
            return unroll(cell, params, xs, carry, **how)
        dropped = recurrent_dropout(cell, self.recurrent_dropout)
        params = dropped.with_mask(recurrent_key, params, xs)
        if carry is not None:
            (_, *batch), dtype = shape_of(xs)
            validation.check_carry(cell, carry, tuple(batch), dtype)
            carry = dropped.start(params, carry)
        carry, ys = unroll(dropped, params, xs, carry, **how)
        return carry.cell, ys


def regularize(
    network,
    *,
    input_dropout: Rate = 0.0,
    recurrent_dropout: Rate = 0.0,
    zoneout: Rates = 0.0,
) -> Network:
    """Noise in a cell, or in every cell of a Stack or Bidirectional.

    Parameters and carries stay those of `network`. With plain parameters `unroll` evaluates; `with_key` turns the
    noise on for one call, with masks of their own for each cell, direction and sequence. For rates that differ from
    layer to layer regularize the layers and put them together: `Stack((regularize(a, ...), regularize(b, ...)))`.

    Args:
        network: A Cell, Stack or Bidirectional without noise.
        input_dropout: Rate of `sequence_dropout` on the inputs of each cell.
        recurrent_dropout: Rate of `recurrent_dropout`, for gated cells.
        zoneout: Rate of `zoneout`, one number, or one for each array of the carry.

    Raises:
        TypeError: a part holds noise already or is no cell; recurrent dropout of a cell that is not gated.
        ValueError: a rate outside [0, 1).

    Example:
        >>> from jaxrnn import GRU, unroll
        >>> network = regularize(Stack((GRU(4), GRU(5))), input_dropout=0.2, zoneout=0.1)
        >>> params, xs = network.init(jax.random.key(0), 3), jnp.ones((10, 2, 3), jnp.float32)
        >>> carry, ys = unroll(network, with_key(network, params, jax.random.key(1)), xs)  # training
        >>> carry, ys = unroll(network, params, xs)  # evaluation
        >>> ys.shape
        (10, 2, 5)
    """
    rates: dict[str, Any] = dict(input_dropout=input_dropout, recurrent_dropout=recurrent_dropout, zoneout=zoneout)
    if isinstance(network, Stack):
        return dataclasses.replace(network, cells=tuple(regularize(cell, **rates) for cell in network.cells))
    if isinstance(network, Bidirectional):
        ahead, back = regularize(network.forward, **rates), regularize(network.backward, **rates)
        return dataclasses.replace(network, forward=ahead, backward=back)
    if not isinstance(network, Cell):
        raise TypeError(
            f"regularize: `network` must be a Cell, Stack or Bidirectional, got {network!r}. "
            "Give the rates of a cell once."
        )
    return Regularized(network, **rates)


def with_key(network, params: PyTree, key) -> PyTree:
    """`params` with a key for every regularized cell of `network`, for one training call of `unroll`.

    Raises:
        TypeError: a cell of `zoneout` or `recurrent_dropout` stands in `network`, whose noise no key reaches.

    Example:
        >>> from jaxrnn import GRU
        >>> cell = regularize(GRU(2), zoneout=0.1)
        >>> with_key(cell, cell.init(jax.random.key(0), 3), jax.random.key(1))._fields
        ('params', 'key')
    """
    check_bare("with_key", network)
    if isinstance(network, Regularized):
        return Keyed(params, key)
    if not isinstance(network, Network) or not network.parts:
        return params
    keys = jax.random.split(key, len(network.parts))
    return tuple(with_key(part, weights, k) for part, weights, k in zip(network.parts, params, keys, strict=True))
