"""Sentences against a plain loop, their end, what continues them, and how often a step is traced."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

from jaxrnn.decoding import Greedy, Nucleus, Temperature, TopK, generate
from tests.checks import assert_close
from tests.decoding.steps import Carry, bound, chain, counting, draw, step, step_by_hand

KEY = jax.random.key(5)
STRATEGIES = [Greedy(), Temperature(0.8), TopK(3, 2.0), Nucleus(0.9, 1.5)]


def by_hand(weights, carry, token, length, choose, key, end):
    """(tokens, how many before the end, carry), from the definition."""
    tokens, choose = [], jax.jit(choose)
    for t in range(length):
        carry, logits = step_by_hand(weights, carry, token)
        token = int(choose(jax.random.fold_in(key, t), jnp.asarray(logits)))
        tokens.append(token)
        if token == end:
            return tokens + [end] * (length - len(tokens)), len(tokens) - 1, carry
    return tokens, length, carry


@pytest.mark.parametrize("choose", STRATEGIES)
@pytest.mark.parametrize("end", [None, 2])
def test_it_is_the_loop(choose, end):
    lengths = set()
    for seed in range(6):
        weights, carry = draw(seed, vocabulary=5)
        generated = generate(bound(weights), carry, seed % 5, 9, choose=choose, key=KEY, end=end)
        tokens, length, carry = by_hand(weights, carry, seed % 5, 9, choose, KEY, end)
        assert generated.tokens.tolist() == tokens and int(generated.length) == length
        assert generated.tokens.dtype == generated.length.dtype == jnp.int32
        assert_close(generated.carry, carry, 1e-12)
        lengths.add(length)
    assert len(lengths) > 1 if end == 2 else lengths == {9}


@pytest.mark.parametrize("end", [None, 3])
def test_the_carry_goes_on(end):
    for seed in range(5):
        weights, carry = draw(seed, vocabulary=6)
        run = functools.partial(generate, bound(weights))
        whole, part = run(carry, 0, 9, end=end), run(carry, 0, 4, end=end)
        if end is None or part.length == 4:
            rest = run(part.carry, part.tokens[-1], 5, end=end)
            assert np.concatenate([part.tokens, rest.tokens]).tolist() == whole.tokens.tolist()
            assert_close(rest.carry, whole.carry, 1e-12)


def test_what_goes_on_draws_by_the_key_of_its_own_call():
    """Of a step that forgets: the same key draws the same again."""
    step, how = Partial(lambda logits, carry, token: (carry, logits), jnp.zeros(50)), {"choose": Temperature(1.0)}
    first = generate(step, (), 0, 8, key=KEY, **how)
    again, other = (
        generate(step, first.carry, first.tokens[-1], 8, key=key, **how) for key in (KEY, jax.random.key(6))
    )
    assert again.tokens.tolist() == first.tokens.tolist() != other.tokens.tolist()


def test_a_longer_sentence_begins_as_the_shorter_one():
    weights, carry = draw(0, vocabulary=6, scale=0.3)
    short, long = (generate(bound(weights), carry, 1, n, choose=Temperature(), key=KEY).tokens for n in (4, 11))
    assert short.tolist() == long[:4].tolist()
    other = generate(bound(weights), carry, 1, 11, choose=Temperature(), key=jax.random.key(6)).tokens
    assert other.tolist() != long.tolist()


def test_a_first_token_that_is_the_end_is_read_as_any():
    table, carry = chain([[0.1, 0.9, 0.0], [0.1, 0.1, 0.8], [0.9, 0.1, 0.0]])
    generated = generate(table, carry, 0, 5, end=0)
    assert generated.tokens.tolist() == [1, 2, 0, 0, 0] and int(generated.length) == 2
    assert generate(table, carry, 2, 3, end=0).length == 0
    assert generate(table, carry, 0, 5).tokens.tolist() == [1, 2, 0, 1, 2]


@pytest.mark.parametrize("end", [None, 0])
@pytest.mark.parametrize("choose", STRATEGIES)
def test_nan_is_seen_in_the_tokens(choose, end):
    table = np.full((4, 4), 0.0)
    table[0, 1] = table[1, 2] = 1
    table[2] = np.nan
    generated = generate(*chain(table), 0, 5, choose=choose, key=KEY, end=end)
    assert generated.tokens.tolist() == [1, 2, -1, -1, -1] and int(generated.length) == 2
    again = jax.vmap(lambda first: generate(*chain(table), first, 2, choose=choose, key=KEY, end=end))(
        generated.tokens[-1:]
    )
    assert again.tokens.tolist() == [[-1, -1]] and again.length.tolist() == [0]


def test_nan_after_the_end_is_never_met():
    table = np.array([[np.nan] * 3, [0, 0, 1], [1, 0, 0]])
    generated = jax.vmap(lambda first: generate(*chain(table), first, 4, end=0))(jnp.array([1, 2]))
    assert generated.tokens.tolist() == [[2, 0, 0, 0], [0, 0, 0, 0]] and generated.length.tolist() == [1, 0]


def test_a_batch_is_a_vmap():
    """Each sequence with weights, carry, first token and key of its own, and ends at different times."""
    drawn = [draw(seed, vocabulary=5) for seed in range(4)]
    weights, carries = jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)
    firsts, keys = jnp.arange(4), jax.random.split(KEY, 4)

    def one(weights, carry, first, key):
        return generate(bound(weights), carry, first, 8, choose=Temperature(), key=key, end=2)

    batch = jax.vmap(one)(weights, carries, firsts, keys)
    each = [one(*drawn[b], firsts[b], keys[b]) for b in range(4)]
    assert batch.tokens.tolist() == [one.tokens.tolist() for one in each]
    assert batch.length.tolist() == [int(one.length) for one in each] and len(set(batch.length.tolist())) > 1
    assert_close(batch.carry, jax.tree.map(lambda *leaves: np.stack(leaves), *(one.carry for one in each)), 1e-12)


def test_other_weights_compile_nothing():
    counted, traces = counting()

    def run(seed, **how):
        weights, carry = draw(seed, vocabulary=4)
        return generate(Partial(counted, weights), carry, seed % 4, 5, **how)

    run(0, choose=TopK(2), key=KEY, end=1)
    first = len(traces)
    assert first > 0
    for seed in range(1, 4):
        run(seed, choose=TopK(2, 1.0), key=jax.random.key(seed), end=1)
    assert len(traces) == first
    run(0, choose=TopK(3), key=KEY, end=1)
    assert len(traces) > first


def test_a_plain_function_closes_over_what_it_needs():
    weights, carry = draw(1, vocabulary=4)
    traces = []

    def closed(carry, token):
        traces.append(token)
        return step(jax.tree.map(jnp.asarray, weights), carry, token)

    generated = generate(closed, carry, 0, 6)
    assert generated.tokens.tolist() == generate(bound(weights), carry, 0, 6).tokens.tolist()
    first = len(traces)
    generate(closed, carry, 3, 6)
    assert len(traces) == first


def test_a_module_of_flax_rides_in_the_partial():
    traces = []

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.embed, self.head = nnx.Embed(5, 3, rngs=rngs), nnx.Linear(3, 5, rngs=rngs)

        def __call__(self, h, token):
            traces.append(token)
            h = jnp.tanh(h + self.embed(token))
            return h, self.head(h)

    def step(model, h, token):
        return model(h, token)

    models = [Model(nnx.Rngs(seed)) for seed in range(3)]
    start = jnp.zeros(3, jnp.float32)
    sentences = [generate(Partial(step, models[0]), start, 1, 6).tokens.tolist()]
    first = len(traces)
    sentences += [generate(Partial(step, model), start, 1, 6).tokens.tolist() for model in models[1:]]
    assert len(traces) == first
    for model, sentence in zip(models, sentences, strict=True):
        h, token, expected = start, 1, []
        for _ in range(6):
            h, logits = model(h, jnp.int32(token))
            token = int(jnp.argmax(logits))
            expected.append(token)
        assert sentence == expected
    assert sentences[0] != sentences[1]


def test_what_does_not_fit_is_refused_in_words(without_type_checks):
    weights, carry = draw(0, vocabulary=4)
    run = functools.partial(generate, bound(weights))
    for choose in STRATEGIES[1:]:
        with pytest.raises(ValueError, match="generate: `key` is None, but .* draws. Give jax.random.key"):
            run(carry, 0, 3, choose=choose)
    with pytest.raises(ValueError, match="generate: `key` must be a single key"):
        run(carry, 0, 3, choose=Temperature(), key=jax.random.split(KEY, 3))
    with pytest.raises(TypeError, match="generate: `choose` must be a Strategy.* got <"):
        run(carry, 0, 3, choose=lambda key, logits: 0)
    with pytest.raises(ValueError, match="generate: `length` must be a whole number of at least 1, got 0"):
        run(carry, 0, 0)
    for end in (4, -1):
        with pytest.raises(ValueError, match=f"generate: `end` must be a token of the vocabulary, 0 to 3, got {end}"):
            run(carry, 0, 3, end=end)
    with pytest.raises(TypeError, match="generate: `end` must be a whole number that is not traced, got 1.5"):
        run(carry, 0, 3, end=1.5)
    with pytest.raises(ValueError, match=r"`first` must be one token, got shape \(2,\). For a batch put generate into"):
        run(carry, np.array([0, 1]), 3)
    with pytest.raises(TypeError, match="generate: `first` must be a whole number, got float"):
        run(carry, 0.0, 3)
    with pytest.raises(ValueError, match="generate: `first` must be a token, got -1. Give 0 or above; -1 in what was"):
        run(carry, -1, 3)
    with pytest.raises(ValueError, match="TopK: `k` is 5, beyond the vocabulary of 4"):
        run(carry, 0, 3, choose=TopK(5), key=KEY)


def test_a_step_that_breaks_the_contract_is_refused_in_words(without_type_checks):
    carry = Carry(jnp.zeros(3), jnp.int32(0))
    logits = jnp.zeros(4)
    with pytest.raises(TypeError, match=r"generate: `step` must be called as step\(carry, token\), got int"):
        generate(3, carry, 0, 3)
    with pytest.raises(TypeError, match=r"generate: `step` must return \(carry, logits\), got Shape"):
        generate(lambda carry, token: logits, carry, 0, 3)
    for bad in (jnp.zeros((2, 4)), jnp.zeros(4, int)):
        with pytest.raises(ValueError, match=r"`step` must return logits \(vocabulary,\) of real numbers, got .*4\]"):
            generate(lambda carry, token, bad=bad: (carry, bad), carry, 0, 3)
    with pytest.raises(ValueError, match="generate: `step` returns logits of no token"):
        generate(lambda carry, token: (carry, jnp.zeros(0)), carry, 0, 3)
    with pytest.raises(ValueError, match="generate: `step` must return a carry built like `carry`, .*Return the same"):
        generate(lambda carry, token: (tuple(carry), logits), carry, 0, 3)
    with pytest.raises(ValueError, match=r"`carry`; .h was float64\[3\] and comes back as float32\[3\]. Start"):
        generate(lambda carry, token: (carry._replace(h=carry.h.astype(jnp.float32)), logits), carry, 0, 3)
    with pytest.raises(TypeError, match="generate: `step` must hold arrays alone, got 'relu' in it. What is no array"):
        generate(Partial(lambda name, carry, token: (carry, logits), "relu"), carry, 0, 3)
    with pytest.raises(TypeError, match="generate: `carry` must hold arrays alone, got 'h' in it"):
        generate(lambda carry, token: (carry, logits), "h", 0, 3)
