"""The cliff of one unit in exact numbers; slices, directions and curvature on surfaces that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxrnn import GRU, Scan, unroll
from jaxrnn.gradients import (
    curvature,
    filter_normalised,
    gradient_direction,
    hessian_product,
    loss_slice,
    one_unit_error,
    one_unit_state,
    top_hessian_direction,
)

FLOAT = jnp.float64
KEY = jax.random.key(29)
W = jnp.asarray(5.0, FLOAT)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def test_the_cliff_in_exact_numbers():
    """Where x = 1/2 is a repelling fixed point, all follows from its multiplier m = w s (1 - s)."""
    border = 0.5 - 5 * logistic(0.5)
    m = 5 * logistic(0.5) * (1 - logistic(0.5))
    np.testing.assert_allclose([border, m], [-2.6122966560, 1.1750185610], rtol=1e-9)
    b = jnp.asarray(border, FLOAT)
    np.testing.assert_allclose(jax.grad(one_unit_state, 1)(W, b), (m**50 - 1) / (m - 1), rtol=1e-5)
    by_start = jax.grad(lambda x: one_unit_state(W, b, x))(jnp.asarray(0.5, FLOAT))
    np.testing.assert_allclose(by_start, m**50, rtol=1e-5)
    np.testing.assert_allclose([m**50, (m**50 - 1) / (m - 1)], [3178.603, 18155.81], rtol=1e-6)
    np.testing.assert_allclose(one_unit_error(W, b), 0.00601256, rtol=1e-5)
    by_weight, by_bias = jax.grad(one_unit_error, (0, 1))(W, b)
    np.testing.assert_allclose([by_bias, by_weight], [-661.683, -411.871], rtol=1e-5)
    beside = jax.vmap(jax.value_and_grad(one_unit_error, 1), (None, 0))(W, b + jnp.array([-0.001, 0.001]))
    np.testing.assert_allclose(beside, [[0.341649, 0.0100471], [-0.251520, 0.650072]], rtol=1e-5)


def test_two_attractors_between_the_saddle_nodes():
    """Between b = -2.655610 and -2.344390 the start decides where the unit ends, outside it does not."""
    for bias, bistable in ((-2.65562, False), (-2.65560, True), (-2.34440, True), (-2.34438, False)):
        ends = [float(one_unit_state(W, jnp.asarray(bias, FLOAT), start, 40_000)) for start in (-5.0, 5.0)]
        assert (abs(ends[0] - ends[1]) > 0.1) == bistable, bias


def test_surface_over_a_grid():
    weights, biases = jnp.linspace(4.5, 5.5, 4, dtype=FLOAT), jnp.linspace(-3, -2, 3, dtype=FLOAT)
    surface = one_unit_error(weights[:, None], biases[None])
    assert surface.shape == (4, 3)
    x = 0.5
    for _ in range(50):
        x = 5.5 * logistic(x) - 3.0
    np.testing.assert_allclose(surface[3, 0], (logistic(x) - 0.7) ** 2, rtol=1e-10)


def test_curvature_of_a_linear_unit_explodes_with_its_gradient():
    def last(w):
        x = jnp.asarray(0.3, FLOAT)
        for _ in range(20):
            x = w[0] * x
        return x

    w = jnp.array([1.3], FLOAT)
    np.testing.assert_allclose(curvature(last, w, jnp.array([2.0], FLOAT)), 20 * 19 * 0.3 * 1.3**18, rtol=1e-10)


def quadratic(matrix):
    return lambda p: 0.5 * p["x"] @ matrix @ p["x"] + p["y"] ** 2


def test_directions_of_a_quadratic():
    matrix = jnp.array([[3.0, 1.0], [1.0, 2.0]])
    params = {"x": jnp.array([1.0, -2.0]), "y": jnp.asarray(0.5)}
    loss = quadratic(matrix)
    gradient = np.concatenate([np.asarray(matrix @ params["x"]), [1.0]])
    got = gradient_direction(loss, params)
    np.testing.assert_allclose(np.append(got["x"], got["y"]), gradient / np.linalg.norm(gradient), rtol=1e-12)
    value, direction = top_hessian_direction(loss, params, KEY)
    values, vectors = np.linalg.eigh(
        np.block([[np.asarray(matrix), np.zeros((2, 1))], [np.zeros((1, 2)), 2 * np.eye(1)]])
    )
    np.testing.assert_allclose(value, values[-1], rtol=1e-9)
    np.testing.assert_allclose(abs(np.append(direction["x"], direction["y"]) @ vectors[:, -1]), 1, rtol=1e-9)
    plane = loss_slice(loss, params, (got, direction), 0.5, 5)
    moved = jax.tree.map(lambda p, a, b: p + 0.25 * a - 0.5 * b, params, got, direction)
    np.testing.assert_allclose(plane.losses[3, 0], loss(moved), rtol=1e-12)
    np.testing.assert_allclose(plane.losses[2, 2], loss(params), rtol=1e-12)
    assert plane.across.tolist() == [-0.5, -0.25, 0.0, 0.25, 0.5]


def test_a_recurrent_loss_on_the_default_backend():
    cell = GRU(3)
    params, xs = cell.init(KEY, 2, FLOAT), jax.random.normal(KEY, (3, 2), FLOAT)

    def loss(params):
        return jnp.mean(unroll(cell, params, xs)[1][-1] ** 2)

    flat, restore = ravel_pytree(params)
    direction = filter_normalised(KEY, params)
    by_forward = jax.jvp(
        jax.grad(lambda p: jnp.mean(unroll(cell, restore(p), xs, backend=Scan())[1][-1] ** 2)),
        (flat,),
        (ravel_pytree(direction)[0],),
    )[1]
    got = ravel_pytree(hessian_product(loss, params, direction))[0]
    np.testing.assert_allclose(got, by_forward, rtol=1e-8, atol=1e-12)
    for drawn, own in zip(jax.tree.leaves(direction), jax.tree.leaves(params), strict=True):
        axes = tuple(range(max(own.ndim - 1, 1)))
        np.testing.assert_allclose(
            np.linalg.norm(drawn, axis=axes[0]), np.linalg.norm(own, axis=axes[0]), rtol=1e-9, atol=1e-12
        )


def test_complex_parameters():
    """L = Re z Im z: uphill at x + i y is y + i x, and along 1 + i it curves by 1."""
    loss = lambda z: jnp.sum(z.real * z.imag)  # noqa: E731
    z = jnp.array([1.0 + 2.0j])
    np.testing.assert_allclose(gradient_direction(loss, z), [(2 + 1j) / np.sqrt(5)], rtol=1e-12)
    np.testing.assert_allclose(curvature(loss, z, jnp.array([1.0 + 1.0j])), 1.0, rtol=1e-12)


def test_errors():
    with pytest.raises(ValueError, match="curvature: `direction` must not be zero"):
        curvature(lambda p: jnp.sum(p**2), jnp.ones(2), jnp.zeros(2))
    np.testing.assert_allclose(one_unit_error(5.0, -2.6), one_unit_error(jnp.asarray(5.0), jnp.asarray(-2.6)))
    with pytest.raises(FloatingPointError, match="the gradient has length 0.0, so no direction"):
        gradient_direction(lambda p: jnp.sum(p**2), jnp.zeros(2))
    with pytest.raises(ValueError, match="`points` must be a whole number of at least 2 and .*, got 1 and 1.0"):
        loss_slice(lambda p: p.sum(), jnp.zeros(2), (jnp.ones(2), jnp.ones(2)), 1.0, 1)
    with pytest.raises(ValueError, match="`iterations` must be at least 1"):
        top_hessian_direction(lambda p: p.sum(), jnp.zeros(2), KEY, 0)
