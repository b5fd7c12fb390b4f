"""Classification of whole sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxrnn import GRU, LSTM, Bidirectional, Stack, nn
from jaxrnn.models import AttentionPooling, MeanPooling, SequenceClassifier
from tests.checks import assert_close
from tests.models import by_hand

TIME, BATCH, FEATURES, CLASSES, WORDS = 6, 4, 3, 5, 7
LENGTHS = np.array([6, 0, 2, 5])
RNG = np.random.default_rng(0)
XS = np.where(np.arange(TIME)[:, None, None] < LENGTHS[:, None], RNG.normal(size=(TIME, BATCH, FEATURES)), np.nan)
TOKENS = RNG.integers(0, WORDS, (TIME, BATCH)).astype(np.int32)
LABELS = jnp.array([4, 0, 2, 1])


def build(cell, tokens=False, dtype=jnp.float64, pooling=None, **options):
    rngs = nnx.Rngs(0)
    embed = nnx.Embed(WORDS, FEATURES, param_dtype=dtype, rngs=rngs) if tokens else None
    rnn = nn.RNN(cell, FEATURES, param_dtype=dtype, rngs=rngs)
    return by_hand.stirred(SequenceClassifier(rnn, CLASSES, embed=embed, pooling=pooling, rngs=rngs, **options))


def loss(model, inputs=XS, key=None):
    each = optax.softmax_cross_entropy_with_integer_labels(model(inputs, LENGTHS, key), LABELS)
    return jnp.mean(each)


def test_features_through_a_bidirectional_layer():
    """The forward half at the last step beside the backward half at the first, and a linear layer."""
    cell = Stack((GRU(2), Bidirectional(GRU(3), LSTM(4))))
    model = build(cell)
    ys = by_hand.layer_outputs(model.rnn, XS, LENGTHS)
    pooled = np.stack([np.append(ys[max(n - 1, 0), row, :3], ys[0, row, 3:]) for row, n in enumerate(LENGTHS)])
    assert (pooled[1] == 0).all() and pooled[[0, 2, 3]].all()
    assert_close(model(XS, LENGTHS), by_hand.linear(model.head, pooled), 1e-12)
    by_hand.check_model_gradient(model, loss)


def test_tokens_and_another_pooling():
    model = build(LSTM(4), tokens=True, pooling=MeanPooling())
    ys = by_hand.layer_outputs(model.rnn, np.asarray(model.embed.embedding[...])[TOKENS], LENGTHS)
    pooled = ys.sum(axis=0) / np.maximum(LENGTHS, 1)[:, None]
    assert_close(model(TOKENS, LENGTHS), by_hand.linear(model.head, pooled), 1e-12)
    spoilt = np.where(np.arange(TIME)[:, None] < LENGTHS, TOKENS, WORDS - 1)
    assert_close(model(spoilt, LENGTHS), model(TOKENS, LENGTHS), 0)
    assert_close(model(TOKENS), model(TOKENS, np.full(BATCH, TIME)), 0)


def test_dropout():
    """On the inputs and on the pooled features; each by itself is seen where the other cannot act."""
    model = build(GRU(4), tokens=True, dtype=jnp.float32, dropout=0.5)
    by_hand.check_noise(lambda model, key: model(TOKENS, LENGTHS, key), model)
    empty = np.zeros(BATCH, int)
    model.head.bias[...] = jnp.zeros(CLASSES, jnp.float32)
    assert not np.asarray(model(TOKENS, empty, jax.random.key(0))).any()
    model.head.kernel[...] = jnp.ones((4, CLASSES), jnp.float32)
    model.pooling = lambda ys, lengths: jnp.ones((BATCH, 4), jnp.float32)
    drawn = np.asarray(model(TOKENS, LENGTHS, jax.random.key(0)))
    assert set(np.unique(drawn)) <= {0.0, 2.0, 4.0, 6.0, 8.0} and len(np.unique(drawn)) > 1


def test_it_learns_in_the_trainer_in_float32():
    rngs = nnx.Rngs(1)
    attention = AttentionPooling(4, rngs=rngs)
    for model in (
        build(GRU(4), tokens=True, dtype=jnp.float32, dropout=0.1),
        build(GRU(4), tokens=True, dtype=jnp.float32, pooling=attention),
    ):
        assert model(TOKENS, LENGTHS).dtype == jnp.float32
        by_hand.check_learns(model, lambda model, key: loss(model, TOKENS, key))


def test_what_does_not_fit_is_refused_in_words(without_type_checks):
    rngs = nnx.Rngs(0)
    rnn = nn.RNN(GRU(2), 3, rngs=rngs)
    with pytest.raises(TypeError, match="SequenceClassifier: `rnn` must be a recurrent layer.*got GRU. Of a cell make"):
        SequenceClassifier(GRU(2), 2, rngs=rngs)
    with pytest.raises(ValueError, match="`embed` must have the 3 features that `rnn` takes, got 4. Build the layer"):
        SequenceClassifier(rnn, 2, embed=nnx.Embed(5, 4, rngs=rngs), rngs=rngs)
    with pytest.raises(TypeError, match=r"SequenceClassifier: `key` must be a key, got Rngs. Give rngs.dropout\(\)"):
        SequenceClassifier(rnn, 2, rngs=rngs)(jnp.ones((2, 1, 3), jnp.float32), key=rngs)
