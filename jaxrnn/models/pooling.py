"""Pooling: the outputs of a whole sequence become one vector, called `(ys, lengths) -> pooled`.

Lengths of None take every step. A sequence of length 0 gives zeros, and what stands in padding, NaN too, reaches
neither value nor gradient.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer

from jaxrnn.cell import Cell
from jaxrnn.models.encoding import valid_steps
from jaxrnn.network import Network
from jaxrnn.numerics import carry_dtype, zero_unless
from jaxrnn.sequence import Bidirectional, Stack

Lengths = Integer[Array | np.ndarray, " batch"] | None


def _valid(ys, lengths: Lengths) -> Bool[Array, "time #batch"]:
    return jnp.ones((ys.shape[0], 1), bool) if lengths is None else valid_steps(ys.shape[0], lengths)


@dataclass(frozen=True)
class LastState:
    """The output where each direction of a cell ends: the summary of a sequence that a recurrent network gives.

        forward:   y_{length - 1}
        backward:  y_0

    Of a Bidirectional that is the forward half at the last valid step beside the backward half at the first; of a
    Stack its last layer decides. Outputs, not carries, are taken, so it works for every cell.

    Shapes: ys (time, batch, features) to (batch, features).

    Fields:
        cell: The Cell, Stack or Bidirectional whose outputs are pooled; of a layer `layer.cell`.

    Raises:
        TypeError: `cell` is none.
        ValueError: the outputs have not as many features as the cell's.

    Example:
        >>> from jaxrnn import GRU
        >>> ys = jnp.arange(6, dtype=jnp.float32).reshape(3, 1, 2)  # forward 0, 2, 4, backward 1, 3, 5
        >>> LastState(Bidirectional(GRU(1), GRU(1)))(ys, jnp.array([2])).tolist()
        [[2.0, 1.0]]
    """

    cell: Cell | Network

    def __post_init__(self):  # noqa: D105
        if not isinstance(self.cell, Cell | Network):
            raise TypeError(
                f"LastState: `cell` must be a Cell, Stack or Bidirectional, got {self.cell!r}. Give layer.cell."
            )

    def __call__(
        self, ys: Float[Array, "time batch features"], lengths: Lengths = None
    ) -> Float[Array, "batch features"]:
        """The last outputs."""
        if ys.shape[-1] != self.cell.output_size:
            raise ValueError(
                f"LastState: `ys` must have the {self.cell.output_size} features of {self.cell}, got shape {ys.shape}. "
                "Pool the outputs of that cell."
            )
        if ys.shape[0] == 0:
            return jnp.zeros(ys.shape[1:], ys.dtype)
        if lengths is None:
            lengths = jnp.full(ys.shape[1], ys.shape[0], jnp.int32)
        ends = jnp.maximum(lengths - 1, 0)
        last = jnp.take_along_axis(ys, ends[None, :, None], axis=0)[0]
        directions = np.concatenate([np.full(size, back) for size, back in _directions(self.cell, False)])
        return zero_unless(lengths > 0, jnp.where(directions, ys[0], last))


def _directions(cell: Cell | Network, backward: bool) -> Iterator[tuple[int, bool]]:
    """Features and direction of each part of the outputs; what runs backward inside a backward part runs forward."""
    if isinstance(cell, Stack):
        yield from _directions(cell.cells[-1], backward)
    elif isinstance(cell, Bidirectional):
        yield from _directions(cell.forward, backward)
        yield from _directions(cell.backward, not backward)
    else:
        yield cell.output_size, backward


@dataclass(frozen=True)
class MeanPooling:
    """The mean of the outputs over the valid steps.

    Shapes: ys (time, batch, features) to (batch, features).

    Example:
        >>> MeanPooling()(jnp.array([[[1.0]], [[3.0]], [[8.0]]]), jnp.array([2])).tolist()
        [[2.0]]
    """

    def __call__(
        self, ys: Float[Array, "time batch features"], lengths: Lengths = None
    ) -> Float[Array, "batch features"]:
        """The mean, summed in at least float32."""
        valid = _valid(ys, lengths)
        wide = carry_dtype(ys.dtype)
        steps = jnp.maximum(jnp.sum(valid, axis=0), 1).astype(wide)
        return (jnp.sum(zero_unless(valid, ys), axis=0, dtype=wide) / steps[:, None]).astype(ys.dtype)


class AttentionPooling(nnx.Module):
    """The mean of the outputs, weighted by a learned score of each.

        score_t = v . tanh(W y_t + b)
        a = softmax(score) over the valid steps
        pooled = sum_t a_t y_t

    Shapes: ys (time, batch, features) to (batch, features); W (features, features), b and v (features,).

    Source: Yang et al. (2016, https://aclanthology.org/N16-1174), and Raffel & Ellis (2015,
    https://arxiv.org/abs/1512.08756).

    Args:
        features: Features of the outputs.
        dtype: As for nnx.Linear.
        param_dtype: As for nnx.Linear. Default: float32.
        rngs: The initial parameters come from its stream `params`.

    Example:
        >>> pooling = AttentionPooling(4, rngs=nnx.Rngs(0))
        >>> ys = jnp.ones((3, 2, 4), jnp.float32)
        >>> pooling(ys, jnp.array([3, 2])).shape
        (2, 4)
        >>> pooling.weights(ys, jnp.array([3, 2]))[:, 1].tolist()  # which steps counted
        [0.5, 0.5, 0.0]
    """

    def __init__(self, features: int, *, dtype=None, param_dtype=jnp.float32, rngs: nnx.Rngs):  # noqa: D107
        options = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.hidden = nnx.Linear(features, features, **options)
        self.score = nnx.Linear(features, 1, use_bias=False, **options)

    def weights(self, ys: Float[Array, "time batch features"], lengths: Lengths = None) -> Float[Array, "time batch"]:
        """The weight of each step, at least float32: they add up to 1 over a sequence, and are 0 in padding."""
        valid = _valid(ys, lengths)
        scores = self.score(jnp.tanh(self.hidden(zero_unless(valid, ys))))[..., 0]
        scores = scores.astype(carry_dtype(scores.dtype))
        held_down = jnp.where(valid, scores, jnp.finfo(scores.dtype).min)
        return zero_unless(valid, jax.nn.softmax(held_down, axis=0))

    def __call__(
        self, ys: Float[Array, "time batch features"], lengths: Lengths = None
    ) -> Float[Array, "batch features"]:
        """The weighted mean."""
        weights = self.weights(ys, lengths).astype(ys.dtype)
        return jnp.einsum("tb,tbf->bf", weights, zero_unless(_valid(ys, lengths), ys))
