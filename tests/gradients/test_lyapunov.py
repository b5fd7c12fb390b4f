"""Lyapunov spectra against eigenvalues, the Henon map and determinants."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import GRU, LSTM, Cell, Elman, HiddenCarry, Stack, unroll
from jaxrnn.gradients import (
    adjoint_lyapunov_spectrum,
    entropy_rate,
    kaplan_yorke_dimension,
    lyapunov_spectrum,
    mean_log_determinant,
    memory_rates,
)
from jaxrnn.initializers import ForgetBias, Identity

KEY = jax.random.key(11)
FLOAT = jnp.float64


@dataclass(frozen=True)
class Henon(Cell):
    """x' = 1 - a x^2 + y, y' = b x (Henon, 1976): a recurrence without input."""

    a: float = 1.4
    b: float = 0.3

    @property
    def output_size(self):
        return 2

    def init(self, key, input_size, dtype=jnp.float32):
        return ()

    def init_carry(self, batch_shape=(), dtype=jnp.float32):
        return HiddenCarry(jnp.zeros((*batch_shape, 2), dtype))

    def project(self, params, xs):
        return xs[..., :0]

    def advance(self, params, carry, u):
        x, y = carry.h[..., 0], carry.h[..., 1]
        return HiddenCarry(jnp.stack([1 - self.a * x * x + y, self.b * x], axis=-1))


def test_henon_map():
    xs = jnp.zeros((20_000, 1), FLOAT)
    found = lyapunov_spectrum(Henon(), (), xs, transient=100)
    np.testing.assert_allclose(found.exponents, [0.419, -1.623], atol=0.003)
    np.testing.assert_allclose(found.exponents.sum(), np.log(0.3), rtol=1e-10)
    np.testing.assert_allclose(mean_log_determinant(Henon(), (), xs), np.log(0.3), rtol=1e-10)
    adjoint = adjoint_lyapunov_spectrum(Henon(), (), xs, transient=100)
    assert (found.standard_error < 0.01).all() and (found.standard_error > 1e-5).all()
    assert (np.abs(found.drift) < 0.02).all()
    np.testing.assert_allclose(adjoint.exponents, [0.419, -1.623], atol=0.003)


def test_a_constant_matrix_has_the_logarithms_of_its_eigenvalues():
    weights = np.array([[0.9, 3.0, 0.1], [0.0, 0.5, 1.0], [0.2, 0.0, 0.3]])
    cell = Elman(3, "identity")
    params = cell.init(KEY, 1, FLOAT)._replace(recurrent=jnp.asarray(weights))
    xs = jnp.zeros((20_000, 1), FLOAT)
    exact = np.sort(np.log(np.abs(np.linalg.eigvals(weights))))[::-1]
    for spectrum in (lyapunov_spectrum, adjoint_lyapunov_spectrum):
        found = spectrum(cell, params, xs)
        np.testing.assert_allclose(found.exponents, exact, atol=1e-4)
        np.testing.assert_allclose(found.exponents.sum(), np.log(np.abs(np.linalg.det(weights))), rtol=1e-10)
        np.testing.assert_allclose(found.drift, 0, atol=1e-3)


@pytest.mark.parametrize("network", [LSTM(3), GRU(4), Stack((GRU(2), Elman(2)))], ids=lambda n: type(n).__name__)
def test_the_sum_is_the_mean_log_determinant_and_both_directions_agree(network):
    params, xs = network.init(KEY, 2, FLOAT), jax.random.normal(KEY, (600, 2, 2), FLOAT)
    found = lyapunov_spectrum(network, params, xs)
    assert found.exponents.shape == found.standard_error.shape == found.drift.shape
    assert (np.diff(found.exponents) <= 0).all()
    np.testing.assert_allclose(found.exponents.sum(axis=-1), mean_log_determinant(network, params, xs), rtol=1e-9)
    adjoint = adjoint_lyapunov_spectrum(network, params, xs)
    assert (np.abs(adjoint.exponents - found.exponents) < 0.02 + 5 * found.standard_error).all()
    largest = lyapunov_spectrum(network, params, xs, count=1)
    np.testing.assert_allclose(largest.exponents[:, 0], found.exponents[:, 0], atol=0.02)


def test_the_memory_of_an_lstm_is_part_of_its_state():
    """Without weights c keeps sigmoid(b_f) of itself, and h' hangs on c' alone: that direction is lost at once."""
    cell = LSTM(2, bias_init=ForgetBias(2.0))
    params = cell.init(KEY, 1, FLOAT)
    params = params._replace(input=0 * params.input, recurrent=0 * params.recurrent)
    found = lyapunov_spectrum(cell, params, jnp.zeros((50, 1), FLOAT))
    np.testing.assert_allclose(found.exponents[:2], np.log(1 / (1 + np.exp(-2.0))), rtol=1e-10)
    assert (found.exponents[2:] == -jnp.inf).all()


@dataclass(frozen=True)
class Multiplier(Cell):
    """h' = x h: the growth of every step is given."""

    @property
    def output_size(self):
        return 1

    def init(self, key, input_size, dtype=jnp.float32):
        return ()

    def init_carry(self, batch_shape=(), dtype=jnp.float32):
        return HiddenCarry(jnp.ones((*batch_shape, 1), dtype))

    def project(self, params, xs):
        return xs

    def advance(self, params, carry, u):
        return HiddenCarry(u * carry.h)


