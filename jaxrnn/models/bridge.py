"""From a vector to the carry that a recurrence starts from."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from jaxrnn.cell import Cell
from jaxrnn.network import Network
from jaxrnn.numerics import carry_dtype


class Bridge(nnx.Module):
    """A learned starting carry: every array of the carry is tanh of a linear map of the vector.

        s = tanh(W c + b)        for each floating array s of the carry; complex: tanh(...) + i tanh(...)

    One product makes them all. Arrays that are not floating stay as `init_carry` makes them.

    Shapes: c (*batch, in_features); the carry is that of `cell.init_carry(batch)`, in the dtype of the layer, to which
    the vector is cast, float32 where that has 16 bits.

    Source: the start of the decoder in Bahdanau et al. (2015, https://arxiv.org/abs/1409.0473), A.2.2.

    Args:
        cell: The Cell, Stack or Bidirectional that is started.
        in_features: Features of the vector.
        dtype: As for nnx.Linear.
        param_dtype: As for nnx.Linear. Default: float32.
        rngs: The initial parameters come from its stream `params`.

    Example:
        >>> from jaxrnn import LSTM
        >>> bridge = Bridge(LSTM(4), in_features=3, rngs=nnx.Rngs(0))
        >>> bridge(jnp.ones((2, 3), jnp.float32)).c.shape
        (2, 4)
    """

    def __init__(  # noqa: D107
        self, cell: Cell | Network, in_features: int, *, dtype=None, param_dtype=jnp.float32, rngs: nnx.Rngs
    ):
        self.cell = cell
        sizes = map(_width, jax.tree.leaves(jax.eval_shape(cell.init_carry)))
        self.linear = nnx.Linear(in_features, sum(sizes), dtype=dtype, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, vector: Float[Array, "*batch features"]) -> Any:
        """The carry."""
        values = jnp.tanh(self.linear(vector.astype(self.linear.dtype or self.linear.kernel.dtype)))
        values = values.astype(carry_dtype(values.dtype))
        start, structure = jax.tree.flatten(self.cell.init_carry(vector.shape[:-1], values.dtype))
        widths = [_width(leaf) for leaf in jax.tree.leaves(jax.eval_shape(self.cell.init_carry))]
        parts = jnp.split(values, np.cumsum(widths)[:-1], axis=-1)
        return jax.tree.unflatten(structure, list(map(_filled, start, parts)))


def _width(leaf) -> int:
    """Real numbers that are learned in an array of the carry of one sequence."""
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return 0
    return math.prod(leaf.shape) * (2 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else 1)


def _filled(leaf, values):
    """An array like `leaf` of these numbers."""
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        values = lax.complex(*jnp.split(values, 2, axis=-1))
    return values.reshape(leaf.shape)
