"""Valid steps, whatever dtype lengths come in; and where models drop what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import GRU, nn
from jaxrnn.models import (
    Decoder,
    Encoder,
    LanguageModel,
    MeanPooling,
    SequenceClassifier,
    SoftmaxHead,
    Tagger,
    valid_steps,
)
from jaxrnn.models.encoding import split_key

TIME, BATCH, WORDS, FEATURES, HIDDEN = 5, 3, 11, 2, 4
TOKENS, LENGTHS = jnp.ones((TIME, BATCH), jnp.int32), jnp.full(BATCH, TIME)


def parts(kind):
    """How a model is called, and the shapes of what it drops."""
    rngs = nnx.Rngs(0)
    embed, rnn = nnx.Embed(WORDS, FEATURES, rngs=rngs), nn.RNN(GRU(HIDDEN), FEATURES, rngs=rngs)
    inputs, outputs = (TIME, BATCH, FEATURES), (TIME, BATCH, HIDDEN)
    head = nnx.Linear(HIDDEN, WORDS, rngs=rngs)
    if kind == "classifier":
        model = SequenceClassifier(rnn, 2, embed=embed, dropout=0.5, rngs=rngs)
        return lambda key: model(TOKENS, LENGTHS, key), [inputs, (BATCH, HIDDEN)]
    if kind == "tagger":
        model = Tagger(rnn, SoftmaxHead(HIDDEN, 3, rngs=rngs), embed=embed, dropout=0.5)
        return lambda key: model.features(TOKENS, LENGTHS, key), [inputs, outputs]
    if kind == "language model":
        model = LanguageModel(embed, rnn, head=head, dropout=0.5)
        return lambda key: model(TOKENS, key=key), [inputs, outputs]
    encoder = Encoder(embed, rnn, dropout=0.5)
    if kind == "encoder":
        return lambda key: encoder(TOKENS, LENGTHS, key), [inputs]
    decoder = Decoder(embed, rnn, encoder.final_features, dropout=0.5, rngs=rngs)
    memory = encoder(TOKENS, LENGTHS)
    return lambda key: decoder(memory, TOKENS, LENGTHS, key), [inputs, outputs]


@pytest.mark.parametrize("kind", ["classifier", "tagger", "language model", "encoder", "decoder"])
def test_inputs_and_outputs_are_dropped_each_by_a_key_of_its_own(kind, monkeypatch):
    calls = []

    def recorded(self, x, *, rngs):
        calls.append((x.shape, tuple(jax.random.key_data(rngs).tolist())))
        return x

    monkeypatch.setattr(nnx.Dropout, "__call__", recorded)
    call, shapes = parts(kind)
    call(None)
    assert not calls
    call(jax.random.key(0))
    assert [shape for shape, _ in calls] == shapes
    assert len({key for _, key in calls}) == len(calls)


def test_one_key_gives_as_many_different_ones():
    keys = split_key("it", jax.random.key(3), 4)
    assert len({tuple(jax.random.key_data(key).tolist()) for key in (*keys, jax.random.key(3))}) == 5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_lengths_of_any_whole_dtype_are_read(dtype):
    lengths = np.array([200, 0, 7], dtype)
    valid = valid_steps(300, lengths)
    np.testing.assert_array_equal(valid.sum(axis=0), [200, 0, 7])
    np.testing.assert_array_equal(valid, np.arange(300)[:, None] < np.array([200, 0, 7]))
    ys = jnp.where(valid[..., None], jnp.float32(2), jnp.float32(jnp.nan))
    np.testing.assert_array_equal(MeanPooling()(ys, lengths)[:, 0], [2, 0, 2])
