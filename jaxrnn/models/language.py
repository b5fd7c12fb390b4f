"""Language models: what token comes next."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Integer, PyTree

from jaxrnn.backends.scan import Scan
from jaxrnn.models.encoding import check_forward, check_parts, drop, split_key
from jaxrnn.nn import RNN
from jaxrnn.numerics import carry_dtype

Tokens = Integer[Array | np.ndarray, "time *batch"]


class LanguageModel(nnx.Module):
    """Embedded tokens, a recurrent layer, and at each step the logits of the token that follows.

        carry, ys = rnn(dropout(embed(tokens)))
        logits_t = E dropout(y_t) + c        tied: E is the matrix of the embedding
        logits_t = head(dropout(y_t))        with `head`

    Tied weights: Press & Wolf (2017, https://arxiv.org/abs/1608.05859) and Inan et al. (2017,
    https://arxiv.org/abs/1611.01462). Dropout on inputs and outputs, not between steps: Zaremba et al. (2014,
    https://arxiv.org/abs/1409.2329); noise between layers and steps is the layer's own, see `jaxrnn.nn.RNN`.

    Shapes: tokens (time, *batch), logits (time, *batch, vocabulary).

    Args:
        embed: Embedding of the tokens; its `num_embeddings` is the vocabulary.
        rnn: The recurrent layer. It has to run forward alone: what runs backward has seen the tokens it should tell.
        head: Maps outputs to logits, such as an nnx.Linear. Default None: the embedding does, and a bias.
        dropout: Rate on the embedded tokens and on the outputs. Default: 0.

    Raises:
        TypeError: `embed` is no nnx.Embed, `rnn` no recurrent layer; in a call, `key` is an nnx.Rngs.
        ValueError: a Bidirectional is in `rnn`; the features of `embed` are not those that `rnn` takes, or, tied, not
            those that it gives; a linear `head` does not fit.

    Example:
        >>> from jaxrnn import nn, GRU
        >>> rngs = nnx.Rngs(0)
        >>> model = LanguageModel(nnx.Embed(11, 4, rngs=rngs), nn.RNN(GRU(4), in_features=4, rngs=rngs))
        >>> carry, logits = model(jnp.zeros((6, 2), jnp.int32))
        >>> carry, logits = model(jnp.zeros((6, 2), jnp.int32), carry)  # the next segment
        >>> logits.shape
        (6, 2, 11)
        >>> carry, logits = model.step(model.init_carry(), jnp.int32(3))  # one token of one text
        >>> logits.shape
        (11,)
    """

    def __init__(  # noqa: D107
        self, embed: nnx.Embed, rnn: RNN, *, head: Callable | None = None, dropout: float = 0.0
    ):
        if not isinstance(embed, nnx.Embed):
            raise TypeError(f"LanguageModel: `embed` must be an nnx.Embed, got {type(embed).__name__}. Give one.")
        check_parts("LanguageModel", embed, rnn)
        check_forward("LanguageModel", rnn.cell)
        _check_head(embed, rnn, head)
        self.embed = embed
        self.rnn = rnn
        self.head = head
        self.bias = nnx.Param(jnp.zeros(embed.num_embeddings, embed.param_dtype)) if head is None else None
        self.dropout = nnx.Dropout(dropout)

    def init_carry(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """The carry that a text starts from."""
        dtype = self.embed.dtype if self.rnn.dtype is None else self.rnn.dtype
        return self.rnn.cell.init_carry(batch_shape, carry_dtype(dtype))

    def __call__(
        self, tokens: Tokens, carry: PyTree = None, *, lengths=None, key=None
    ) -> tuple[Any, Float[Array, "time *batch vocabulary"]]:
        """(carry, logits) of a segment; `lengths` as for `jaxrnn.unroll`, `key` draws the noise of training."""
        return self._run(tokens, carry, key, lengths=lengths)

    def step(
        self, carry: PyTree, token: Integer[Array | np.ndarray, "*batch"]
    ) -> tuple[Any, Float[Array, "*batch vocabulary"]]:
        """One token, `(carry, token) -> (carry, logits)`, of any batch shape: evaluation, for decoding."""
        carry, logits = self._run(jnp.asarray(token)[None], carry, None, backend=Scan())
        return carry, logits[0]

    def _run(self, tokens, carry, key, **how):
        input_key, layer_key, output_key = split_key("LanguageModel", key, 3)
        xs = drop(self.dropout, self.embed(jnp.asarray(tokens)), input_key)
        carry, ys = self.rnn(xs, carry, key=layer_key, **how)
        ys = drop(self.dropout, ys, output_key)
        if self.head is not None:
            return carry, self.head(ys)
        assert self.bias is not None
        logits = self.embed.attend(ys)
        return carry, logits + self.bias[...].astype(logits.dtype)


def _check_head(embed: nnx.Embed, rnn: RNN, head) -> None:
    if head is None and rnn.out_features != embed.features:
        raise ValueError(
            f"LanguageModel: without `head` the embedding gives the logits, and `rnn` must put out its "
            f"{embed.features} features, got {rnn.out_features}. Make both equal, or give a head such as "
            f"nnx.Linear({rnn.out_features}, {embed.num_embeddings}, rngs=rngs)."
        )
    fitting = rnn.out_features, embed.num_embeddings
    if isinstance(head, nnx.Linear) and (head.in_features, head.out_features) != fitting:
        raise ValueError(
            f"LanguageModel: `head` must map the {fitting[0]} features of `rnn` to the {fitting[1]} tokens of `embed`, "
            f"got {head.in_features} to {head.out_features}. Build it with nnx.Linear{fitting}."
        )
