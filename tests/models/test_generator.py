"""One vector to a sequence."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import GRU, LSTM, Stack, nn
from jaxrnn.models import ContextGenerator, LanguageModel
from jaxrnn.train.losses import cross_entropy
from tests.checks import assert_close
from tests.models import by_hand

TIME, BATCH, FEATURES, WORDS, CONTEXT = 5, 4, 3, 6, 2
LENGTHS = np.array([5, 0, 2, 4])
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, WORDS, (TIME, BATCH)).astype(np.int32)
CELL = LSTM(FEATURES)
CONTEXTS = RNG.normal(size=(BATCH, CONTEXT))


def build(cell=CELL, dtype=jnp.float64, **options):
    rngs = nnx.Rngs(0)
    embed = nnx.Embed(WORDS, FEATURES, param_dtype=dtype, rngs=rngs)
    rnn = nn.RNN(cell, FEATURES, param_dtype=dtype, rngs=rngs)
    model = ContextGenerator(LanguageModel(embed, rnn, **options), CONTEXT, rngs=rngs)
    return by_hand.stirred(model)


def loss(model, key=None):
    logits = model(CONTEXTS.astype(model.bridge.linear.param_dtype), TOKENS, LENGTHS, key)
    return cross_entropy(logits[:-1], TOKENS[1:], np.arange(1, TIME)[:, None] < LENGTHS)


def test_teacher_forcing_from_the_vector():
    model = build()
    E = np.asarray(model.language_model.embed.embedding[...])
    values = np.tanh(by_hand.linear(model.bridge.linear, CONTEXTS))
    ys = by_hand.layer_outputs(model.language_model.rnn, E[TOKENS], LENGTHS, (values[:, :3], values[:, 3:]))
    expected = ys @ E.T + np.asarray(model.language_model.bias[...])
    assert_close(model(CONTEXTS, TOKENS, LENGTHS), expected, 1e-12)
    by_hand.check_model_gradient(model, loss)


def test_steps_give_what_the_call_gives():
    model = build(Stack((LSTM(2), GRU(FEATURES))))
    logits = model(CONTEXTS, TOKENS)
    carry, single = model.start(CONTEXTS), model.start(CONTEXTS[1])
    for t in range(TIME):
        carry, row = model.step(carry, TOKENS[t])
        single, one = model.step(single, jnp.int32(TOKENS[t, 1]))
        assert_close(row, logits[t], 1e-12)
        assert_close(one, logits[t, 1], 1e-12)
    assert np.ptp(np.asarray(logits[0]), axis=0).min() > 1e-3


def test_it_learns_in_the_trainer_and_noise_comes_from_the_key():
    model = build(dtype=jnp.float32, dropout=0.1)
    contexts = CONTEXTS.astype(np.float32)
    assert model(contexts, TOKENS).dtype == jnp.float32
    by_hand.check_noise(lambda model, key: model(contexts, TOKENS, LENGTHS, key), model)
    by_hand.check_learns(model, loss)


def test_another_model_is_refused_in_words(without_type_checks):
    with pytest.raises(TypeError, match="ContextGenerator: `language_model` must be a .*LanguageModel, got GRU"):
        ContextGenerator(GRU(3), 2, rngs=nnx.Rngs(0))
