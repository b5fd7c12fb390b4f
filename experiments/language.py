"""What both language models share: a text as windows that follow one another, and the training of a model on them."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.fitting import mean_loss
from jaxrnn.data import Segments
from jaxrnn.models import LanguageModel
from jaxrnn.tasks import Batch
from jaxrnn.train import Trainer, TrainState, losses

Placed = tuple[Batch, np.bool_]  # a window, and whether the carry begins anew before it


class Stream:
    """A text in rows, read window by window, each with whether it begins the text anew."""

    def __init__(self, tokens: np.ndarray, batch: int, window: int):
        """Raises ValueError where the text is too short for one window in each row."""
        try:
            self._segments = Segments(tokens, batch, window)
        except ValueError as error:
            raise ValueError(f"--batch, --window: a text of {len(tokens):,} tokens is too short. {error}") from error
        self.tokens = tokens

    def __len__(self) -> int:
        """Windows until the text begins anew."""
        return len(self._segments)

    def at(self, position: int) -> Placed:
        """The window at a position."""
        return self._segments.at(position), np.bool_(self._segments.begins(position))


class Reader:
    """A language model, its trainer, and its score on a text."""

    def __init__(self, model: LanguageModel, optimizer: optax.GradientTransformation, clip: float, batch: int):
        """Takes the model apart into what is trained and what is not."""
        self._graph, self.start = nnx.split(model, nnx.Param)
        self._fresh = model.init_carry((batch,))
        self._score: Callable = jax.jit(self._loss)
        self.trainer = Trainer(self._loss, optimizer, clip=optax.clip_by_global_norm(clip))

    def init(self, key) -> TrainState:
        """The state before the first update."""
        return self.trainer.init(self.start, key, self._fresh)

    def model(self, params) -> LanguageModel:
        """The model with such parameters."""
        return nnx.merge(self._graph, params)

    def nats(self, params, stream: Stream) -> float:
        """The mean over every token of a text but the first, the carry handed on."""
        return mean_loss(self._scores(params, stream))

    def _scores(self, params, stream: Stream) -> Iterator[tuple[Any, dict[str, Any]]]:
        carry = self._fresh
        for position in range(len(stream)):
            mean, (carry, aux) = self._score(params, carry, stream.at(position), None)
            yield mean, aux

    def _loss(self, params, carry, placed: Placed, key) -> tuple[Any, tuple[Any, dict[str, Any]]]:
        batch, begins = placed
        carry = jax.tree.map(lambda fresh, handed: jnp.where(begins, fresh, handed), self._fresh, carry)
        carry, logits = self.model(params)(batch.inputs, carry, key=key)
        aux = {"tokens": jnp.sum(batch.mask).astype(jnp.int32)}
        return losses.cross_entropy(logits, batch.targets, batch.mask), (jax.lax.stop_gradient(carry), aux)
