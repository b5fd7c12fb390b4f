"""Scores and the softmax over a memory, against their equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxrnn.models import Bahdanau, Concat, Dot, General, attend
from tests.checks import assert_close
from tests.oracles import softmax

SOURCE, BATCH, QUERY, MEMORY, HIDDEN = 5, 3, 4, 6, 7
RNG = np.random.default_rng(0)
LENGTHS = np.array([5, 2, 0])
MASK = jnp.asarray(np.arange(SOURCE)[:, None] < LENGTHS)


def bahdanau(p, q, m):
    return p.score @ np.tanh(p.query.T @ q + p.memory.T @ m)


def general(p, q, m):
    return q @ p.weight @ m


def concat(p, q, m):
    return p.score @ np.tanh(p.weight.T @ np.concatenate([q, m]))


def dot(p, q, m):
    return q @ m


CASES = [
    (Bahdanau(HIDDEN), bahdanau, MEMORY),
    (General(), general, MEMORY),
    (Concat(HIDDEN), concat, MEMORY),
    (Dot(), dot, QUERY),
]


@pytest.mark.parametrize(("attention", "oracle", "memory_size"), CASES, ids=lambda case: type(case).__name__)
def test_scores_are_their_equations(attention, oracle, memory_size):
    """Value for every state of every sequence, and gradient."""
    params = attention.init(jax.random.key(1), QUERY, memory_size, jnp.float64)
    query, memory = RNG.normal(size=(BATCH, QUERY)), RNG.normal(size=(SOURCE, BATCH, memory_size))

    def scores(params, query, memory):
        return attention.scores(params, query, attention.keys(params, memory))

    arguments = jax.tree.map(jnp.asarray, (params, query, memory))
    plain = jax.tree.map(np.asarray, params)
    expected = [[oracle(plain, query[b], memory[s, b]) for b in range(BATCH)] for s in range(SOURCE)]
    assert_close(scores(*arguments), np.array(expected), 1e-14)
    check_grads(jax.jit(scores), arguments, order=1, modes=["rev"], eps=1e-5)


@pytest.mark.parametrize(("attention", "oracle", "memory_size"), CASES, ids=lambda case: type(case).__name__)
def test_dtypes_and_start(attention, oracle, memory_size):
    """Parameters come in the dtype asked for, keys in the memory's; the same key draws the same."""
    params = attention.init(jax.random.key(1), QUERY, memory_size, jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} <= {jnp.dtype(jnp.bfloat16)}
    keys = attention.keys(params, jnp.ones((SOURCE, memory_size), jnp.bfloat16))
    assert keys.dtype == jnp.bfloat16
    assert_close(params, attention.init(jax.random.key(1), QUERY, memory_size, jnp.bfloat16), 0)


def test_concat_is_bahdanau_of_one_matrix():
    params = Concat(HIDDEN).init(jax.random.key(1), QUERY, MEMORY, jnp.float64)
    apart = Bahdanau(HIDDEN).init(jax.random.key(2), QUERY, MEMORY, jnp.float64)
    apart = apart._replace(query=params.weight[:QUERY], memory=params.weight[QUERY:], score=params.score)
    query, memory = jnp.asarray(RNG.normal(size=QUERY)), jnp.asarray(RNG.normal(size=(SOURCE, MEMORY)))

    def scores(attention, params):
        return attention.scores(params, query, attention.keys(params, memory))

    assert_close(scores(Concat(HIDDEN), params), scores(Bahdanau(HIDDEN), apart), 1e-14)


def test_attend_is_a_mean_over_valid_states():
    scores, memory = RNG.normal(size=(SOURCE, BATCH)), RNG.normal(size=(SOURCE, BATCH, MEMORY))
    weights, context = np.zeros((SOURCE, BATCH)), np.zeros((BATCH, MEMORY))
    for b, length in enumerate(LENGTHS):
        weights[:length, b] = softmax(scores[:length, b])
        context[b] = weights[:, b] @ memory[:, b]
    got = attend(jnp.asarray(scores), jnp.asarray(memory), jnp.asarray(MASK))
    assert_close(got, (context, weights), 1e-14)
    assert not got[1][~MASK].any() and not got[0][2].any()
    whole = attend(jnp.asarray(scores), jnp.asarray(memory))
    assert_close(whole, attend(jnp.asarray(scores), jnp.asarray(memory), jnp.ones_like(MASK)), 0)
    masked = jax.jit(lambda scores, memory: attend(scores, memory, MASK))
    check_grads(masked, (jnp.asarray(scores), jnp.asarray(memory)), order=1, modes=["rev"], eps=1e-5)


def test_padding_reaches_neither_value_nor_gradient():
    scores, memory = RNG.normal(size=(SOURCE, BATCH)), RNG.normal(size=(SOURCE, BATCH, MEMORY))

    def run(scores, memory):
        (context, weights), pullback = jax.vjp(lambda e, m: attend(e, m, MASK), scores, memory)
        return context, weights, pullback((jnp.cos(context), jnp.sin(weights)))

    spoilt = np.where(MASK, scores, np.nan), np.where(MASK[..., None], memory, np.nan)
    clean = run(jnp.asarray(scores), jnp.asarray(memory))
    assert_close(run(*map(jnp.asarray, spoilt)), clean, 0)
    d_scores, d_memory = clean[2]
    assert not d_scores[~MASK].any() and not d_memory[~MASK].any() and d_memory[MASK].any()


def test_large_scores_do_not_overflow_and_nan_stays_visible():
    memory = jnp.array([[1.0], [3.0], [5.0]])
    context, weights = attend(jnp.array([1e308, 1e308, -1e308]), memory, jnp.ones(3, bool))
    assert context.tolist() == [2.0] and weights.tolist() == [0.5, 0.5, 0.0]
    assert np.isnan(attend(jnp.array([0.0, np.nan, 0.0]), memory, jnp.ones(3, bool))[0]).all()


def test_sizes_that_do_not_fit_are_refused_in_words():
    with pytest.raises(ValueError, match=r"Dot\.init: `query_size` and `memory_size` must be equal, got 4 and 6\. .*G"):
        Dot().init(jax.random.key(0), 4, 6)
    for kind in (Bahdanau, Concat):
        with pytest.raises(ValueError, match=f"{kind.__name__}: `hidden` must be a whole number of at least 1, got 0"):
            kind(0)
