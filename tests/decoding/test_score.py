"""The probability of a sentence: value and gradient against a sum by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jaxrnn.decoding import log_probability
from tests.checks import assert_close
from tests.decoding.steps import bound, chain, counting, draw, log_probability_by_hand

TOKENS = np.array([3, 0, 4, 4, 1, 2, 0])


def numerical_gradient(function, tree, step=1e-6):
    """Central differences, one number at a time."""

    def moved(path, change):
        return function(jax.tree_util.tree_map_with_path(lambda p, x: x + change if p == path else x, tree))

    def of_leaf(path, leaf):
        gradient = np.zeros_like(leaf)
        for index in np.ndindex(leaf.shape):
            change = np.zeros_like(leaf)
            change[index] = step
            gradient[index] = (moved(path, change) - moved(path, -change)) / (2 * step)
        return gradient

    return jax.tree_util.tree_map_with_path(of_leaf, tree)


@pytest.mark.parametrize("length", [None, 0, 1, 4, 7])
def test_it_is_the_sum_by_hand(length):
    for seed in range(3):
        weights, carry = draw(seed, vocabulary=5)
        value = log_probability(bound(weights), carry, 2, TOKENS, length)
        assert value.shape == () and value.dtype == jnp.float64
        expected = log_probability_by_hand(weights, carry, 2, TOKENS[: 7 if length is None else length])
        np.testing.assert_allclose(value, expected, rtol=1e-13)


@pytest.mark.parametrize("length", [1, 5])
def test_the_gradient_too(length):
    """By weights and carry, with rubbish in the padding: tokens that the vocabulary does not hold."""
    weights, carry = draw(3, vocabulary=5, scale=1.0)
    tokens = np.concatenate([TOKENS[:length], [-1, 99]])

    def value(weights, h):
        return log_probability(bound(weights), carry._replace(h=h), 2, tokens, length)

    def by_hand(tree):
        return log_probability_by_hand(tree[0], carry._replace(h=tree[1]), 2, TOKENS[:length])

    np.testing.assert_allclose(value(weights, carry.h), by_hand((weights, carry.h)), rtol=1e-13)
    gradient = jax.grad(value, argnums=(0, 1))(weights, carry.h)
    assert_close(gradient, numerical_gradient(by_hand, (weights, carry.h)), 1e-8)


def test_padding_reaches_no_gradient_even_from_a_step_that_breaks_on_it():
    """Tokens above 2 are read as NaN, and so is a third one, whichever it is: neither is met after two."""

    def step(weights, carry, token):
        h, age = carry
        h = jnp.tanh(h + jnp.where((token > 2) | (age > 1), jnp.nan, weights[token % 3]))
        return (h, age + 1), h * weights

    def value(weights, tokens):
        return log_probability(Partial(step, weights), (jnp.zeros(3), 0), 1, tokens, 2)

    weights = jnp.array([0.3, -0.7, 1.1])
    padded = jax.value_and_grad(value)(weights, np.array([0, 2, 4, 4]))
    assert_close(padded, jax.value_and_grad(value)(weights, np.array([0, 2])), 1e-14)
    assert np.isnan(value(weights, np.array([4, 2, 0])))


def test_the_probabilities_of_all_sentences_sum_to_one():
    weights, carry = draw(0, vocabulary=3)
    sentences = np.array(list(np.ndindex(3, 3, 3, 3)))
    values = jax.vmap(lambda tokens: log_probability(bound(weights), carry, 1, tokens))(sentences)
    np.testing.assert_allclose(np.exp(values).sum(), 1, rtol=1e-12)


def test_a_batch_of_ragged_sentences_is_a_vmap():
    weights, carry = draw(1, vocabulary=5)
    sentences, lengths = np.random.default_rng(0).integers(0, 5, (4, 6)), np.array([6, 0, 3, 1])
    batch = jax.vmap(lambda tokens, length: log_probability(bound(weights), carry, 0, tokens, length))
    expected = [log_probability_by_hand(weights, carry, 0, s[:n]) for s, n in zip(sentences, lengths, strict=True)]
    np.testing.assert_allclose(batch(sentences, lengths), expected, rtol=1e-13, atol=0)


def test_sixteen_bits_are_summed_in_float32():
    def step(table, carry, token):
        return carry, table[token]

    table = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)), jnp.bfloat16)
    tokens = np.arange(60) % 4
    value = log_probability(Partial(step, table), (), 3, tokens)
    assert value.dtype == jnp.float32
    wide = log_probability(Partial(step, table.astype(jnp.float64)), (), 3, tokens)
    np.testing.assert_allclose(value, wide, rtol=1e-6)


def test_what_has_no_probability_is_seen():
    possible = [[0.5, 0.5, 0.0]] * 3
    assert log_probability(*chain(possible), 0, np.array([0, 2])) == -np.inf
    for wrong in (-1, 3):
        assert np.isnan(log_probability(*chain(possible), 0, np.array([0, wrong])))
        assert np.isnan(log_probability(*chain(possible), 0, np.array([wrong, 0])))
    assert np.isnan(log_probability(*chain([[np.nan, 1, 0]] * 3), 0, np.array([1])))
    assert np.isnan(jax.vmap(lambda first: log_probability(*chain(possible), first, np.array([1])))(np.array([-1])))
    assert log_probability(*chain(possible), 0, np.zeros(0, int)) == 0


def test_other_weights_and_lengths_compile_nothing():
    counted, traces = counting()
    totals = []
    for seed in range(3):
        weights, carry = draw(seed, vocabulary=5)
        log_probability(Partial(counted, weights), carry, seed, TOKENS, seed + 1)
        totals.append(len(traces))
    assert totals[0] == totals[2] > 0


def test_what_does_not_fit_is_refused_in_words(without_type_checks):
    step = bound(draw(0, vocabulary=5)[0])
    carry = draw(0, vocabulary=5)[1]
    with pytest.raises(ValueError, match=r"`tokens` must be \(time,\), one sentence, got shape \(2, 3\). For a batch"):
        log_probability(step, carry, 0, np.zeros((2, 3), int))
    with pytest.raises(TypeError, match="log_probability: `tokens` must be whole numbers, got float64"):
        log_probability(step, carry, 0, np.zeros(3))
    for length in (-1, 8):
        with pytest.raises(ValueError, match=f"`length` must lie between 0 and the 7 tokens given, got {length}"):
            log_probability(step, carry, 0, TOKENS, length)
    with pytest.raises(ValueError, match=r"log_probability: `length` must be one number, got shape \(2,\)"):
        log_probability(step, carry, 0, TOKENS, np.array([1, 2]))
    with pytest.raises(TypeError, match="log_probability: `length` must be a whole number, got float"):
        log_probability(step, carry, 0, TOKENS, 2.0)
    with pytest.raises(ValueError, match=r"log_probability: `first` must be one token, got shape \(1,\)"):
        log_probability(step, carry, np.array([0]), TOKENS)
    with pytest.raises(TypeError, match="log_probability: `step` must be called as step"):
        log_probability(None, carry, 0, TOKENS)


def test_bytes_are_scored_with_a_vocabulary_of_all():
    table = jnp.asarray(np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32))
    tokens = np.array([3, 255, 0, 7], np.uint8)
    step = Partial(lambda weights, carry, token: (carry, weights[token]), table)
    expected = log_probability(step, (), 0, tokens.astype(np.int32))
    assert np.isfinite(expected) and log_probability(step, (), 0, tokens) == expected
