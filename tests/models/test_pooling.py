"""Pooling against NumPy on ragged sequences with NaN in their padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import GRU, LSTM, Bidirectional, Elman, Stack, nn
from jaxrnn.models import AttentionPooling, LastState, MeanPooling
from jaxrnn.stochastic import regularize
from tests.checks import assert_close
from tests.models.by_hand import check_gradient, check_model_gradient, stirred

TIME, BATCH, FEATURES = 5, 4, 6
LENGTHS = np.array([5, 0, 3, 1])
CLEAN = np.random.default_rng(0).normal(size=(TIME, BATCH, FEATURES))
YS = np.where(np.arange(TIME)[:, None, None] < LENGTHS[:, None], CLEAN, np.nan)
WEIGHTS = np.random.default_rng(1).normal(size=(BATCH, FEATURES))

NESTED = Bidirectional(GRU(3), Bidirectional(Elman(2), GRU(1)))  # what runs backward inside backward runs forward
CELLS = {
    "cell": (LSTM(6), []),
    "stack": (Stack((Bidirectional(GRU(3), GRU(4)), GRU(6))), []),
    "bidirectional": (Bidirectional(GRU(2), LSTM(4)), [2, 3, 4, 5]),
    "stack of bidirectional": (Stack((GRU(2), Bidirectional(GRU(5), GRU(1)))), [5]),
    "nested": (NESTED, [3, 4]),
    "regularized": (regularize(Bidirectional(GRU(4), GRU(2)), zoneout=0.1), [4, 5]),
}


def attention():
    return stirred(AttentionPooling(FEATURES, param_dtype=jnp.float64, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("cell, backward", CELLS.values(), ids=CELLS.keys())
def test_last_state(cell, backward):
    expected = np.zeros((BATCH, FEATURES))
    for row, length in enumerate(LENGTHS):
        if length:
            expected[row] = YS[length - 1, row]
            expected[row, backward] = YS[0, row, backward]
    assert_close(LastState(cell)(jnp.asarray(YS), LENGTHS), expected, 0)


def test_last_state_is_where_the_carries_of_a_layer_end():
    for cell in (NESTED, Bidirectional(LSTM(3), GRU(3)), LSTM(6)):
        layer = nn.RNN(cell, 2, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
        xs = jnp.asarray(np.random.default_rng(2).normal(size=(TIME, BATCH, 2)))
        carry, ys = layer(xs, lengths=LENGTHS)
        ends = jax.tree.leaves(carry, is_leaf=lambda part: hasattr(part, "h"))
        assert_close(LastState(cell)(ys, LENGTHS), jnp.concatenate([end.h for end in ends], axis=-1), 1e-12)


def test_mean():
    expected = np.zeros((BATCH, FEATURES))
    for row, length in enumerate(LENGTHS):
        if length:
            expected[row] = YS[:length, row].mean(axis=0)
    assert_close(MeanPooling()(jnp.asarray(YS), LENGTHS), expected, 1e-15)


def test_attention():
    pooling = attention()
    W, b, v = (np.asarray(p[...]) for p in (pooling.hidden.kernel, pooling.hidden.bias, pooling.score.kernel))
    pooled, weights = np.zeros((BATCH, FEATURES)), np.zeros((TIME, BATCH))
    for row, length in enumerate(LENGTHS):
        if length:
            ys = YS[:length, row]
            scores = np.exp(np.tanh(ys @ W + b) @ v[:, 0])
            weights[:length, row] = scores / scores.sum()
            pooled[row] = weights[:length, row] @ ys
    assert_close(pooling.weights(jnp.asarray(YS), LENGTHS), weights, 1e-13)
    assert_close(pooling(jnp.asarray(YS), LENGTHS), pooled, 1e-13)
    assert np.ptp(weights[:, 0]) > 0.05
    check_model_gradient(pooling, lambda model: jnp.sum(model(jnp.asarray(YS), LENGTHS) * WEIGHTS))


@pytest.mark.parametrize("kind", ["last", "mean", "attention"])
def test_padding_reaches_no_gradient(kind):
    pooling = {"last": LastState(NESTED), "mean": MeanPooling(), "attention": attention()}[kind]

    def total(ys):
        return jnp.sum(pooling(ys, LENGTHS) * WEIGHTS)

    gradient = np.asarray(jax.grad(total)(jnp.asarray(YS)))
    padding = np.isnan(YS)
    assert np.isfinite(gradient).all() and (gradient[padding] == 0).all() and gradient[~padding].any()
    check_gradient(total, jnp.asarray(CLEAN))


@pytest.mark.parametrize("kind", ["last", "mean", "attention"])
def test_no_lengths_are_full_ones_and_dtypes_are_kept(kind):
    def build(**options):
        attention = AttentionPooling(FEATURES, **options, rngs=nnx.Rngs(0))
        return {"last": LastState(NESTED), "mean": MeanPooling(), "attention": attention}[kind]

    full = np.full(BATCH, TIME)
    ys = jnp.asarray(CLEAN, jnp.float32)
    assert_close(build()(ys), build()(ys, full), 1e-7)
    assert build()(ys).dtype == jnp.float32
    assert build(dtype=jnp.bfloat16)(ys.astype(jnp.bfloat16), full).dtype == jnp.bfloat16


def test_no_step_is_zeros():
    nothing, lengths = jnp.zeros((0, BATCH, FEATURES)), np.zeros(BATCH, int)
    for pool in (LastState(LSTM(FEATURES)), MeanPooling(), attention()):
        for given in (None, lengths):
            assert_close(pool(nothing, given), np.zeros((BATCH, FEATURES)), 0)


def test_what_does_not_fit_is_refused_in_words(without_type_checks):
    with pytest.raises(TypeError, match="LastState: `cell` must be a Cell, Stack or Bidirectional, got 3. Give layer"):
        LastState(3)
    with pytest.raises(ValueError, match=r"LastState: `ys` must have the 2 features of GRU.*got shape \(5, 4, 6\)"):
        LastState(GRU(2))(jnp.asarray(CLEAN))
