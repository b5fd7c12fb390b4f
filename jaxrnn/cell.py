"""The three contracts: Cell, any recurrence; GatedCell and LinearCell, whose form lets backends go fast.

A cell is a frozen dataclass of hyper-parameters and holds no arrays; parameters and carries are NamedTuples
of arrays, and `carry.h` is the hidden state. Whoever writes a cell writes its mathematics for one step.
"""

import abc
import numbers
from typing import Any, ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree

from jaxrnn.initializers import BiasInitializer, Glorot, Initializer, Orthogonal, ZeroBias
from jaxrnn.numerics import affine, cast, matmul, real_dtype


class HiddenCarry(NamedTuple):
    """The carry of a cell whose whole state is its hidden state."""

    h: Inexact[Array, "*batch hidden"]


class GatedParams(NamedTuple):
    """Parameters of a gated cell; the columns of `input`, `recurrent` and `bias` are the gates, side by side.

    With heads `recurrent` is (heads, n, gates * n), one block for each.
    """

    input: Float[Array, "input columns"]
    recurrent: Float[Array, "hidden columns"] | Float[Array, "heads n head_columns"]
    bias: Float[Array, " columns"]
    pointwise: PyTree = ()


class Cell(abc.ABC):
    """Any recurrence. One step is `u = project(params, x)`, then `step(params, carry, u) -> (carry, y)`.

    `init(key, input_size, dtype)` makes parameters and `init_carry(batch_shape, dtype)` a starting carry in fresh
    buffers; `dtype` is real in both. `project` does all work that needs no carry, for any leading axes, on
    parameters as they are stored; `advance` and `output` get parameters, carry and u in the carry's precision.
    """

    derived: ClassVar[tuple[str, ...]] = ("step",)
    gate_names: ClassVar[tuple[str, ...]] = ()  # what the literature calls each entry of u, for whoever looks at them
    keep_gate: ClassVar[int | None] = None  # the entry of u whose gate keeps the memory, for bias initialisers too

    def __init_subclass__(cls, **kwargs):
        """Keeps the derived methods derived: a step that is written twice can drift apart."""
        super().__init_subclass__(**kwargs)
        contract = "derived" in cls.__dict__  # GatedCell and LinearCell, which say how theirs are derived
        own = set() if contract else {name for name in cls.__dict__ if name in cls.derived}
        if own:
            names = ", ".join(sorted(own))
            raise TypeError(f"{cls.__name__}: {names} is derived from the cell's other methods; remove it.")

    @property
    @abc.abstractmethod
    def output_size(self) -> int:
        """Features of one output."""

    @abc.abstractmethod
    def init(self, key, input_size: int, dtype=jnp.float32) -> Any:
        """Draws parameters for inputs of `input_size` features."""

    @abc.abstractmethod
    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> Any:
        """The carry a sequence starts from."""

    @abc.abstractmethod
    def project(self, params, xs) -> Any:
        """All work that needs no carry, (..., features) -> us, any leading axes: of many steps or of one."""

    @abc.abstractmethod
    def advance(self, params, carry, u) -> Any:
        """The carry after one step."""

    def output(self, params, carry, u):
        """The output of one step, from the NEW carry. Default: the hidden state."""
        return carry.h

    def widen(self, params, dtype):
        """Parameters as `advance` takes them: in the carry's precision, as `output` always does."""
        return cast(params, dtype)

    @final
    def step(self, params, carry, u):
        """One step, `(carry, u) -> (carry, y)`, from advance and output."""
        dtype = real_dtype(carry)
        u = cast(u, dtype)
        carry = self.advance(self.widen(params, dtype), carry, u)
        return carry, self.output(cast(params, dtype), carry, u)


def recurrent_product(h: Array, recurrent: Array, gates: int) -> tuple[Array, ...]:
    """v = h @ R, split into gates. R is (hidden, gates * hidden), or block-diagonal (heads, n, gates * n)."""
    if recurrent.ndim == 2:
        return tuple(jnp.split(matmul(h, recurrent), gates, axis=-1))
    blocks = h.reshape(*h.shape[:-1], recurrent.shape[0], 1, recurrent.shape[1])
    parts = jnp.split(matmul(blocks, recurrent).squeeze(-2), gates, axis=-1)
    return tuple(part.reshape(h.shape) for part in parts)


