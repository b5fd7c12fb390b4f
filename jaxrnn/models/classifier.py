"""One class for a whole sequence: sentiment of a sentence, kind of a signal."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Real

from jaxrnn.models.encoding import check_parts, drop, encode, split_key
from jaxrnn.models.pooling import LastState, Lengths
from jaxrnn.nn import RNN


class SequenceClassifier(nnx.Module):
    """A recurrent layer, a pooling over its outputs, and one linear layer to the classes: many to one.

        ys = rnn(dropout(embed(inputs)))
        logits = V dropout(pooling(ys)) + c

    Of the three patterns of Goodfellow et al. (2016, ch. 10) it is the one with a single output at the end. The loss
    is the caller's, for example `optax.softmax_cross_entropy_with_integer_labels`.

    Shapes: inputs are tokens (time, batch) with `embed`, else features (time, batch, rnn.in_features); logits
    (batch, classes).

    Args:
        rnn: The recurrent layer; may be bidirectional.
        classes: Number of classes.
        embed: Makes features of the inputs, such as an nnx.Embed of tokens. Default None: they are features.
        pooling: Called `(ys, lengths) -> (batch, rnn.out_features)`. Default: `LastState(rnn.cell)`.
        dropout: Rate on the features before the layer and on the pooled ones. Default: 0.
        rngs: The initial parameters come from its stream `params`.

    Raises:
        TypeError: `rnn` is no recurrent layer; in a call, `key` is an nnx.Rngs.
        ValueError: `embed` and `rnn` do not fit.

    Example:
        >>> from jaxrnn import nn, LSTM
        >>> rngs = nnx.Rngs(0)
        >>> embed, rnn = nnx.Embed(10, 3, rngs=rngs), nn.Bidirectional(LSTM(4), in_features=3, rngs=rngs)
        >>> model = SequenceClassifier(rnn, classes=2, embed=embed, dropout=0.5, rngs=rngs)
        >>> model(jnp.zeros((7, 5), jnp.int32), jnp.array([7, 3, 2, 1, 0])).shape
        (5, 2)
    """

    def __init__(  # noqa: D107
        self,
        rnn: RNN,
        classes: int,
        *,
        embed: Callable | None = None,
        pooling: Callable | None = None,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        check_parts("SequenceClassifier", embed, rnn)
        self.embed = embed
        self.rnn = rnn
        self.pooling = LastState(rnn.cell) if pooling is None else pooling
        self.dropout = nnx.Dropout(dropout)
        self.head = nnx.Linear(rnn.out_features, classes, dtype=rnn.dtype, param_dtype=rnn.param_dtype, rngs=rngs)

    def __call__(
        self, inputs: Real[Array | np.ndarray, "time batch *features"], lengths: Lengths = None, key=None
    ) -> Float[Array, "batch classes"]:
        """Logits; `key` draws the noise of training, None evaluates."""
        encode_key, pooled_key = split_key("SequenceClassifier", key, 2)
        inputs = jnp.asarray(inputs)
        ys = encode("SequenceClassifier", self.embed, self.dropout, self.rnn, inputs, lengths, encode_key)
        pooled = self.pooling(ys, None if lengths is None else jnp.asarray(lengths))
        return self.head(drop(self.dropout, pooled, pooled_key))
