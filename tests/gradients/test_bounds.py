"""Bounds above the truth, in their order, and where they are reached."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import GRU, Elman
from jaxrnn.gradients import largest_slope, log_gap, norm_bound, product_bound, step_bound, transport
from jaxrnn.initializers import Gaussian, Identity

KEY = jax.random.key(23)
FLOAT = jnp.float64
LAGS = (0, 1, 5, 12)


def jacobian_products(cell, params, xs):
    """||ds_T/ds_t|| of an Elman network of tanh or logistic units, from its equations in NumPy."""
    slope = {"tanh": lambda h: 1 - h**2, "sigmoid": lambda h: h * (1 - h)}[cell.activation]
    squash = {"tanh": np.tanh, "sigmoid": lambda a: 1 / (1 + np.exp(-a))}[cell.activation]
    weights, h, jacobians = np.asarray(params.recurrent), np.zeros(cell.hidden_size), []
    for x in np.asarray(xs):
        h = squash(x @ np.asarray(params.input) + h @ weights + np.asarray(params.bias))
        jacobians.append(np.diag(slope(h)) @ weights.T)
    norms, product = [0.0], np.eye(cell.hidden_size)
    for jacobian in jacobians[::-1]:
        product = product @ jacobian
        norms.append(np.log(np.linalg.norm(product, 2)))
    return np.array(norms), [np.log(np.linalg.norm(j, 2)) for j in jacobians]


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_the_truth_lies_below_each_bound(name):
    cell = Elman(6, name, recurrent_init=Gaussian(1.7))
    params, xs = cell.init(KEY, 3, FLOAT), jax.random.normal(KEY, (12, 3), FLOAT)
    truth, steps = jacobian_products(cell, params, xs)
    bounds = norm_bound(params.recurrent, largest_slope(name), LAGS), product_bound(cell, params, xs, LAGS)
    bounds += (step_bound(cell, params, xs, LAGS),)
    pascanu, product, by_step = (bound.log_values for bound in bounds)
    found = transport(cell, params, xs, LAGS)
    np.testing.assert_allclose(found.log_largest, truth[list(LAGS)], atol=1e-10)
    for bound in bounds:
        np.testing.assert_allclose(log_gap(bound, found), bound.log_values - truth[list(LAGS)], atol=1e-10)
    np.testing.assert_allclose(by_step, [sum(steps[::-1][:lag]) for lag in LAGS], atol=1e-10)
    for tighter, looser in ((truth[list(LAGS)], by_step), (by_step, product), (product, pascanu)):
        gap = np.asarray(looser) - np.asarray(tighter)
        assert (gap > -1e-12).all() and abs(gap[0]) < 1e-12 and gap[-1] > 0.1
    size = np.linalg.norm(np.asarray(params.recurrent), 2)
    np.testing.assert_allclose(pascanu, np.array(LAGS) * np.log({"tanh": 1.0, "sigmoid": 0.25}[name] * size))


def test_a_scaled_identity_reaches_all_of_them():
    cell = Elman(3, "identity", recurrent_init=Identity(0.7))
    params, xs = cell.init(KEY, 2, FLOAT), jnp.ones((9, 2, 2), FLOAT)
    exact = np.array([0, 9]) * np.log(0.7)
    pascanu, truth = (
        norm_bound(params.recurrent, largest_slope("identity"), (0, 9)),
        transport(cell, params, xs, (0, 9)),
    )
    np.testing.assert_allclose(pascanu.log_values, exact)
    np.testing.assert_allclose(log_gap(pascanu, truth), np.zeros((2, 2)), atol=1e-12)
    for bound in (product_bound, step_bound):
        found = bound(cell, params, xs, (0, 9))
        assert found.lags.tolist() == [0, 9]
        np.testing.assert_allclose(found.log_values, np.broadcast_to(exact[:, None], (2, 2)), atol=1e-12)


@pytest.mark.parametrize("weight", [3.99, -3.99])
def test_one_logistic_unit_vanishes_below_a_weight_of_four(weight):
    cell = Elman(1, "sigmoid")
    params = cell.init(KEY, 1, FLOAT)._replace(recurrent=jnp.full((1, 1), weight, FLOAT))
    xs = 5 * jax.random.normal(KEY, (3000, 1), FLOAT)
    bound = norm_bound(params.recurrent, largest_slope("sigmoid"), (3000,))
    assert bound.log_values[0] < -7 and transport(cell, params, xs, (3000,)).log_largest[0] <= bound.log_values[0]
    assert norm_bound(jnp.full((1, 1), 4.01, FLOAT), 0.25, (1,)).log_values[0] > 0


def test_the_slope_of_a_softmax_is_reached_by_two_equal_units():
    cell = Elman(2, "softmax", recurrent_init=Identity(1.0))
    params = cell.init(KEY, 1, FLOAT)._replace(input=jnp.zeros((1, 2), FLOAT))
    truth = transport(cell, params, jnp.zeros((4, 1), FLOAT), (1, 4))
    bound = norm_bound(params.recurrent, largest_slope("softmax"), (1, 4))
    np.testing.assert_allclose(log_gap(bound, truth), 0, atol=1e-12)


def test_a_matrix_of_zeros_and_a_run_that_is_not_finite():
    nothing = norm_bound(jnp.zeros((2, 2), FLOAT), 1.0, (0, 1))
    assert nothing.log_values.tolist() == [0.0, -np.inf]
    cell = Elman(2, "relu")
    dead = cell.init(KEY, 1, FLOAT)._replace(recurrent=jnp.zeros((2, 2), FLOAT))
    assert log_gap(nothing, transport(cell, dead, jnp.ones((3, 1), FLOAT), (0, 1))).tolist() == [0.0, 0.0]
    with pytest.raises(FloatingPointError, match="product_bound: the projections of `xs` are not finite from step 1"):
        product_bound(cell, cell.init(KEY, 1, FLOAT), jnp.ones((3, 1), FLOAT).at[1].set(jnp.nan))


def normalised(x):
    return x / jnp.sqrt(1 + jnp.sum(x * x, axis=-1, keepdims=True))


def test_errors(without_type_checks):
    for recurrent, slope, lags, words in [
        (jnp.ones(3), 1.0, (1,), "`recurrent` must be a real matrix, or blocks .* of one, got float64 of shape"),
        (jnp.eye(2), -1.0, (1,), "`slope` must be a finite number of 0 or more, got -1"),
        (jnp.eye(2), 1.0, (-1,), "`lags` must be one or more whole numbers of at least 0"),
    ]:
        with pytest.raises(ValueError, match=words):
            norm_bound(recurrent, slope, lags)
    with pytest.raises(FloatingPointError, match="norm_bound"):
        norm_bound(jnp.full((2, 2), jnp.nan), 1.0, (1,))
    assert norm_bound(jnp.eye(2, dtype=jnp.bfloat16), 1.0, (1,)).log_values.tolist() == [0.0]
    gru, xs = GRU(3), jnp.ones((4, 2), FLOAT)
    with pytest.raises(TypeError, match="must be an Elman network whose .*, got GRU.*step_bound"):
        product_bound(gru, gru.init(KEY, 2, FLOAT), xs)
    for choice in ("softmax", jax.nn.softmax, normalised):
        cell = Elman(3, choice)
        with pytest.raises(TypeError, match="entry by entry, got Elman.*step_bound"):
            product_bound(cell, cell.init(KEY, 2, FLOAT), xs)
    params = gru.init(KEY, 2, FLOAT)
    with pytest.raises(ValueError, match=r"same lags, got \[0, 2\] and \[0, 1\]"):
        log_gap(step_bound(gru, params, xs, (0, 2)), transport(gru, params, xs, (0, 1)))
    with pytest.raises(ValueError, match="must be one of tanh, sigmoid, relu, identity, softmax, got 'gelu'"):
        largest_slope("gelu")
    with pytest.raises(ValueError, match="step_bound: `lags` must be"):
        step_bound(gru, gru.init(KEY, 2, FLOAT), xs, (5,))