def is_size(value) -> bool:
    """Whether a value is a whole number of at least 1."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 1


def check_sizes(cell, *names: str) -> None:
    """Raises ValueError unless these fields of a cell are whole numbers of at least 1."""
    for name in names:
        value = getattr(cell, name)
        if not is_size(value):
            raise ValueError(f"{type(cell).__name__}: `{name}` must be a whole number of at least 1, got {value!r}.")


class GatedCell(Cell):
    """A cell whose carry enters through ONE product: v = carry.h @ R, carry' = update(pointwise, carry, u, v).

    A cell declares `hidden_size`, `gates` and `update`; the rest are defaults that it may replace. Every backend,
    fused kernels too, derives its forward and backward pass from `update`. With a field `heads` of k, R is
    block-diagonal: h is k parts of n = hidden / k units, which meet only where `update` lets them.
    """

    derived = ("step", "advance")
    hidden_size: int
    heads: int = 1  # parts of h of equal size, each of which the recurrent matrix maps to itself alone
    gates: ClassVar[int]
    carry_type: ClassVar[type] = HiddenCarry
    write_gate: ClassVar[int | None] = None  # the gate that admits to the memory
    input_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()
    bias_init: BiasInitializer = ZeroBias()

    def __post_init__(self):  # noqa: D105
        check_sizes(self, "hidden_size", "heads")
        if self.hidden_size % self.heads:
            raise ValueError(
                f"{type(self).__name__}: `hidden_size` must be a multiple of `heads`, "
                f"got {self.hidden_size} and {self.heads}."
            )

    @abc.abstractmethod
    def update(self, pointwise, carry, u, v) -> Any:
        """The new carry from u and v, tuples of `gates` arrays (*batch, hidden); u may hold more (noise)."""

    @property
    def output_size(self) -> int:
        """The hidden size."""
        return self.hidden_size

    def init(self, key, input_size: int, dtype=jnp.float32) -> Any:
        """GatedParams from the cell's initialisers, weights drawn gate by gate, recurrent ones head by head."""
        input_key, recurrent_key, bias_key = jax.random.split(key, 3)

        def by_gate(initializer, key, rows, columns):
            keys = jax.random.split(key, self.gates)
            return jnp.concatenate([initializer(k, (rows, columns), dtype) for k in keys], axis=-1)

        n = self.hidden_size // self.heads
        if self.heads == 1:
            recurrent = by_gate(self.recurrent_init, recurrent_key, n, n)
        else:
            keys = jax.random.split(recurrent_key, self.heads)
            recurrent = jnp.stack([by_gate(self.recurrent_init, k, n, n) for k in keys])
        bias = self.bias_init(bias_key, (self.gates, self.hidden_size), dtype, self.keep_gate, self.write_gate)
        return GatedParams(
            input=by_gate(self.input_init, input_key, input_size, self.hidden_size),
            recurrent=recurrent,
            bias=bias.reshape(-1),
        )

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32):
        """Zeros, one buffer for each field of `carry_type`."""
        return self.carry_type(*(jnp.zeros((*batch_shape, self.hidden_size), dtype) for _ in self.carry_type._fields))

    def project(self, params, xs) -> tuple[Any, ...]:
        """xs @ input + bias, as a tuple of `gates` arrays."""
        return tuple(jnp.split(affine(xs, params.input, params.bias), self.gates, axis=-1))

    def recurrent(self, params):
        """R, (hidden, gates * hidden), or with heads (heads, n, gates * n)."""
        return params.recurrent

    def pointwise(self, params):
        """Small parameters used inside update (peepholes, norm gains); () if none."""
        return params.pointwise

    def widen(self, params, dtype):
        """Parameters as stored: the product takes R in its own precision, `advance` widens the rest."""
        return params

    @final
    def advance(self, params, carry, u):
        """update(pointwise, carry, u, carry.h @ R)."""
        v = recurrent_product(carry.h, self.recurrent(params), self.gates)
        return self.update(cast(self.pointwise(params), real_dtype(carry)), carry, u, v)


class LinearCell(Cell):
    """h_t = a_t * h_{t-1} + b_t elementwise, real or complex, with a and b free of the carry.

    `coefficients` and `readout` are written for any leading axes, so one step and a whole sequence are the same
    code. The carry is HiddenCarry(h); a may be of any shape that broadcasts against b.
    """

    derived = ("step", "advance", "output")

    @abc.abstractmethod
    def coefficients(self, params, us) -> tuple[Array, Array]:
        """(a, b) for every step in us."""

    @abc.abstractmethod
    def readout(self, params, hs, us) -> Any:
        """The outputs for hidden states hs."""

    @final
    def advance(self, params, carry, u):
        """h' = a * h + b."""
        a, b = self.coefficients(params, u)
        return HiddenCarry(a * carry.h + b)

    @final
    def output(self, params, carry, u):
        """readout of one step."""
        return self.readout(params, carry.h, u)
