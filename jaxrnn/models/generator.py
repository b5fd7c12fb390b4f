"""A sequence told by one vector: a caption of an image, a text of a class."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Integer, PyTree

from jaxrnn.models.bridge import Bridge
from jaxrnn.models.language import LanguageModel


class ContextGenerator(nnx.Module):
    """A language model whose carry starts from a vector: one to many.

        carry_0 = tanh(W context + b)
        carry_t, logits_t = language_model(token_t, carry_{t-1})

    Every array of the carry is learned, see `Bridge`.

    Shapes: context (*batch, context_features), tokens (time, *batch), logits (time, *batch, vocabulary).

    Args:
        language_model: Tells the next token.
        context_features: Features of the vector.
        rngs: The initial parameters come from its stream `params`.

    Raises:
        TypeError: `language_model` is none.

    Example:
        >>> from jaxrnn import nn, GRU
        >>> rngs = nnx.Rngs(0)
        >>> language_model = LanguageModel(nnx.Embed(11, 4, rngs=rngs), nn.RNN(GRU(4), in_features=4, rngs=rngs))
        >>> model = ContextGenerator(language_model, context_features=3, rngs=rngs)
        >>> model(jnp.ones((2, 3), jnp.float32), jnp.zeros((6, 2), jnp.int32)).shape
        (6, 2, 11)
        >>> carry, logits = model.step(model.start(jnp.ones(3, jnp.float32)), jnp.int32(2))
        >>> logits.shape
        (11,)
    """

    def __init__(self, language_model: LanguageModel, context_features: int, *, rngs: nnx.Rngs):  # noqa: D107
        if not isinstance(language_model, LanguageModel):
            raise TypeError(
                "ContextGenerator: `language_model` must be a jaxrnn.models.LanguageModel, got "
                f"{type(language_model).__name__}. Make one."
            )
        rnn = language_model.rnn
        self.language_model = language_model
        self.bridge = Bridge(rnn.cell, context_features, dtype=rnn.dtype, param_dtype=rnn.param_dtype, rngs=rngs)

    def start(self, context: Float[Array | np.ndarray, "*batch context"]) -> Any:
        """The carry that a sequence starts from."""
        return self.bridge(jnp.asarray(context))

    def __call__(
        self,
        context: Float[Array | np.ndarray, "*batch context"],
        tokens: Integer[Array | np.ndarray, "time *batch"],
        lengths=None,
        key=None,
    ) -> Float[Array, "time *batch vocabulary"]:
        """Logits of what follows each true token; `key` draws the noise of training."""
        return self.language_model(tokens, self.start(context), lengths=lengths, key=key)[1]

    def step(
        self, carry: PyTree, token: Integer[Array | np.ndarray, "*batch"]
    ) -> tuple[Any, Float[Array, "*batch vocabulary"]]:
        """One token, `(carry, token) -> (carry, logits)`, of any batch shape: evaluation, for decoding."""
        return self.language_model.step(carry, token)
