"""Sensitivity by the parameters against automatic differentiation and the curse of memory in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import LRU, LSTM, Elman, Scan, Stack, unroll
from jaxrnn.gradients import sensitivity
from jaxrnn.initializers import Identity

KEY = jax.random.key(31)
FLOAT = jnp.float64


def flat(tree):
    leaves = jax.tree.leaves(tree)
    return jnp.concatenate([p.reshape(-1) for x in leaves for p in ((x.real, x.imag) if jnp.iscomplexobj(x) else (x,))])


@pytest.mark.parametrize("network", [LSTM(2), LRU(2, 2), Stack((LSTM(2), Elman(1)))], ids=lambda n: type(n).__name__)
def test_equals_the_jacobian_by_all_parameters(network):
    params, xs = network.init(KEY, 2, FLOAT), jax.random.normal(KEY, (4, 3, 2), FLOAT)
    found = sensitivity(network, params, xs)
    end = lambda p, x: flat(unroll(network, p, x, backend=Scan())[0])  # noqa: E731
    rows = jax.jit(jax.vmap(jax.jacrev(end), (None, 1)))(params, xs)
    square = sum((np.abs(np.asarray(leaf)) ** 2).reshape(3, -1).sum(axis=1) for leaf in jax.tree.leaves(rows))
    np.testing.assert_allclose(found.parameters[-1], square, rtol=1e-9)
    states = jax.vmap(end, (None, 1))(params, xs)
    np.testing.assert_allclose(found.state[-1], (states**2).sum(axis=1), rtol=1e-10)
    shorter = sensitivity(network, params, xs[:2])
    np.testing.assert_allclose(found.parameters[:2], shorter.parameters, rtol=1e-12)


@pytest.mark.parametrize("memory", [0.5, 0.9])
def test_the_curse_of_memory(memory):
    """E h^2 = 1 / (1 - l^2) and E (dh/dl)^2 = (1 + l^2) / (1 - l^2)^3, of white inputs; sampled within 1%."""
    xs = np.random.default_rng(0).normal(size=(300, 40_000))
    h, by_weight, states, squares = np.zeros(40_000), np.zeros(40_000), [], []
    for x in xs:
        h, by_weight = memory * h + x, h + memory * by_weight
        states.append(h)
        squares.append(by_weight**2)
    cell = Elman(1, "identity", input_init=Identity(), recurrent_init=Identity(memory))
    found = sensitivity(cell, cell.init(KEY, 1, FLOAT), jnp.asarray(xs[..., None]))
    # The input weight, 1 here, moves the state by the state itself, the bias by a geometric series.
    own, bias = np.square(np.array(states)), ((1 - memory ** np.arange(1, 301)) / (1 - memory)) ** 2
    np.testing.assert_allclose(found.state[:, :8], own[:, :8], rtol=1e-9)
    np.testing.assert_allclose(found.parameters, np.array(squares) + own + bias[:, None], rtol=1e-8)
    exact_state, exact = 1 / (1 - memory**2), (1 + memory**2) / (1 - memory**2) ** 3
    np.testing.assert_allclose(found.state[100:].mean(), exact_state, rtol=0.01)
    np.testing.assert_allclose((found.parameters - found.state - bias[:, None])[100:].mean(), exact, rtol=0.01)


def test_the_curse_of_memory_at_long_memory_exactly():
    """The expectation over white inputs is the sum over unit impulses, here of memory 0.99: 50.251 and 2.5126e5."""
    cell, time = Elman(1, "identity", input_init=Identity(), recurrent_init=Identity(0.99)), 2200
    impulses = jnp.eye(time, dtype=FLOAT)[..., None]
    found = sensitivity(cell, cell.init(KEY, 1, FLOAT), impulses)
    state, bias = found.state[-1].sum(), ((1 - 0.99**time) / 0.01) ** 2
    by_weight = found.parameters[-1].sum() - state - time * bias  # less what the input weight and the bias do
    np.testing.assert_allclose([state, by_weight], [1 / (1 - 0.99**2), (1 + 0.99**2) / (1 - 0.99**2) ** 3], rtol=1e-10)
    np.testing.assert_allclose([state, by_weight], [50.251, 2.5126e5], rtol=1e-4)


def test_errors():
    with pytest.raises(ValueError, match="sensitivity: `xs` must have at least one step"):
        sensitivity(Elman(2), Elman(2).init(KEY, 1, FLOAT), jnp.zeros((0, 1), FLOAT))
    cell = Elman(2)
    with pytest.raises(FloatingPointError, match="sensitivity: the projections"):
        sensitivity(cell, cell.init(KEY, 1, FLOAT), jnp.full((3, 1), jnp.nan, FLOAT))
