"""A model's step as a pytree of weights."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jaxrnn import GRU, LSTM, nn
from jaxrnn.decoding import generate
from jaxrnn.models import ContextGenerator, LanguageModel, pure_step
from tests.checks import assert_close

CELL = LSTM(4)


def build(seed, cell=CELL, kind=LanguageModel):
    rngs = nnx.Rngs(seed)
    rnn = nn.Stack([cell, GRU(3)], in_features=3, zoneout=0.1, rngs=rngs)
    return kind(nnx.Embed(5, 3, rngs=rngs), rnn, dropout=0.2)


def test_it_is_the_step_and_compiles_once_for_new_weights():
    traces = []

    @jax.jit
    def run(step, carry, token):
        traces.append(token)
        return step(carry, token)

    for seed in range(3):
        model = build(seed)
        carry = model.init_carry()
        assert_close(run(pure_step(model), carry, jnp.int32(seed)), model.step(carry, jnp.int32(seed)), 1e-6)
    assert len(traces) == 1
    run(pure_step(build(0, LSTM(2))), build(0, LSTM(2)).init_carry(), jnp.int32(0))
    assert len(traces) == 2


class Counted(LanguageModel):
    """Counts the traces of its step."""

    traces: ClassVar[list] = []

    def step(self, carry, token):
        self.traces.append(token)
        return super().step(carry, token)


def test_decoding_compiles_once_for_new_weights():
    counts = []
    for seed in (5, 6):
        model = build(seed, kind=Counted)
        found = generate(pure_step(model), model.init_carry(), 0, 4).tokens
        counts.append(len(Counted.traces))
        carry, token, expected = model.init_carry(), 0, []
        plain = nnx.jit(LanguageModel.step)
        for _ in range(4):
            carry, logits = plain(model, carry, jnp.int32(token))
            token = int(jnp.argmax(logits))
            expected.append(token)
        assert found.tolist() == expected
    assert counts[0] == counts[1] > 0


def test_its_leaves_are_the_models_arrays_as_they_were():
    model = build(0)
    step = pure_step(model)
    assert_close(jax.tree.leaves(step), jax.tree.leaves(nnx.state(model)), 0)
    carry, before = step(model.init_carry(), jnp.int32(1))
    model.bias[...] = model.bias[...] + 1
    assert_close(step(model.init_carry(), jnp.int32(1))[1], before, 0)
    assert_close(pure_step(model)(model.init_carry(), jnp.int32(1))[1], before + 1, 1e-6)


def test_the_gradient_is_that_of_the_model():
    model = build(1)
    structure, params = nnx.split(model, nnx.Param)

    def by_model(params):
        return nnx.merge(structure, params).step(model.init_carry(), jnp.int32(2))[1][3]

    gradient = jax.jit(jax.grad(lambda step: step(model.init_carry(), jnp.int32(2))[1][3]))(pure_step(model))
    assert_close(jax.tree.leaves(gradient), jax.tree.leaves(jax.jit(jax.grad(by_model))(params)), 1e-6)


def test_other_methods_by_name():
    model = ContextGenerator(build(0), context_features=2, rngs=nnx.Rngs(1))
    context = jnp.ones(2, jnp.float32)
    assert_close(pure_step(model, "start")(context), model.start(context), 1e-6)
    with pytest.raises(
        ValueError, match="pure_step: `method` must be the name of a method of ContextGenerator, got 'steps'"
    ):
        pure_step(model, "steps")
