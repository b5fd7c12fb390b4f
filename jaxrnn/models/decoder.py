"""A sentence told token by token from a memory, with or without attention to it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Integer, PyTree

from jaxrnn.backends.scan import Scan
from jaxrnn.cell import is_size
from jaxrnn.models.bridge import Bridge
from jaxrnn.models.decoder_cells import Attended, AttentionCell
from jaxrnn.models.encoder import Lengths, Memory, Tokens
from jaxrnn.models.encoding import check_forward, check_parts, drop, split_key
from jaxrnn.network import Network
from jaxrnn.nn import RNN
from jaxrnn.numerics import cast
from jaxrnn.stochastic import with_key
from jaxrnn.unroll import unroll


class Decoder(nnx.Module):
    """Embedded tokens, a recurrent layer that starts from the memory, and at each step the logits of what follows.

        s_0 = tanh(W final + b)                    every array of the carry, see `Bridge`
        carry, ys = rnn(dropout(embed(tokens)))    a BahdanauCell or LuongCell looks at the memory's states
        logits_t = V dropout(y_t) + c              all steps at once

    The context or h~ of an attention cell starts at zero. Without attention it is the decoder of Sutskever, Vinyals &
    Le (2014, https://arxiv.org/abs/1409.3215), but for the bridge, which lets the sizes of both sides differ.

    Shapes: tokens (time, *batch), logits (time, *batch, vocabulary).

    Args:
        embed: Embedding of the tokens; its `num_embeddings` is the vocabulary.
        rnn: The recurrent layer, forward alone: of a Cell or Stack, or of a cell with attention.
        final_features: Those of the encoder.
        dropout: Rate on the embedded tokens and on the outputs. Default: 0.
        rngs: The initial parameters of bridge and head come from its stream `params`.

    Raises:
        TypeError: `embed` is no nnx.Embed, `rnn` no recurrent layer; in a call, `key` is an nnx.Rngs.
        ValueError: `embed` and `rnn` do not fit, a Bidirectional is in `rnn`, a cell with attention is in a Stack, or
            `final_features` is below 1.

    Example:
        >>> from jaxrnn import nn, GRU
        >>> rngs = nnx.Rngs(0)
        >>> embed, rnn = nnx.Embed(11, 4, rngs=rngs), nn.RNN(GRU(5), in_features=4, rngs=rngs)
        >>> decoder = Decoder(embed, rnn, final_features=3, rngs=rngs)
        >>> memory = Memory(jnp.ones((6, 2, 3), jnp.float32), jnp.ones((6, 2), bool), jnp.ones((2, 3), jnp.float32))
        >>> decoder(memory, jnp.ones((7, 2), jnp.int32), jnp.array([7, 4])).shape
        (7, 2, 11)
    """

    def __init__(  # noqa: D107
        self, embed: nnx.Embed, rnn: RNN, final_features: int, *, dropout: float = 0.0, rngs: nnx.Rngs
    ):
        if not isinstance(embed, nnx.Embed):
            raise TypeError(f"Decoder: `embed` must be an nnx.Embed, got {type(embed).__name__}. Give one.")
        check_parts("Decoder", embed, rnn)
        check_forward("Decoder", rnn.cell)
        _check_bare_parts(rnn.cell)
        if not is_size(final_features):
            raise ValueError(
                f"Decoder: `final_features` must be a whole number of at least 1, got {final_features!r}. Give "
                "encoder.final_features."
            )
        options = {"dtype": rnn.dtype, "param_dtype": rnn.param_dtype, "rngs": rngs}
        started = rnn.cell.cell if isinstance(rnn.cell, AttentionCell) else rnn.cell
        self.embed = embed
        self.rnn = rnn
        self.final_features = final_features
        self.bridge = Bridge(started, final_features, **options)
        self.head = nnx.Linear(rnn.out_features, embed.num_embeddings, **options)
        self.dropout = nnx.Dropout(dropout)

    @property
    def attention_cell(self) -> AttentionCell | None:
        """The cell if it looks at the memory, else None."""
        return self.rnn.cell if isinstance(self.rnn.cell, AttentionCell) else None

    def start(self, memory: Memory) -> Any:
        """The carry that a sentence starts from."""
        carry, cell = self.bridge(memory.final), self.attention_cell
        return carry if cell is None else cell.start(carry)

    def attended(self, memory: Memory) -> Attended | tuple[()]:
        """What steps read of the memory, made once a sentence; () without attention."""
        if self.attention_cell is None:
            return ()
        params = self.params(())
        states = cast(memory.states, jax.tree.leaves(params)[0].dtype)
        return self.attention_cell.remember(params, states, memory.mask).memory

    def params(self, attended: Attended | tuple[()]) -> Any:
        """The parameters of the recurrent layer with a memory in them."""
        params = self.rnn.params if self.rnn.dtype is None else cast(self.rnn.params, self.rnn.dtype)
        return params if self.attention_cell is None else params._replace(memory=attended)

    def __call__(
        self, memory: Memory, tokens: Tokens, lengths: Lengths | None = None, key=None
    ) -> Float[Array, "time *batch vocabulary"]:
        """Logits of what follows each token; `key` draws the noise of training, None evaluates."""
        input_key, layer_key, output_key = split_key("Decoder", key, 3)
        params = self.params(self.attended(memory))
        if layer_key is not None and not self.rnn.deterministic:
            params = with_key(self.rnn.network, params, layer_key)
        xs = drop(self.dropout, self._embedded(tokens), input_key)
        _, ys = unroll(self.rnn.network, params, xs, self.start(memory), lengths=lengths)
        return self.head(drop(self.dropout, ys, output_key))

    def step(
        self, attended: Attended | tuple[()], carry: PyTree, token: Integer[Array | np.ndarray | np.integer, "*batch"]
    ) -> tuple[Any, Float[Array, "*batch vocabulary"]]:
        """One token, `(carry, token) -> (carry, logits)`, of any batch shape: evaluation."""
        xs = self._embedded(jnp.asarray(token)[None])
        carry, ys = unroll(self.rnn.network, self.params(attended), xs, carry, backend=Scan())
        return carry, self.head(ys[0])

    def attention(
        self, attended: Attended | tuple[()], carry: PyTree, token: Integer[Array | np.ndarray | np.integer, "*batch"]
    ) -> Float[Array, "source_time *batch"]:
        """What the step on a token looks at.

        Raises:
            ValueError: the cell has no attention.
        """
        cell, params = self.attention_cell, self.params(attended)
        if cell is None:
            raise ValueError(
                f"Decoder.attention: the cell of `rnn` must have attention, got {self.rnn.cell}. Build the decoder "
                "with a BahdanauCell or LuongCell."
            )
        u = jax.tree.map(lambda u: u[0], cell.project(params, self._embedded(jnp.asarray(token)[None])))
        return cell.weights(params, carry, cell.step(params, carry, u)[0])  # before zoneout mixes what comes out

    def _embedded(self, tokens):
        xs = self.embed(jnp.asarray(tokens))
        return xs if self.rnn.dtype is None else cast(xs, self.rnn.dtype)


def _check_bare_parts(cell) -> None:
    for part in cell.parts if isinstance(cell, Network) else ():
        if isinstance(part, AttentionCell):
            raise ValueError(
                f"Decoder: the cell of `rnn` must look at the memory itself, got {part} inside a Stack, where no "
                "memory reaches it. Take it alone, or a Stack without attention."
            )
        _check_bare_parts(part)
