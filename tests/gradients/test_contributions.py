"""Contributions of each step's copy of the weights against plain automatic differentiation and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import GRU, LRU, LSTM, Elman, Stack, unroll
from jaxrnn.gradients import contributions, cosines, log_gradient_norm, log_norms_summed, share_beyond
from jaxrnn.initializers import Identity

KEY = jax.random.key(7)
FLOAT = jnp.float64


def every_output(ys):
    return (ys**2).sum(axis=(0, -1))


def copies_by_autodiff(network, params, xs, loss):
    """The gradient by a copy of the parameters for each step, leaves (time, ...)."""
    copies = jax.tree.map(lambda p: jnp.broadcast_to(p, (xs.shape[0], *p.shape)), params)

    def total(copies):
        carry, ys = network.init_carry(xs.shape[1:-1], xs.dtype), []
        for t in range(xs.shape[0]):
            carry, y = unroll(network, jax.tree.map(lambda p, t=t: p[t], copies), xs[t : t + 1], carry)
            ys.append(y[0])
        return loss(jnp.stack(ys)).sum()

    return jax.jit(jax.grad(total))(copies)


@pytest.mark.parametrize("network", [LSTM(3), LRU(2, 3), Stack((GRU(3), Elman(2)))], ids=lambda n: type(n).__name__)
def test_equals_a_copy_of_the_weights_for_each_step(network):
    params, xs = network.init(KEY, 3, FLOAT), jax.random.normal(KEY, (5, 2, 3), FLOAT)
    expected = copies_by_autodiff(network, params, xs, every_output)
    found = contributions(network, params, xs, every_output)
    norms = np.exp(np.asarray(found.log_norms))
    for direction, e in zip(jax.tree.leaves(found.directions), jax.tree.leaves(expected), strict=True):
        got = np.asarray(direction) * norms.reshape(-1, *(1,) * (direction.ndim - 1))
        np.testing.assert_allclose(got, e, rtol=1e-8, atol=1e-9)
    whole = jax.grad(lambda p: every_output(unroll(network, p, xs)[1]).sum())(params)
    length = np.sqrt(sum((np.abs(np.asarray(g)) ** 2).sum() for g in jax.tree.leaves(whole)))
    np.testing.assert_allclose(np.exp(log_gradient_norm(found)), length, rtol=1e-9)
    flat = np.concatenate([np.asarray(e).reshape(5, -1) for e in jax.tree.leaves(expected)], axis=1)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines(found), (unit @ unit.conj().T).real, atol=1e-8)
    beyond = np.linalg.norm(flat[:2].sum(axis=0)) / np.linalg.norm(flat.sum(axis=0))
    np.testing.assert_allclose(share_beyond(found, 2), beyond, rtol=1e-8)
    np.testing.assert_allclose(np.exp(log_norms_summed(found)), np.linalg.norm(flat, axis=1).sum(), rtol=1e-8)


def test_linear_unit_over_a_lag_beyond_the_range_of_float32():
    """h = w h + x with x = 1 at the first step: dL/dw at lag k is w^k h_(T-k-1), here w^(T-2) at every step but 1."""
    cell, time = Elman(1, "identity", input_init=Identity(), recurrent_init=Identity(0.5)), 400
    xs = jnp.zeros((time, 1), jnp.float32).at[0].set(1.0)
    found = contributions(cell, cell.init(KEY, 1), xs, lambda ys: ys[-1, 0])
    inputs = np.exp(2.0 * np.log(0.5) * np.arange(time - 1, -1, -1))  # w^2k: by the bias, and x at the first step
    inputs[0] *= 2
    states = np.full(time, 0.25 ** (time - 2))
    states[0] = 0
    assert found.log_norms.dtype == jnp.float32
    reachable = np.arange(time) >= time - 60  # where NumPy's squares are in range
    np.testing.assert_allclose(
        np.asarray(found.log_norms)[reachable], 0.5 * np.log(inputs + states)[reachable], rtol=1e-5, atol=1e-4
    )
    np.testing.assert_allclose(found.log_norms[0], (time - 1) * np.log(0.5) + 0.5 * np.log(2), rtol=1e-6)


def test_samples_of_far_apart_sizes_add_up():
    """One sample's adjoint is 1e-40 of the other's: the sum is the larger one's, and nothing is NaN."""
    cell = GRU(3)
    params, xs = cell.init(KEY, 2), jax.random.normal(KEY, (6, 2, 2), jnp.float32)
    both = contributions(cell, params, xs, lambda ys: ys[-1].sum(axis=-1) * jnp.array([1.0, 1e-38], jnp.float32))
    alone = contributions(cell, params, xs[:, :1], lambda ys: ys[-1].sum(axis=-1))
    np.testing.assert_allclose(both.log_norms, alone.log_norms, rtol=1e-5)


def test_a_loss_without_state_has_no_contributions():
    cell, xs = GRU(3), jnp.ones((4, 2, 2), FLOAT)
    found = contributions(cell, cell.init(KEY, 2, FLOAT), xs, lambda ys: jnp.ones(2, FLOAT))
    assert (found.log_norms == -jnp.inf).all() and (cosines(found) == 0).all()
    assert log_gradient_norm(found) == -jnp.inf and share_beyond(found, 1) == 0


def test_errors():
    cell, xs = GRU(3), jnp.ones((4, 2, 2), FLOAT)
    params = cell.init(KEY, 2, FLOAT)
    found = contributions(cell, params, xs, every_output)
    with pytest.raises(ValueError, match="`lag` must be a whole number from 0 to 3, got 4"):
        share_beyond(found, 4)
    assert share_beyond(found, 3) == 0
    with pytest.raises(ValueError, match="contributions: `loss` must return one value for each sample"):
        contributions(cell, params, xs, lambda ys: ys.sum())
    with pytest.raises(FloatingPointError, match="contributions: the projections"):
        contributions(cell, params, xs.at[1].set(jnp.inf) * 0, every_output)
