"""Powers of a matrix: normal ones, Gaussian ones, and those whose eigenvalues mislead."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import Elman
from jaxrnn.cell import GatedParams
from jaxrnn.gradients import extreme_transport, linear_flow


def test_orthogonal_and_scaled_matrices():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(7, 7)))[0]
    for radius in (1.0, 0.9, 1.1):
        flow = linear_flow(jnp.asarray(radius * turn), (0, 1, 100, 5000))
        exact = np.array([0, 1, 100, 5000]) * np.log(radius)
        np.testing.assert_allclose(flow.log_values, np.tile(exact[:, None], 7), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(flow.log_radius, exact, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(flow.log_root_mean_square, exact, rtol=1e-10, atol=1e-10)
        assert flow.departure < 1e-6
        np.testing.assert_allclose(np.exp(flow.log_norm[2]), {1.0: 1, 0.9: 2.65614e-5, 1.1: 13780.6}[radius], rtol=1e-5)


def test_gaussian_matrices_grow_by_the_fuss_catalan_numbers():
    """RMS 1 at every lag, the largest value towards sqrt((k+1)^(k+1) / k^k): far below the bound 2^k."""
    lags, size, found = (1, 2, 4, 8, 16), 400, []
    limits = np.array([2.0, 2.598, 3.494, 4.805, 6.697])
    np.testing.assert_allclose(limits, [np.sqrt((k + 1.0) ** (k + 1) / k**k) for k in lags], rtol=1e-3)
    cell = Elman(size, "identity")
    for seed in range(3):
        weight = np.random.default_rng(seed).normal(size=(size, size)) / 20
        params = GatedParams(jnp.zeros((1, size)), jnp.asarray(weight), jnp.zeros(size))
        flow = extreme_transport(cell, params, jnp.zeros((16, 1)), jax.random.key(seed), lags)
        exact = [np.linalg.norm(np.linalg.matrix_power(weight, lag), 2) for lag in lags]
        np.testing.assert_allclose(np.exp(flow.log_largest), exact, rtol=1e-6)
        found.append([np.exp(flow.log_largest), np.exp(flow.log_root_mean_square)])
    largest, rms = np.mean(found, axis=0)
    np.testing.assert_allclose(rms, 1, rtol=0.03)
    # Of 400 units: within 2% to lag 2 and 5% at lag 4; the means of longer lags lie 6% to 10% low.
    for got, want, low, high in zip(
        largest, limits, (0.98, 0.98, 0.95, 0.9, 0.9), (1.02, 1.02, 1.05, 1.0, 1.0), strict=True
    ):
        assert low < got / want < high, (got / want, largest, rms)
    small = np.random.default_rng(0).normal(size=(24, 24)) / np.sqrt(24)
    flow = linear_flow(jnp.asarray(small), (1, 2, 16))
    for row, lag in enumerate((1, 2, 16)):
        values = np.linalg.svd(np.linalg.matrix_power(small, lag), compute_uv=False)
        np.testing.assert_allclose(np.exp(flow.log_values[row, :8]), values[:8], rtol=1e-9)
        np.testing.assert_allclose(np.exp(flow.log_root_mean_square[row]), np.sqrt(np.mean(values**2)), rtol=1e-10)


def test_a_spectral_radius_of_zero_and_gradients_that_double_for_ever():
    weight = jnp.array([[8.0, 8.0], [-8.0, -8.0]])
    assert np.abs(linear_flow(weight, (1,)).eigenvalues).max() < 1e-6  # exactly 0, to the root of rounding
    np.testing.assert_allclose(linear_flow(weight, (1,)).log_norm, np.log(16))
    x = np.array([0.0, np.arctanh(0.5)])  # the fixed point of x' = W tanh(x) + b for b = x - W tanh(x)
    jacobian = np.asarray(weight) @ np.diag(1 - np.tanh(x) ** 2)
    np.testing.assert_allclose(jacobian, [[8, 6], [-8, -6]])
    flow = linear_flow(jnp.asarray(jacobian), (1, 2, 3, 2000))
    np.testing.assert_allclose(np.exp(flow.log_norm[:3]), np.sqrt(200) * np.array([1, 2, 4]), rtol=1e-12)
    np.testing.assert_allclose(flow.log_norm[3], 0.5 * np.log(200) + 1999 * np.log(2), rtol=1e-12)
    assert (flow.log_values[:, 1] == -np.inf).all() or (flow.log_values[:, 1] < flow.log_norm - 30).all()


def test_a_transient_before_the_spectral_radius_rules():
    flow = linear_flow(jnp.array([[0.9, 10.0], [0.0, 0.9]]), range(101))
    lag, norm = flow.peak
    assert lag == 9
    np.testing.assert_allclose(norm, 38.746, rtol=1e-4)
    np.testing.assert_allclose(np.exp(flow.log_norm)[[50, 100]], [2.8632, 0.029513], rtol=1e-4)
    np.testing.assert_allclose(flow.log_radius, np.arange(101) * np.log(0.9))
    assert flow.departure > 0.9


@pytest.mark.parametrize(("step", "growth"), [(0.01, 1.051), (0.1, 144.8), (0.3, 5.17e18)])
def test_antisymmetric_networks_grow_in_steps_of_euler(step, growth):
    spin = np.array([[0.0, 1.0], [-1.0, 0.0]])
    flow = linear_flow(jnp.asarray(np.eye(2) + step * spin), (1, 1000))
    np.testing.assert_allclose(np.exp(flow.log_norm), np.sqrt(1 + step**2) ** np.array([1, 1000]), rtol=1e-10)
    np.testing.assert_allclose(np.exp(flow.log_norm[1]), growth, rtol=1e-3)
    damped = linear_flow(jnp.asarray((1 - 0.2 * step) * np.eye(2) + step * spin), (1000,))
    np.testing.assert_allclose(damped.log_norm, 1000 * np.log(abs(1 - 0.2 * step + 1j * step)), rtol=1e-10)


def test_errors_and_a_matrix_of_zeros():
    flow = linear_flow(jnp.zeros((2, 2)), (0, 3))
    assert flow.log_norm.tolist() == [0.0, -np.inf] and flow.log_radius.tolist() == [0.0, -np.inf]
    for lags in ((), (-1,)):
        with pytest.raises(ValueError, match="`lags` must be one or more whole numbers of at least 0"):
            linear_flow(jnp.eye(2), lags)
    for weight in (jnp.array([[0.9j]]), jnp.eye(2, dtype=jnp.int32)):
        with pytest.raises(TypeError, match="`weight` must be real floating point, got"):
            linear_flow(weight, (1,))
    for weight in (jnp.ones((2, 3)), jnp.full((2, 2), jnp.nan)):
        with pytest.raises(ValueError, match="`weight` must be a square matrix of finite numbers, got shape"):
            linear_flow(weight, (1,))
    assert linear_flow(jnp.eye(2, dtype=jnp.bfloat16), (1,)).log_norm.tolist() == [0.0]
