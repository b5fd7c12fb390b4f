"""What the speed benchmark computes: cells, shapes, the same data for everybody, and the products in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

import jaxrnn
from jaxrnn.cell import Cell, HiddenCarry, LinearCell


class Shape(NamedTuple):
    """Sizes of one problem."""

    batch: int
    time: int
    features: int
    hidden: int

    def __str__(self):  # noqa: D105
        return "x".join(str(n) for n in self)


def parse_shape(text: str) -> Shape:
    """A shape from BxTxDxH.

    Raises:
        ValueError: it is none.
    """
    parts = text.split("x")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"--shapes: must be batch x time x features x hidden, such as 32x128x128x256, got {text}.")
    return Shape(*map(int, parts))


@dataclass(frozen=True)
class UserCell(jaxrnn.GatedCell):
    """A cell as a user writes it: the minimal gated unit (Zhou et al., 2016), forget gate after the product."""

    hidden_size: int
    gates: ClassVar[int] = 2

    def update(self, pointwise, carry, u, v):
        """f = sigmoid(u_0 + v_0); h' = (1 - f) * h + f * tanh(u_1 + f * v_1)."""
        f = jax.nn.sigmoid(u[0] + v[0])
        return HiddenCarry((1 - f) * carry.h + f * jnp.tanh(u[1] + f * v[1]))


CELLS: dict[str, Callable[[Shape], Cell]] = {
    "Elman": lambda shape: jaxrnn.Elman(shape.hidden),
    "LSTM": lambda shape: jaxrnn.LSTM(shape.hidden),
    "GRU": lambda shape: jaxrnn.GRU(shape.hidden),
    "ResetBeforeGRU": lambda shape: jaxrnn.ResetBeforeGRU(shape.hidden),
    "PeepholeLSTM": lambda shape: jaxrnn.PeepholeLSTM(shape.hidden),
    "user's cell": lambda shape: UserCell(shape.hidden),
    "LRU": lambda shape: jaxrnn.LRU(shape.hidden, shape.features),
    "MinGRU": lambda shape: jaxrnn.MinGRU(shape.hidden),
}
NONLINEAR, LINEAR = tuple(CELLS)[:6], tuple(CELLS)[6:]
SHAPES = tuple(
    Shape(*sizes)
    for sizes in (
        (32, 128, 128, 256), (64, 256, 64, 128), (16, 512, 32, 64), (32, 128, 512, 512),
        (128, 64, 256, 1024), (1, 1000, 64, 128), (256, 50, 32, 32), (8, 2000, 16, 64),
    )
)  # fmt: skip
LINEAR_SHAPES = tuple(
    Shape(*sizes) for sizes in ((32, 64, 64, 64), (8, 1024, 64, 64), (1, 8192, 64, 64), (1, 65536, 32, 32))
)


class Problem(NamedTuple):
    """One cell at one shape; `seed` draws its weights and data."""

    cell: str
    shape: Shape
    dtype: str
    seed: int

    def build(self) -> Cell:
        """The cell."""
        return CELLS[self.cell](self.shape)


class Data(NamedTuple):
    """Parameters, inputs and targets."""

    params: Any
    xs: jax.Array
    targets: jax.Array


def draw(problem: Problem) -> Data:
    """The same numbers in every process. Biases and peepholes are not zero, so that a wrong one shows.

    The bias b_h of the GRU stays zero, since one of the peers has none.
    """
    cell, shape, dtype = problem.build(), problem.shape, jnp.dtype(problem.dtype)
    keys = jax.random.split(jax.random.key(problem.seed), 4)
    params = cell.init(keys[0], shape.features, dtype)
    if not isinstance(cell, LinearCell):
        leaves, tree = jax.tree.flatten((params.bias, () if problem.cell == "GRU" else params.pointwise))
        noise = jax.random.split(keys[1], len(leaves))
        moved = [w + 0.1 * jax.random.normal(k, w.shape, dtype) for k, w in zip(noise, leaves, strict=True)]
        bias, pointwise = jax.tree.unflatten(tree, moved)
        params = params._replace(bias=bias, pointwise=pointwise or params.pointwise)
    xs = jax.random.normal(keys[2], (shape.time, shape.batch, shape.features), dtype)
    targets = jax.random.normal(keys[3], (shape.time, shape.batch, cell.output_size), dtype)
    return Data(params, xs, targets)


def operations(problem: Problem, mode: str) -> float:
    """Floating-point operations of the products of a nonlinear cell: what no way of computing it can do without.

    Forward every weight is used once; backward it takes part in its own gradient and, where one is needed, in that
    of what it was multiplied with.
    """
    params = jax.eval_shape(lambda: draw(problem).params)
    steps = 2 * problem.shape.batch * problem.shape.time
    times = {"forward": (1, 1), "train": (2, 3), "train with inputs": (3, 3)}[mode]
    return float(steps * (times[0] * params.input.size + times[1] * params.recurrent.size))
