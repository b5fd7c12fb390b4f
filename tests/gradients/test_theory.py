"""Adjoint norms against what theory says exactly: orthogonal, scaled, gated and truncated recurrences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import GRU, LRU, LSTM, ConstantErrorCarousel, Elman, MinGRU, OriginalLSTM
from jaxrnn.cells.gru import negate_update_gate
from jaxrnn.gradients import adjoint_norms, decay_fit, geometric_mean, mean, median, root_mean_square, step_jacobians
from jaxrnn.initializers import Chrono, ForgetBias, Identity, Orthogonal

KEY = jax.random.key(3)
FLOAT = jnp.float64


def last_output(ys):
    return ys[-1].sum(axis=-1)


def without_weights(cell, bias):
    params = cell.init(KEY, 2, FLOAT)
    return params._replace(
        input=jnp.zeros_like(params.input), recurrent=jnp.zeros_like(params.recurrent), bias=params.bias + bias
    )


@pytest.mark.parametrize("radius", [1.0, 0.9, 1.1])
def test_scaled_orthogonal_linear_network(radius):
    cell = Elman(16, "identity", recurrent_init=Orthogonal(radius))
    xs = jax.random.normal(KEY, (1001, 2, 3), FLOAT)
    norms = adjoint_norms(cell, cell.init(KEY, 3, FLOAT), xs, last_output)
    lags = np.arange(1000, -1, -1)[:, None]
    np.testing.assert_allclose(
        norms - norms[-1], np.broadcast_to(lags * np.log(radius), (1001, 2)), rtol=1e-10, atol=1e-10
    )
    if radius != 1.0:
        np.testing.assert_allclose(np.exp(norms[-101] - norms[-1]), {0.9: 2.65614e-5, 1.1: 13780.6}[radius], rtol=1e-5)


@pytest.mark.parametrize(("bias", "half_life"), [(0.0, 1.000), (1.0, 2.213), (2.0, 5.461), (3.0, 14.27), (5.0, 103.2)])
def test_zero_weight_lstm_decays_by_its_forget_gate(bias, half_life):
    cell = LSTM(4, bias_init=ForgetBias(bias))
    params = without_weights(cell, 0.0)
    norms = adjoint_norms(cell, params, jnp.zeros((201, 1, 2), FLOAT), last_output)
    rate = np.log(1 / (1 + np.exp(-bias)))
    np.testing.assert_allclose(norms[:-1] - norms[-2], np.arange(199, -1, -1.0)[:, None] * rate, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(decay_fit(norms[:-1]).half_life, half_life, rtol=5e-4)


def test_zero_weight_lstm_crosses_the_output_gate_once():
    """dh_T/dc_t = o (1 - tanh(c_T)^2) f^(T - t), with a memory that is not zero."""
    bias = jnp.repeat(jnp.array([0.3, 1.2, 0.7, -0.4], FLOAT), 4)
    cell = LSTM(4, bias_init=ForgetBias(0.0))
    params = without_weights(cell, bias)
    norms = adjoint_norms(cell, params, jnp.zeros((31, 1, 2), FLOAT), last_output)
    i, f, o = (1 / (1 + np.exp(-b)) for b in (0.3, 1.2, -0.4))
    c = i * np.tanh(0.7) * (1 - f**31) / (1 - f)
    expected = 0.5 * np.log(4) + np.log(o * (1 - np.tanh(c) ** 2)) + np.arange(30, 0, -1) * np.log(f)
    np.testing.assert_allclose(norms[:-1, 0], expected, rtol=1e-10)


@pytest.mark.parametrize(("time", "kept"), [(10, 0.34868), (100, 0.36603), (784, 0.36764), (1000, 0.36770)])
def test_chrono_keeps_one_part_in_e(time, kept):
    bias = np.log(time - 1)
    cell = LSTM(1, bias_init=ForgetBias(float(bias)))
    norms = adjoint_norms(cell, without_weights(cell, 0.0), jnp.zeros((time + 2, 1, 2), FLOAT), last_output)
    np.testing.assert_allclose(np.exp(norms[0, 0] - norms[time, 0]), kept, atol=1e-5)
    drawn = Chrono(time)(KEY, (4, 1000), FLOAT, keep=1, write=0)
    assert (drawn[1] <= bias).all() and (drawn[1] >= 0).all()


@pytest.mark.parametrize("bias", [-1.0, 0.0, 2.0])
def test_zero_weight_gru_keeps_by_its_update_gate(bias):
    cell = GRU(4)
    params = without_weights(cell, jnp.repeat(jnp.array([bias, 0.0, 0.0], FLOAT), 4))
    xs = jnp.zeros((101, 1, 2), FLOAT)
    norms = adjoint_norms(cell, params, xs, last_output)
    np.testing.assert_allclose(norms[0] - norms[-1], 100 * np.log(1 / (1 + np.exp(-bias))), rtol=1e-10)
    other = adjoint_norms(cell, negate_update_gate(params), xs, last_output)
    np.testing.assert_allclose(other[0] - other[-1], 100 * np.log(1 / (1 + np.exp(bias))), rtol=1e-10)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_carousel_with_other_paths_cut_is_constant_to_the_bit(dtype):
    small = Orthogonal(0.01)  # keeps the memory from drifting into saturation, where tanh(c)' rounds to zero
    cell = ConstantErrorCarousel(8, cut=True, recurrent_init=small)
    xs = 0.01 * jax.random.normal(KEY, (1001, 2, 3), dtype)
    norms = np.asarray(adjoint_norms(cell, cell.init(KEY, 3, dtype), xs, last_output))
    assert np.isfinite(norms).all()
    assert (norms == norms[-1]).all()
    open_paths = adjoint_norms(
        ConstantErrorCarousel(8, recurrent_init=small), cell.init(KEY, 3, dtype), xs, last_output
    )
    assert (np.asarray(open_paths[0]) != np.asarray(open_paths[-1])).all()


def test_original_lstm_memory_is_a_carousel_without_recurrent_weights():
    cell = OriginalLSTM(4)
    norms = adjoint_norms(cell, without_weights(cell, 0.0), jnp.zeros((301, 1, 2), FLOAT), last_output)
    assert np.isfinite(norms).all()
    assert (norms[:-1] == norms[-2]).all()


@pytest.mark.parametrize("active", [8, 5])
def test_irnn_without_input_is_constant_to_the_bit_on_active_units(active):
    cell = Elman(8, "relu", recurrent_init=Identity())
    params = cell.init(KEY, 1)._replace(
        bias=jnp.zeros(8, jnp.float32), input=jnp.sign(active - 0.5 - jnp.arange(8.0))[None].astype(jnp.float32)
    )
    xs = jnp.zeros((1001, 1, 1), jnp.float32).at[0].set(1.0)
    norms = np.asarray(adjoint_norms(cell, params, xs, last_output))
    assert (norms[:-1] == np.float32(0.5) * np.log(np.float32(active))).all()
    mask = np.diag(np.arange(8) < active).astype(np.float32)
    assert (np.asarray(step_jacobians(cell, params, xs))[:, 0] == mask).all()


def test_linear_cells_decay_by_their_coefficients():
    """LRU by its eigenvalues, and MinGRU at zero input by sigmoid(0) = 1/2."""
    lru = LRU(1, 1, min_radius=0.9, max_radius=0.95)
    params = lru.init(KEY, 1, FLOAT)
    norms = adjoint_norms(lru, params, jnp.zeros((501, 1, 1), FLOAT), last_output)
    np.testing.assert_allclose(norms[0] - norms[-1], -500 * np.exp(params.log_decay), rtol=1e-10)
    cell = MinGRU(3)
    norms = adjoint_norms(cell, cell.init(KEY, 1, FLOAT), jnp.zeros((501, 1, 1), FLOAT), last_output)
    np.testing.assert_allclose(norms[0] - norms[-1], 500 * np.log(0.5), rtol=1e-12)


def test_tanh_forgets_by_a_power_law():
    """h' = tanh(h) from 1/2: no exponential, the norm falls like T^-3/2."""
    cell = Elman(1, recurrent_init=Identity())
    params = cell.init(KEY, 1, FLOAT)._replace(input=jnp.ones((1, 1), FLOAT))
    xs = jnp.zeros((100_001, 1), FLOAT).at[0, 0].set(np.arctanh(0.5))  # the first state is 1/2
    expected = {10: 0.222760, 100: 1.30623e-2, 1000: 4.48429e-4, 10_000: 1.43077e-5, 100_000: 4.52874e-7}
    norms = {}
    for steps in expected:
        logs = adjoint_norms(cell, params, xs[: steps + 1], lambda ys: ys[-1, 0])
        norms[steps] = float(logs[0])
        assert logs[-1] == 0
    found = np.exp(list(norms.values()))
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-5)
    slope = (norms[100_000] - norms[10_000]) / np.log(10)
    np.testing.assert_allclose(slope, -1.49959, atol=1e-5)
    closed = 0.5**-3 * (0.5**-2 + 2 * np.array(list(norms)) / 3) ** -1.5
    np.testing.assert_allclose(closed, found, rtol=0.05)


def test_statistics_have_exponents_of_their_own():
    """Independent factors of 1/2 and 3/2: the typical product shrinks, the mean keeps, the mean square grows."""
    factors = np.log([0.5, 1.5])
    rates = [of(jnp.asarray(factors)) for of in (geometric_mean, mean, root_mean_square)]
    np.testing.assert_allclose(np.exp(rates), [0.75**0.5, 1, 1.25**0.5], rtol=1e-10)
    np.testing.assert_allclose(np.exp(rates), [0.8660, 1, 1.1180], rtol=1e-4)
    ups = np.random.default_rng(0).binomial(40, 0.5, size=20_001)
    logs = jnp.asarray(ups * factors[1] + (40 - ups) * factors[0])
    np.testing.assert_allclose(np.exp(median(logs)), 0.75**20, rtol=1e-9)
    np.testing.assert_allclose(np.exp(median(logs)), 3.17e-3, rtol=1e-3)
    np.testing.assert_allclose(np.exp(40 * rates[2]), 86.7, rtol=2e-3)
    np.testing.assert_allclose(geometric_mean(logs), 40 * rates[0], rtol=0.01)