def test_estimates_of_convergence():
    """Means over the steps that are left, by blocks, and the later half less the earlier."""
    growth = np.random.default_rng(0).normal(size=20) + np.linspace(0, 1, 20)
    xs = jnp.asarray(np.exp(growth))[:, None]
    kept = growth[4:]
    blocks = kept.reshape(4, 4).mean(axis=1)
    found = lyapunov_spectrum(Multiplier(), (), xs, transient=4)
    np.testing.assert_allclose(found.exponents[0], kept.mean(), rtol=1e-10)
    np.testing.assert_allclose(found.standard_error[0], np.std(blocks, ddof=1) / 2, rtol=1e-9)
    np.testing.assert_allclose(found.drift[0], kept[8:].mean() - kept[:8].mean(), rtol=1e-9)
    adjoint = adjoint_lyapunov_spectrum(Multiplier(), (), xs, transient=4)
    np.testing.assert_allclose(adjoint.exponents[0], growth[:16].mean(), rtol=1e-10)  # it starts at the end
    short = lyapunov_spectrum(Multiplier(), (), xs[:3], transient=0)
    assert short.standard_error[0] == np.inf and short.drift[0] == np.inf


def test_dimension_and_entropy():
    cases = [([0.419, -1.623], 1 + 0.419 / 1.623), ([-0.1, -0.2], 0.0), ([0.2, 0.1], 2.0), ([0.5, 0.0, -1.0], 2.5)]
    for exponents, dimension in cases:
        np.testing.assert_allclose(kaplan_yorke_dimension(jnp.array(exponents)), dimension, rtol=1e-12)
    np.testing.assert_allclose(kaplan_yorke_dimension(jnp.array([[0.0, -1.0], [1.0, -2.0]])), [1.0, 1.5])
    np.testing.assert_allclose(entropy_rate(jnp.array([[0.5, 0.1, -2.0], [-1.0, -2.0, -3.0]])), [0.6, 0.0])
    assert np.isnan(kaplan_yorke_dimension(jnp.array([0.1, jnp.nan])))


def test_a_state_of_size_one_and_a_lost_direction():
    one = Elman(1, "identity", recurrent_init=Identity(0.25))
    found = lyapunov_spectrum(one, one.init(KEY, 1, FLOAT), jnp.zeros((1, 1), FLOAT))
    np.testing.assert_allclose(found.exponents, [np.log(0.25)])
    dead = Elman(2, "relu")
    params = dead.init(KEY, 1, FLOAT)._replace(bias=jnp.full(2, -9.0, FLOAT))
    lost = lyapunov_spectrum(dead, params, jnp.zeros((10, 1), FLOAT))
    assert (lost.exponents == -jnp.inf).all() and (lost.drift == 0).all() and (lost.standard_error == 0).all()


@pytest.mark.parametrize("spectrum", [lyapunov_spectrum, adjoint_lyapunov_spectrum])
def test_directions_that_are_lost_for_good_are_told_as_lost(spectrum):
    cell = Elman(5, "relu")
    params, xs = cell.init(KEY, 3, FLOAT), jax.random.normal(KEY, (40, 3), FLOAT)
    on = (np.asarray(unroll(cell, params, xs)[1]) > 0).sum(axis=1)
    found = spectrum(cell, params, xs, transient=0)
    assert (found.exponents > -np.inf).sum() == on.min() < 5
    still_units = Elman(5, "relu", recurrent_init=Identity())  # Jacobians of ones and zeros, each unit off at times
    for seed in range(6):
        params, xs = still_units.init(jax.random.key(seed), 3, FLOAT), jax.random.normal(jax.random.key(seed), (10, 3))
        never_off = (np.asarray(unroll(still_units, params, xs)[1]) > 0).all(axis=0).sum()
        assert (spectrum(still_units, params, xs, transient=0).exponents > -np.inf).sum() == never_off
    lstm = LSTM(3)
    params = lstm.init(KEY, 3, FLOAT)
    xs = jax.random.normal(KEY, (800, 3), FLOAT)
    still = params._replace(recurrent=jnp.zeros_like(params.recurrent))
    rates = memory_rates(lstm, still, xs)
    expected = [*sorted(np.asarray(rates).tolist(), reverse=True), *[-np.inf] * 3]
    np.testing.assert_allclose(spectrum(lstm, still, xs, transient=0).exponents, expected, rtol=2e-2)


def test_errors(without_type_checks):
    cell, xs = GRU(3), jnp.ones((10, 2), FLOAT)
    params = cell.init(KEY, 2, FLOAT)
    for count in (0, 4):
        with pytest.raises(ValueError, match="`count` must be a whole number from 1 to the 3 numbers of the state"):
            lyapunov_spectrum(cell, params, xs, count=count)
    with pytest.raises(ValueError, match="lyapunov_spectrum: `xs` must have at least one step"):
        lyapunov_spectrum(cell, params, xs[:0])
    for transient in (10, -1, 2.5):
        with pytest.raises(ValueError, match="`transient` must be a whole number of steps from 0 to 9"):
            lyapunov_spectrum(cell, params, xs, transient=transient)
    with pytest.raises(FloatingPointError, match="lyapunov_spectrum: the projections"):
        lyapunov_spectrum(cell, params, xs.at[4].set(jnp.nan))
