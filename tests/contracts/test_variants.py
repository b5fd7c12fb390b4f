"""The same recurrence inside a caller's jit and outside, with arrays on the device and without."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import parameterized

import jaxrnn
from jaxrnn import GRU, LRU, LSTM, Jordan, LinearCell
from tests.examples import FEATURES, USERS, UserNoise, build, name

ONE_OF_EACH = [build(LSTM), build(GRU), build(Jordan), build(LRU), next(c for c in USERS if isinstance(c, UserNoise))]


class Variants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_device=True, without_device=True)
    @parameterized.named_parameters((name(cell), cell) for cell in ONE_OF_EACH)
    def test_unroll(self, cell):
        draw = np.random.default_rng(0).normal
        params = cell.init(jax.random.key(0), FEATURES)
        xs = draw(size=(4, 2, FEATURES)).astype(np.float32)
        if isinstance(cell, UserNoise):
            xs = xs, np.abs(draw(size=(4, 2, cell.hidden_size))).astype(np.float32)

        def run(params, xs):
            return jaxrnn.unroll(cell, params, xs, lengths=np.array([4, 2]))

        variant: Any = self.variant
        carry, ys = variant(run)(params, xs)
        expected_carry, expected = step_by_step(cell, params, xs, [4, 2])
        chex.assert_trees_all_close((carry, ys), (expected_carry, expected), rtol=2e-6, atol=1e-6)
        chex.assert_tree_all_finite((carry, ys))
        assert isinstance(cell, LinearCell) or carry.h.dtype == np.float32


def step_by_step(cell, params, xs, lengths):
    """Each sequence by itself, one step at a time."""
    ends, outputs = [], np.zeros((4, len(lengths), cell.output_size), np.float32)
    for b, length in enumerate(lengths):
        carry = cell.init_carry(())
        for t in range(length):
            u = cell.project(params, jax.tree.map(lambda x, t=t, b=b: jnp.asarray(x[t, b]), xs))
            carry, outputs[t, b] = cell.step(params, carry, u)
        ends.append(carry)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *ends), outputs
