"""Cells that look at a memory at every step: a gated cell inside, which reads what was found beside its input.

The memory is constant over time and differentiated, so it rides in the parameters: `remember` puts it there, and
`jaxrnn.unroll` runs the cell as any other, on every backend that takes a plain Cell.
"""

import abc
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrnn.cell import Cell, GatedCell, check_sizes
from jaxrnn.models.attention import Attention, normalize
from jaxrnn.numerics import cast, matmul, zero_unless


class Attended(NamedTuple):
    """A memory as a cell meets it; `valid` is 1 at its steps and 0 in its padding.

    Numbers, not truth values: these have no cotangent, and ChunkedScan would leave the whole cell to JAX.
    """

    keys: Float[Array, "source_time *batch key"]
    states: Float[Array, "source_time *batch memory"]
    valid: Float[Array, "source_time *batch"]


@dataclass(frozen=True)
class AttentionCell(Cell):
    """What the two share: an inner cell whose input is [x; fed], of which x is multiplied in `project`."""

    cell: GatedCell
    attention: Attention
    memory_size: int

    def __post_init__(self):  # noqa: D105
        name = type(self).__name__
        if not isinstance(self.cell, GatedCell) or type(self.cell).project is not GatedCell.project:
            raise TypeError(
                f"{name}: `cell` must be a gated cell whose input enters by one product, such as LSTM or GRU, got "
                f"{self.cell!r}. Give one of those."
            )
        if not isinstance(self.attention, Attention):
            raise TypeError(
                f"{name}: `attention` must be a score such as Bahdanau(64), got {self.attention!r}. Give one."
            )
        check_sizes(self, "memory_size")

    @abc.abstractmethod
    def start(self, carry) -> Any:
        """The carry that starts from a given one of the inner cell."""

    @abc.abstractmethod
    def weights(self, params, before, after) -> Float[Array, "source_time *batch"]:
        """The weights of `step` from one carry to the next: what it looked at."""

    def remember(
        self,
        params,
        states: Float[Array, "source_time *batch memory"],
        mask: Bool[Array, "source_time *batch"] | None = None,
    ) -> Any:
        """The parameters with a memory in them, for one call of `unroll`.

        Args:
            params: As `init` makes them.
            states: The memory, in their dtype.
            mask: False in its padding, which reaches neither value nor gradient. None: there is none.

        Raises:
            ValueError: the states have not `memory_size` features.
        """
        if states.shape[-1] != self.memory_size:
            raise ValueError(
                f"{type(self).__name__}.remember: `states` must be (source_time, *batch, memory_size="
                f"{self.memory_size}), got shape {states.shape}. Build the cell with memory_size={states.shape[-1]}."
            )
        clean = zero_unless(mask, states)
        valid = jnp.ones(states.shape[:-1], states.dtype) if mask is None else mask.astype(states.dtype)
        return params._replace(memory=Attended(self.attention.keys(params.attention, clean), clean, valid))

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> Any:
        """Zeros beside what the inner cell starts from."""
        return self.start(self.cell.init_carry(batch_shape, dtype))

    def project(self, params, xs):
        """The inner cell's, of x alone."""
        return self.cell.project(params.cell, xs)

    def widen(self, params, dtype):
        """In the carry's precision, the inner cell's as it takes them."""
        return cast(params, dtype)._replace(cell=self.cell.widen(params.cell, dtype))

    def init_inner(self, key, input_size: int, fed: int, dtype) -> tuple[Any, Array]:
        """The inner cell's parameters for inputs [x; fed], and the rows of `fed` apart."""
        params = self.cell.init(key, input_size + fed, dtype)
        return params._replace(input=params.input[:input_size]), params.input[input_size:]

    def advance_inner(self, params, carry, u, fed):
        """The inner carry after a step on [x; fed], of which x is in u."""
        parts = jnp.split(matmul(fed, params.feedback), self.cell.gates, axis=-1)
        return self.cell.advance(params.cell, carry, tuple(a + b for a, b in zip(u, parts, strict=True)))

    def look(self, params, query) -> Float[Array, "source_time *batch"]:
        """The weights of the memory for a query."""
        memory = params.memory
        if not isinstance(memory, Attended):
            raise ValueError(
                f"{type(self).__name__}: `params` hold no memory. Put one in: cell.remember(params, states, mask)."
            )
        return normalize(self.attention.scores(params.attention, query, memory.keys), memory.valid > 0)
