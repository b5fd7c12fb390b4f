"""A language model of pure functions around a cell, each sequence of a batch with a memory of its own."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jaxrnn import LSTM
from jaxrnn.decoding import TopK, beam_search, generate, log_probability
from tests.checks import assert_close
from tests.decoding.steps import log_softmax
from tests.decoding.test_beam import assert_same, plain_beam

CELL = LSTM(hidden_size=6)
VOCABULARY, FEATURES, PLACES, BATCH, LENGTH, START, END = 7, 4, 5, 3, 8, 0, 1
TRACES = []


class Model(NamedTuple):
    embedding: Any  # (vocabulary, features)
    cell: Any
    query: Any  # (hidden, memory's features)
    output: Any  # (hidden + memory's features, vocabulary)


def draw_model(seed: int) -> Model:
    rng = np.random.default_rng(seed)
    shapes = (VOCABULARY, FEATURES), (6, 2), (8, VOCABULARY)
    embedding, query, output = (jnp.asarray(2 * rng.normal(size=shape)) for shape in shapes)
    return Model(embedding, CELL.init(jax.random.key(seed), FEATURES, jnp.float64), query, output)


def step(model: Model, memory, carry, token):
    """One step of the cell, which then looks at the memory (places, features)."""
    TRACES.append(token)
    carry, h = CELL.step(model.cell, carry, CELL.project(model.cell, model.embedding[token]))
    context = jax.nn.softmax(memory @ (h @ model.query)) @ memory
    return carry, jnp.concatenate([h, context]) @ model.output


@functools.cache
def case(seed: int):
    memories = jnp.asarray(np.random.default_rng(seed + 10).normal(size=(BATCH, PLACES, 2)))
    return draw_model(seed), memories, CELL.init_carry((BATCH,), jnp.float64)


def by_hand(model, memory):
    """The step as NumPy sees it, outside of any decoder."""

    def run(carry, token):
        carry, logits = _jitted(model, memory, carry, jnp.int32(token))
        return carry, np.asarray(logits)

    return run


_jitted = jax.jit(step)


def one_carry(carries, b: int):
    return jax.tree.map(lambda leaf: leaf[b], carries)


def test_sentences_of_a_batch():
    model, memories, carries = case(0)

    def one(memory, carry, key):
        step_of_one = Partial(step, model, memory)
        return generate(step_of_one, carry, START, LENGTH, choose=TopK(4, 0.8), key=key, end=END)

    keys = jax.random.split(jax.random.key(1), BATCH)
    batch = jax.vmap(one)(memories, carries, keys)
    for b in range(BATCH):
        carry, token, tokens, logits_of = one_carry(carries, b), START, [], by_hand(model, memories[b])
        choose = jax.jit(TopK(4, 0.8))
        while len(tokens) < LENGTH:
            if not tokens or token != END:
                carry, logits = logits_of(carry, token)
                token = int(choose(jax.random.fold_in(keys[b], len(tokens)), jnp.asarray(logits)))
            tokens.append(token)
        assert batch.tokens[b].tolist() == tokens
        assert_close(one_carry(batch.carry, b), carry, 1e-12)
    assert len({tuple(tokens) for tokens in batch.tokens.tolist()}) > 1


@pytest.mark.parametrize("penalty", [0.0, 0.6])
def test_beams_of_a_batch(penalty):
    model, memories, carries = case(1)

    def one(memory, carry):
        how = {"width": 3, "end": END, "length_penalty": penalty}
        return beam_search(Partial(step, model, memory), carry, START, LENGTH, **how)

    batch = jax.vmap(one)(memories, carries)
    for b in range(BATCH):
        expected = plain_beam(by_hand(model, memories[b]), one_carry(carries, b), START, LENGTH, 3, END, penalty)
        assert_same(jax.tree.map(lambda leaf, b=b: leaf[b], batch), expected, LENGTH, END)
    assert len({tuple(tokens) for tokens in batch.tokens[:, 0].tolist()}) > 1


def test_the_gradient_of_a_batch_is_that_of_unrolled_steps():
    model, memories, carries = case(2)
    sentences = np.random.default_rng(3).integers(0, VOCABULARY, (BATCH, 4))
    lengths = np.array([4, 1, 3])

    def value(model, memories):
        def one(memory, carry, tokens, length):
            return log_probability(Partial(step, model, memory), carry, START, tokens, length)

        return jax.vmap(one)(memories, carries, sentences, lengths)

    def loops(model, memories):
        totals = []
        for b in range(BATCH):
            carry, token, total = one_carry(carries, b), START, 0.0
            for following in sentences[b, : lengths[b]]:
                carry, logits = step(model, memories[b], carry, token)
                total += jax.nn.log_softmax(logits)[following]
                token = following
            totals.append(total)
        return jnp.stack(totals)

    by_numpy = []
    for b in range(BATCH):
        carry, token, total = one_carry(carries, b), START, 0.0
        for following in sentences[b, : lengths[b]]:
            carry, logits = by_hand(model, memories[b])(carry, token)
            total, token = total + log_softmax(logits)[following], following
        by_numpy.append(total)
    assert_close(value(model, memories), np.array(by_numpy), 1e-12)
    actual, expected = (jax.jit(jax.grad(lambda *a, f=f: f(*a).sum(), (0, 1)))(model, memories) for f in (value, loops))
    assert_close(actual, expected, 1e-12)


def test_other_weights_and_memories_compile_nothing_under_vmap():
    def run(seed):
        model, memories, carries = case(seed)

        def one(memory, carry):
            return beam_search(Partial(step, model, memory), carry, START, 4, width=2, end=END).tokens

        return jax.vmap(one)(memories, carries)

    run(0)
    first = len(TRACES)
    run(1)
    assert len(TRACES) == first > 0
