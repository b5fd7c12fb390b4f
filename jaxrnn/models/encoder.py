"""A sentence read by a recurrent layer: the memory that a decoder starts from and looks at."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer

from jaxrnn.models.encoding import check_parts, drop, split_key, valid_steps
from jaxrnn.nn import RNN

Tokens = Integer[Array | np.ndarray, "time *batch"]
Lengths = Integer[Array | np.ndarray, "*batch"]


class Memory(NamedTuple):
    """What an encoder makes of a sentence.

    `states` (source_time, *batch, features) are its outputs, zero in padding, where `mask` is False. `final`
    (*batch, final_features) are all arrays of the carry that it ends with, side by side, complex ones as real and
    imaginary part: h and c of an LSTM, of both directions and of every layer.
    """

    states: Float[Array, "source_time *batch features"]
    mask: Bool[Array, "source_time *batch"]
    final: Float[Array, "*batch final_features"]


class Encoder(nnx.Module):
    """Embedded tokens and a recurrent layer, which may be bidirectional or of several layers.

        carry, ys = rnn(dropout(embed(tokens)))

    Shapes: tokens (time, *batch), lengths (*batch); no batch axis for one sentence. What tokens hold in padding reaches
    nothing.

    Args:
        embed: Makes features of the tokens, an nnx.Embed.
        rnn: The recurrent layer.
        dropout: Rate on the embedded tokens. Default: 0.

    Raises:
        TypeError: `embed` is no nnx.Embed, `rnn` no recurrent layer; in a call, `key` is an nnx.Rngs.
        ValueError: `embed` and `rnn` do not fit.

    Example:
        >>> from jaxrnn import nn, LSTM
        >>> rngs = nnx.Rngs(0)
        >>> encoder = Encoder(nnx.Embed(11, 3, rngs=rngs), nn.Bidirectional(LSTM(4), in_features=3, rngs=rngs))
        >>> memory = encoder(jnp.ones((6, 2), jnp.int32), jnp.array([6, 4]))
        >>> memory.states.shape, memory.final.shape
        ((6, 2, 8), (2, 16))
    """

    def __init__(self, embed: nnx.Embed, rnn: RNN, *, dropout: float = 0.0):  # noqa: D107
        if not isinstance(embed, nnx.Embed):
            raise TypeError(f"Encoder: `embed` must be an nnx.Embed, got {type(embed).__name__}. Give one.")
        check_parts("Encoder", embed, rnn)
        self.embed = embed
        self.rnn = rnn
        self.dropout = nnx.Dropout(dropout)

    @property
    def out_features(self) -> int:
        """Features of the states."""
        return self.rnn.out_features

    @property
    def final_features(self) -> int:
        """Features of `final`."""
        return jax.eval_shape(lambda: _beside(self.rnn.cell.init_carry())).size

    def __call__(self, tokens: Tokens, lengths: Lengths, key=None) -> Memory:
        """The memory; `key` draws the noise of training, None evaluates."""
        input_key, layer_key = split_key("Encoder", key, 2)
        lengths = jnp.asarray(lengths)
        xs = drop(self.dropout, self.embed(jnp.asarray(tokens)), input_key)
        carry, states = self.rnn(xs, lengths=lengths, key=layer_key)
        return Memory(states, valid_steps(len(tokens), lengths), _beside(carry))


def _beside(carry) -> Float[Array, "*batch features"]:
    parts = []
    for leaf in jax.tree.leaves(carry):
        parts += [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]
    return jnp.concatenate(parts, axis=-1)
