import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import Elman, HiddenCarry, unroll
from jaxrnn.initializers import Gaussian, Identity
from tests.checks import Case, assert_close


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "identity"])
def test_activations(activation):
    Case(Elman(5, activation)).check_equations(False)


def test_a_function_serves_as_activation():
    assert_close(Case(Elman(5, jnp.tanh)).reference(False), Case(Elman(5)).reference(False), 0)


def test_irnn_without_input_stands_still():
    """An identity matrix and relu keep what is positive and cut the rest, bit by bit, in value and gradient."""
    cell = Elman(4, "relu", input_init=Gaussian(0.001), recurrent_init=Identity())
    params, xs = cell.init(jax.random.key(0), 1), np.zeros((50, 1), np.float32)
    start = HiddenCarry(jnp.array([0.3, 1.7, -0.2, 0.5], jnp.float32))
    end, pullback = jax.vjp(lambda carry: unroll(cell, params, xs, carry)[0], start)
    np.testing.assert_array_equal(end.h, jnp.maximum(start.h, 0))
    np.testing.assert_array_equal(pullback(HiddenCarry(jnp.ones(4, jnp.float32)))[0].h, [1, 1, 0, 1])
