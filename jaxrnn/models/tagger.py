"""A tag for every step of a sequence: entities in a sentence, parts of speech."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Integer, PyTree

from jaxrnn.models.crf import Transitions
from jaxrnn.models.encoding import check_parts, drop, encode, split_key
from jaxrnn.models.heads import CRFHead, SoftmaxHead
from jaxrnn.nn import RNN

Lengths = Integer[Array | np.ndarray, " batch"]


class Tagger(nnx.Module):
    """A recurrent layer and an output layer that tags its steps: many to many, a tag for each input.

        ys = rnn(dropout(embed(inputs)))
        tags ~ head(dropout(ys))

    Of the three patterns of Goodfellow et al. (2016, ch. 10), with a SoftmaxHead it is the one with hidden recurrence
    and an output at every step.

    Shapes: inputs tokens (time, batch) with `embed`, else features (time, batch, rnn.in_features); tags (time, batch).

    Args:
        rnn: The recurrent layer; may be bidirectional.
        head: The output layer, `SoftmaxHead` or `CRFHead`, or a module with their methods `loss` and `decode`.
        embed: Makes features (time, batch, rnn.in_features) of the inputs: an nnx.Embed of tokens, or any module that
            is called on the inputs, which may be a pytree: words and their characters, for example, with a second
            recurrent layer over the characters as in Lample et al. (2016, https://arxiv.org/abs/1603.01360). What it
            puts out at padded steps does not matter, but its derivatives there have to be finite. Default None: the
            inputs are features.
        dropout: Rate on the features before the layer and on its outputs. Default: 0.

    Raises:
        TypeError: `rnn` is no recurrent layer; in a call, `key` is an nnx.Rngs.
        ValueError: `embed` and `rnn`, or `rnn` and `head`, do not fit.

    Example:
        >>> from jaxrnn import nn, LSTM
        >>> rngs = nnx.Rngs(0)
        >>> embed, rnn = nnx.Embed(10, 3, rngs=rngs), nn.Bidirectional(LSTM(4), in_features=3, rngs=rngs)
        >>> model = Tagger(rnn, CRFHead(rnn.out_features, tags=5, rngs=rngs), embed=embed)
        >>> tokens, lengths = jnp.zeros((7, 2), jnp.int32), jnp.array([7, 4])
        >>> model.loss(tokens, jnp.zeros((7, 2), jnp.int32), lengths, jax.random.key(1)).shape
        ()
        >>> model.decode(tokens, lengths).shape
        (7, 2)
    """

    def __init__(  # noqa: D107
        self, rnn: RNN, head: SoftmaxHead | CRFHead, *, embed: Callable | None = None, dropout: float = 0.0
    ):
        check_parts("Tagger", embed, rnn)
        linear = getattr(head, "linear", None)
        if isinstance(linear, nnx.Linear) and linear.in_features != rnn.out_features:
            raise ValueError(
                f"Tagger: `head` must take the {rnn.out_features} features of `rnn`, got one of {linear.in_features}. "
                "Build it with in_features=rnn.out_features."
            )
        self.rnn = rnn
        self.head = head
        self.embed = embed
        self.dropout = nnx.Dropout(dropout)

    def features(self, inputs: PyTree, lengths: Lengths, key=None) -> Float[Array, "time batch features"]:
        """What the head reads; `key` draws the noise of training."""
        encode_key, output_key = split_key("Tagger", key, 2)
        inputs = jax.tree.map(jnp.asarray, inputs)
        ys = encode("Tagger", self.embed, self.dropout, self.rnn, inputs, lengths, encode_key)
        return drop(self.dropout, ys, output_key)

    def loss(
        self, inputs: PyTree, tags: Integer[Array | np.ndarray, "time batch"], lengths: Lengths, key=None
    ) -> Float[Array, ""]:
        """That of the head: the mean negative log-likelihood a valid step, in nats; `key` draws the noise."""
        return self.head.loss(self.features(inputs, lengths, key), tags, lengths)

    def decode(self, inputs: PyTree, lengths: Lengths, allowed: Transitions | None = None) -> Int[Array, "time batch"]:
        """The most likely tags, 0 in padding, with `allowed` among the sequences that keep to it."""
        return self.head.decode(self.features(inputs, lengths), lengths, allowed)
