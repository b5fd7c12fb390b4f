"""Learned starting carries."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrnn import GRU, LRU, LSTM, Stack, nn
from jaxrnn.models import Bridge
from tests.checks import assert_close
from tests.models import by_hand

VECTORS = np.random.default_rng(0).normal(size=(4, 2))


def build(cell, dtype=jnp.float64):
    return by_hand.stirred(Bridge(cell, 2, param_dtype=dtype, rngs=nnx.Rngs(0)))


def test_every_array_is_tanh_of_its_part():
    bridge = build(Stack((LSTM(3), GRU(5))))
    carry = bridge(jnp.asarray(VECTORS))
    values = np.tanh(by_hand.linear(bridge.linear, VECTORS))
    assert_close(np.concatenate(jax.tree.leaves(carry), axis=-1), values, 1e-14)
    assert jax.tree.map(jnp.shape, carry) == jax.tree.map(jnp.shape, bridge.cell.init_carry((4,)))
    one, many = bridge(jnp.asarray(VECTORS[0])), bridge(jnp.asarray(VECTORS.reshape(2, 2, 2)))
    assert_close(one, jax.tree.map(lambda leaf: leaf[0], carry), 1e-14)
    assert_close(many, jax.tree.map(lambda leaf: leaf.reshape(2, 2, -1), carry), 1e-14)
    by_hand.check_model_gradient(bridge, lambda bridge: jnp.sum(bridge(jnp.asarray(VECTORS))[0].c ** 2))


def test_a_complex_array_takes_its_real_and_its_imaginary_part():
    bridge = build(LRU(3, features=2))
    values = np.tanh(by_hand.linear(bridge.linear, VECTORS))
    assert_close(bridge(jnp.asarray(VECTORS)).h, values[:, :3] + 1j * values[:, 3:], 1e-14)


class CountedCarry(NamedTuple):
    steps: jax.Array
    h: jax.Array


class Counted(GRU):
    """A cell that counts its steps."""

    def init_carry(self, batch_shape=(), dtype=jnp.float32):
        return CountedCarry(jnp.full(batch_shape, 7, jnp.int32), jnp.zeros((*batch_shape, 3), dtype))


def test_what_is_not_floating_stays():
    bridge = build(Counted(3))
    carry = bridge(jnp.asarray(VECTORS))
    assert carry.steps.tolist() == [7] * 4 and bridge.linear.out_features == 3
    assert_close(carry.h, np.tanh(by_hand.linear(bridge.linear, VECTORS)), 1e-14)


def test_the_layer_takes_the_carry():
    """In float32, and of 16-bit vectors too, whose carry is float32."""
    for dtype in (jnp.float32, jnp.bfloat16):
        bridge = Bridge(LSTM(3), 2, dtype=dtype, rngs=nnx.Rngs(0))
        carry = bridge(jnp.asarray(VECTORS, dtype))
        assert carry.h.dtype == jnp.float32
        layer = nn.RNN(LSTM(3), 2, dtype=dtype, rngs=nnx.Rngs(0))
        assert layer(jnp.ones((5, 4, 2), dtype), carry)[1].dtype == dtype
