"""The networks of the sentiment experiment: the feed-forward ones, and what is asked of any network."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxrnn.data import Buckets, Vocabulary, batches, lengths
from jaxrnn.models.encoding import drop, valid_steps
from jaxrnn.numerics import zero_unless
from jaxrnn.train import Trainer, TrainState, losses

Sentences = Sequence[Sequence[str]]


class Window:
    """Pooling, as in `jaxrnn.models`: the first words' vectors side by side, zeros where there is no word."""

    def __init__(self, words: int):
        """Of so many words."""
        self.words = words

    def __call__(self, ys, lengths):
        """(time, batch, features) to (batch, words * features)."""
        ys = zero_unless(valid_steps(ys.shape[0], lengths), ys)[: self.words]
        ys = jnp.pad(ys, ((0, self.words - ys.shape[0]), (0, 0), (0, 0)))
        return jnp.moveaxis(ys, 0, 1).reshape(ys.shape[1], -1)


class Perceptron(nnx.Module):
    """One hidden layer on embeddings of which a pooling made one vector."""

    def __init__(self, embed: nnx.Embed, pooling: Callable, pooled: int, hidden_size: int, dropout: float, rngs):
        """Draws the parameters; `pooled` are the features of that vector."""
        self.embed, self.pooling, self.dropout = embed, pooling, nnx.Dropout(dropout)
        self.hidden = nnx.Linear(pooled, hidden_size, rngs=rngs)
        self.head = nnx.Linear(hidden_size, 2, rngs=rngs)

    def __call__(self, inputs, lengths, key=None):
        """Logits (batch, 2)."""
        first, second = (None, None) if key is None else jax.random.split(key)
        pooled = self.pooling(drop(self.dropout, self.embed(inputs), first), lengths)
        return self.head(drop(self.dropout, nnx.relu(self.hidden(pooled)), second))


class Judge:
    """One kind of network: how it is trained, and its margins, the log-odds of praise, for any sentences."""

    def __init__(self, make: Callable, vocabulary: Vocabulary, rate: float, batch: int, longest: int):
        """Networks of a kind are alike but for their parameters, so that all are compiled once.

        Sentences to be judged, of at most `longest` words, are all filled up to that length, again to compile once.
        """
        self._make, self._vocabulary, self._batch, self._longest = make, vocabulary, batch, longest
        self._graph, _ = nnx.split(make(rngs=nnx.Rngs(0)), nnx.Param)
        self._logits = jax.jit(lambda params, inputs, lengths: self._model(params)(inputs, lengths))
        self._weights = jax.jit(self._weights_of)
        self.trainer = Trainer(self._loss, optax.adam(rate), clip=optax.clip_by_global_norm(1.0))

    def init(self, key) -> TrainState:
        """The state before the first update."""
        return self.trainer.init(nnx.state(self._make(rngs=nnx.Rngs(key)), nnx.Param), key)

    def margins(self, params, sentences: Sentences) -> np.ndarray:
        """The log-odds of praise for each sentence."""
        found = np.zeros(len(sentences))
        for batch in batches(self._numbered(sentences, self._batch)):
            counted = batch.mask.any(axis=0)
            inputs = np.pad(batch.inputs, ((0, self._longest - len(batch.inputs)), (0, 0)))
            logits = np.asarray(self._logits(params, inputs, lengths(batch.mask)))[counted]
            found[batch.targets[counted]] = logits[:, 1] - logits[:, 0]
        return found

    def attention(self, params, sentences: Sentences) -> list[np.ndarray]:
        """The weight of each word of each sentence."""
        batch = self._numbered(sentences, len(sentences)).at(0)
        weights = np.asarray(self._weights(params, batch.inputs, lengths(batch.mask))).T[np.argsort(batch.targets)]
        return [row[: len(sentence)] for row, sentence in zip(weights, sentences, strict=True)]

    def _numbered(self, sentences: Sentences, batch: int) -> Buckets:
        return Buckets([*map(self._vocabulary.encode, sentences)], np.arange(len(sentences)), batch, buckets=1)

    def _model(self, params) -> Any:
        return nnx.merge(self._graph, params)

    def _weights_of(self, params, inputs, lengths):
        model = self._model(params)
        return model.pooling.weights(model.rnn(model.embed(inputs), lengths=lengths)[1], lengths)

    def _loss(self, params, batch, key):
        ends = lengths(batch.mask)
        logits = self._model(params)(batch.inputs, ends, key=key)
        loss = losses.cross_entropy(logits[None], batch.targets, (ends > 0)[None])
        return loss, {"tokens": jnp.sum(ends).astype(jnp.int32)}
