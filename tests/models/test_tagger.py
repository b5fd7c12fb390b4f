"""Taggers of both kinds."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import GRU, LSTM, Bidirectional, nn
from jaxrnn.models import CRFHead, LastState, SoftmaxHead, Tagger, bio_constraints
from tests.checks import assert_close
from tests.models import by_hand

TIME, BATCH, FEATURES, WORDS, TAGS = 5, 4, 3, 7, 3
LENGTHS = np.array([5, 0, 2, 4])
VALID = np.arange(TIME)[:, None] < LENGTHS
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, WORDS, (TIME, BATCH)).astype(np.int32)
TARGETS = np.where(VALID, RNG.integers(0, TAGS, (TIME, BATCH)), -1)
XS = np.where(VALID[..., None], RNG.normal(size=(TIME, BATCH, FEATURES)), np.nan)
CELL = GRU(4)


def build(head=SoftmaxHead, cell=CELL, tokens=True, dtype=jnp.float64, **options):
    rngs = nnx.Rngs(0)
    embed = nnx.Embed(WORDS, FEATURES, param_dtype=dtype, rngs=rngs) if tokens else None
    rnn = nn.RNN(cell, FEATURES, param_dtype=dtype, rngs=rngs)
    top = head(cell.output_size, TAGS, param_dtype=dtype, rngs=rngs)
    return by_hand.stirred(Tagger(rnn, top, embed=embed, **options))


def test_softmax_over_tokens():
    model = build()
    ys = by_hand.layer_outputs(model.rnn, np.asarray(model.embed.embedding[...])[TOKENS], LENGTHS)
    each = by_hand.log_softmax(by_hand.linear(model.head.linear, ys))
    expected = -np.take_along_axis(each, np.maximum(TARGETS, 0)[..., None], -1)[VALID].mean()
    np.testing.assert_allclose(model.loss(TOKENS, TARGETS, LENGTHS), expected, rtol=1e-12)
    np.testing.assert_array_equal(model.decode(TOKENS, LENGTHS), np.where(VALID, each.argmax(axis=-1), 0))
    by_hand.check_model_gradient(model, lambda model: model.loss(TOKENS, TARGETS, LENGTHS))


def test_a_field_over_features_in_both_directions():
    """The head gets the layer's outputs; NaN in the padding of features reaches nothing."""
    model = build(CRFHead, Bidirectional(GRU(2), LSTM(3)), tokens=False)
    ys = jnp.asarray(by_hand.layer_outputs(model.rnn, XS, LENGTHS))
    assert_close(model.features(XS, LENGTHS), ys, 1e-12)
    loss = model.loss(XS, TARGETS, LENGTHS)
    np.testing.assert_allclose(loss, model.head.loss(ys, TARGETS, LENGTHS), rtol=1e-12)
    np.testing.assert_array_equal(model.decode(XS, LENGTHS), model.head.decode(ys, LENGTHS))
    allowed = bio_constraints(["O", "B-X", "I-X"])
    np.testing.assert_array_equal(model.decode(XS, LENGTHS, allowed), model.head.decode(ys, LENGTHS, allowed))
    by_hand.check_model_gradient(model, lambda model: model.loss(XS, TARGETS, LENGTHS))


class WordsAndLetters(nnx.Module):
    """Each word's vector beside the last states of a layer over its letters, as in Lample et al."""

    def __init__(self, rngs):
        self.words, self.letters = nnx.Embed(WORDS, 3, rngs=rngs), nnx.Embed(4, 2, rngs=rngs)
        self.rnn = nn.Bidirectional(GRU(1), in_features=2, rngs=rngs)

    def __call__(self, inputs):
        words, letters, lengths = inputs
        flat = self.letters(letters.reshape(letters.shape[0], -1))
        _, ys = self.rnn(flat, lengths=lengths.reshape(-1))
        last = LastState(self.rnn.cell)(ys, lengths.reshape(-1))
        return jnp.concatenate([self.words(words), last.reshape(*words.shape, -1)], axis=-1)


def test_an_embedding_of_a_pytree_learns_in_the_trainer():
    letters = RNG.integers(0, 4, (6, TIME, BATCH)).astype(np.int32)
    inputs = TOKENS, letters, np.where(VALID, 1 + letters[0], 0)
    rngs = nnx.Rngs(0)
    rnn = nn.Bidirectional(GRU(4), in_features=5, rngs=rngs)
    model = Tagger(rnn, CRFHead(8, TAGS, rngs=rngs), embed=WordsAndLetters(rngs), dropout=0.1)
    by_hand.check_learns(model, lambda model, key: model.loss(inputs, TARGETS, LENGTHS, key))


def test_dropout():
    """On inputs and outputs, for the loss; decoding has no key."""
    model = build(dtype=jnp.float32, dropout=0.5)
    by_hand.check_noise(lambda model, key: model.features(TOKENS, LENGTHS, key), model)
    model.embed = lambda tokens: jnp.zeros((*tokens.shape, FEATURES), jnp.float32)
    ys, drawn = (np.asarray(model.features(TOKENS, LENGTHS, key)) for key in (None, nnx.Rngs(0).dropout()))
    assert set(np.unique((drawn[VALID] / ys[VALID]).round(5))) == {0, 2}
    loss = model.loss(TOKENS, TARGETS, LENGTHS, nnx.Rngs(0).dropout())
    np.testing.assert_allclose(loss, model.head.loss(jnp.asarray(drawn), TARGETS, LENGTHS), rtol=1e-6)
    assert loss.dtype == jnp.float32


def test_what_does_not_fit_is_refused_in_words(without_type_checks):
    rngs = nnx.Rngs(0)
    rnn = nn.RNN(GRU(4), 3, rngs=rngs)
    with pytest.raises(ValueError, match="Tagger: `head` must take the 4 features of `rnn`, got one of 3. Build it"):
        Tagger(rnn, SoftmaxHead(3, TAGS, rngs=rngs))
    with pytest.raises(TypeError, match="Tagger: `rnn` must be a recurrent layer"):
        Tagger(GRU(4), SoftmaxHead(4, TAGS, rngs=rngs))
    with pytest.raises(ValueError, match="Tagger: `embed` must have the 3 features that `rnn` takes, got 2"):
        Tagger(rnn, SoftmaxHead(4, TAGS, rngs=rngs), embed=nnx.Embed(5, 2, rngs=rngs))
    with pytest.raises(TypeError, match="Tagger: `key` must be a key, got Rngs"):
        Tagger(rnn, SoftmaxHead(4, TAGS, rngs=rngs)).features(jnp.ones((2, 1, 3), jnp.float32), None, rngs)
