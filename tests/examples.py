"""What the suites run over: every exported cell, and cells that a user of the library might make up."""

import dataclasses
import inspect
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

import jaxrnn
from jaxrnn import Cell, GatedCell, HiddenCarry, LinearCell

HIDDEN, FEATURES = 5, 3


def build(cell_type, **fields) -> Cell:
    """A cell with its required whole numbers filled in: `hidden_size` 5, any other as many as the input features."""
    for field in dataclasses.fields(cell_type):
        if field.default is dataclasses.MISSING:
            fields.setdefault(field.name, HIDDEN if field.name == "hidden_size" else FEATURES)
    return cell_type(**fields)


def exported() -> list[type[Cell]]:
    """All cells of jaxrnn.cells."""
    return [value for value in vars(jaxrnn.cells).values() if inspect.isclass(value) and issubclass(value, Cell)]


@dataclass(frozen=True)
class UserGated(GatedCell):
    """Ten lines: two fields and `update` (this is the UGRNN)."""

    hidden_size: int
    gates: ClassVar[int] = 2

    def update(self, pointwise, carry, u, v):
        keep = jax.nn.sigmoid(u[0] + v[0])
        return HiddenCarry(keep * carry.h + (1 - keep) * jnp.tanh(u[1] + v[1]))


class ReadoutParams(NamedTuple):
    input: Array
    recurrent: Array
    bias: Array
    pointwise: tuple
    readout: Array


@dataclass(frozen=True)
class UserReadout(UserGated):
    """An output of its own that reads parameters, the new carry and u, of a size of its own."""

    readouts: ClassVar[int] = 2

    @property
    def output_size(self):
        return self.readouts

    def init(self, key, input_size, dtype=jnp.float32):
        base = super().init(key, input_size, dtype)
        return ReadoutParams(*base, readout=self.input_init(key, (self.hidden_size, self.readouts), dtype))

    def output(self, params, carry, u):
        return jnp.tanh(carry.h @ params.readout) * u[0][..., : self.readouts]


@dataclass(frozen=True)
class UserNoise(UserGated):
    """Noise for each step as a further entry of xs: u holds more than the gates, a tree of arrays."""

    noise: ClassVar[bool] = True

    def project(self, params, xs):
        inputs, noise = xs
        return *super().project(params, inputs), {"keep": noise, "write": 1 - noise}

    def update(self, pointwise, carry, u, v):
        new = super().update(pointwise, carry, u[:2], v)
        return HiddenCarry(u[2]["keep"] * carry.h + u[2]["write"] * new.h)


@dataclass(frozen=True)
class UserHeads(UserGated):
    """A block-diagonal recurrence, and a carry that does not start at zero."""

    heads: int = 1

    def init_carry(self, batch_shape=(), dtype=jnp.float32):
        return HiddenCarry(jnp.full((*batch_shape, self.hidden_size), 0.5, dtype))


class TraceCarry(NamedTuple):
    h: Array
    trace: tuple[Array, Array]


@dataclass(frozen=True)
class UserPlain(Cell):
    """A plain cell with a nested carry whose leaves differ in shape."""

    hidden_size: int

    @property
    def output_size(self):
        return self.hidden_size

    def init(self, key, input_size, dtype=jnp.float32):
        draw = jaxrnn.initializers.Glorot()
        return draw(key, (input_size, self.hidden_size), dtype), draw(key, (3, self.hidden_size), dtype)

    def init_carry(self, batch_shape=(), dtype=jnp.float32):
        def ones(n):
            return jnp.ones((*batch_shape, n), dtype)

        return TraceCarry(ones(self.hidden_size), (ones(2), ones(1)))

    def project(self, params, xs):
        return xs @ params[0]

    def advance(self, params, carry, u):
        slow, fast = carry.trace
        h = jnp.tanh(u + carry.h + jnp.concatenate([slow, fast], -1) @ params[1])
        return TraceCarry(h, (0.9 * slow + 0.1 * h[..., :2], h[..., :1] * fast))


@dataclass(frozen=True)
class UserLinear(LinearCell):
    """A linear cell whose carry does not start at zero, and whose decay is free of the input."""

    hidden_size: int

    @property
    def output_size(self):
        return self.hidden_size

    def init(self, key, input_size, dtype=jnp.float32):
        return jaxrnn.initializers.Glorot()(key, (input_size, self.hidden_size), dtype), jnp.ones(
            self.hidden_size, dtype
        )

    def init_carry(self, batch_shape=(), dtype=jnp.float32):
        return HiddenCarry(jnp.full((*batch_shape, self.hidden_size), -0.7, dtype))

    def project(self, params, xs):
        return xs @ params[0]

    def coefficients(self, params, us):
        return jax.nn.sigmoid(params[1]), us

    def readout(self, params, hs, us):
        return jnp.sin(hs) + us


USERS: list[Cell] = [
    UserGated(HIDDEN),
    UserReadout(HIDDEN),
    UserNoise(HIDDEN),
    UserHeads(6, heads=2),
    UserPlain(HIDDEN),
    UserLinear(HIDDEN),
]
CELLS: list[Cell] = [build(cell_type) for cell_type in exported()] + [jaxrnn.LSTM(6, heads=3)] + USERS


def name(value) -> str:
    """The test id of a cell, or of a backend with the options that differ from its defaults."""
    if isinstance(value, Cell):
        heads = getattr(value, "heads", 1)
        return type(value).__name__ if heads == 1 else f"{type(value).__name__}({heads} heads)"
    options = [f"{f.name}={v}" for f in dataclasses.fields(value) if (v := getattr(value, f.name)) != f.default]
    return f"{type(value).__name__}({','.join(options)})"
