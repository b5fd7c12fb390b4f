"""Initialisers: their numbers, equality, and what they print."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import GRU, LSTM, CoupledLSTM, Elman, initializers
from jaxrnn.initializers import Chrono, ForgetBias, Gaussian, Glorot, Identity, Orthogonal, ZeroBias
from tests.examples import CELLS, name

KEY = jax.random.key(11)
RULES = [Glorot(), Orthogonal(), Orthogonal(0.9), Identity(), Identity(0.5), Gaussian(), Gaussian(1.5)]
BIASES = [ZeroBias(), ForgetBias(), ForgetBias(3.0), Chrono(100)]


def gate(array, k, size):
    return np.asarray(array)[..., k * size : (k + 1) * size]


def test_glorot_fills_its_bound():
    weight = np.asarray(Glorot()(KEY, (60, 40), jnp.float64))
    bound = np.sqrt(6 / 100)
    assert 0.99 * bound < np.abs(weight).max() <= bound
    assert np.isclose(weight.std(), bound / np.sqrt(3), rtol=0.05)


@pytest.mark.parametrize("radius", [1.0, 0.9, 1.3])
def test_orthogonal_has_one_spectral_radius(radius):
    weight = np.asarray(Orthogonal(radius)(KEY, (30, 30), jnp.float64))
    np.testing.assert_allclose(weight @ weight.T, radius**2 * np.eye(30), atol=1e-12)
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(weight)), radius, rtol=1e-12)


def test_gaussian_scales_with_the_rows():
    weight = np.asarray(Gaussian(1.5)(KEY, (400, 100), jnp.float64))
    assert np.isclose(weight.std(), 1.5 / 20, rtol=0.02) and abs(weight.mean()) < 0.002


def test_identity():
    np.testing.assert_array_equal(Identity(0.5)(KEY, (3, 4)), 0.5 * np.eye(3, 4))


@pytest.mark.parametrize("cell", [c for c in CELLS if hasattr(c, "recurrent_init")], ids=name)
def test_every_recurrent_block_is_orthogonal(cell):
    """Gate by gate and head by head: one orthogonal matrix for all would give each singular values below one."""
    recurrent = cell.init(KEY, 3, jnp.float64).recurrent
    heads = recurrent if recurrent.ndim == 3 else recurrent[None]
    size = heads.shape[1]
    assert size == cell.hidden_size // getattr(cell, "heads", 1)
    blocks = [gate(head, k, size) for head in heads for k in range(head.shape[1] // size)]
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(size), atol=1e-12)
    assert len({block.tobytes() for block in blocks}) == len(blocks)


def test_glorot_of_each_gate_by_itself():
    weights = LSTM(40).init(KEY, 60, jnp.float64).input
    for k in range(4):
        assert 0.98 * np.sqrt(6 / 100) < np.abs(gate(weights, k, 40)).max() <= np.sqrt(6 / 100)


def test_forget_bias_sits_on_the_gate_that_keeps():
    np.testing.assert_array_equal(LSTM(2).init(KEY, 3).bias, [0, 0, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(LSTM(2, bias_init=ForgetBias(3.0)).init(KEY, 3).bias, [0, 0, 3, 3, 0, 0, 0, 0])
    np.testing.assert_array_equal(CoupledLSTM(2).init(KEY, 3).bias, [1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(GRU(2, bias_init=ForgetBias(2.0)).init(KEY, 3).bias, [2, 2, 0, 0, 0, 0])


def test_chrono_spreads_time_constants_up_to_the_longest():
    bias = Chrono(500)(KEY, (4, 2000), jnp.float64, keep=1, write=0)
    np.testing.assert_array_equal(bias[0], -bias[1])
    assert not np.any(bias[2:])
    steps = np.exp(bias[1])
    assert 1 <= steps.min() < 3 and 497 < steps.max() <= 499
    assert np.isclose(steps.mean(), 250, rtol=0.03)
    np.testing.assert_array_equal(Chrono(2)(KEY, (2, 5), jnp.float64, 0, 1), 0)


def test_chrono_knows_the_gates_of_a_cell():
    writes, keeps, *rest = (gate(LSTM(50, bias_init=Chrono(500)).init(KEY, 3).bias, k, 50) for k in range(4))
    np.testing.assert_array_equal(writes, -keeps)
    assert (keeps > 0).all() and not np.any(rest)
    keeps, *rest = (gate(GRU(50, bias_init=Chrono(500)).init(KEY, 3).bias, k, 50) for k in range(3))
    assert (keeps > 0).all() and not np.any(rest)


@pytest.mark.parametrize("rule", RULES + BIASES, ids=repr)
def test_each_prints_compares_and_hashes_by_its_numbers(rule):
    again = eval(repr(rule), vars(initializers))
    assert rule == again and hash(rule) == hash(again)
    assert sum(rule == other for other in RULES + BIASES) == 1


def test_a_cell_prints_its_initialisers():
    cell = Elman(4, "relu", recurrent_init=Identity(), input_init=Gaussian(0.1))
    assert repr(cell) == (
        "Elman(hidden_size=4, activation='relu', input_init=Gaussian(sigma_w=0.1), "
        "recurrent_init=Identity(scale=1.0), bias_init=ZeroBias(), heads=1)"
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64], ids=lambda d: d.__name__)
def test_dtypes(dtype):
    """Drawn in at least float32 and rounded once."""
    for rule in RULES:
        weight = rule(KEY, (4, 4), dtype)
        assert weight.dtype == dtype
        if jnp.finfo(dtype).bits == 16:
            np.testing.assert_array_equal(weight, rule(KEY, (4, 4), jnp.float32).astype(dtype))
    for rule in BIASES:
        assert rule(KEY, (2, 4), dtype, 0, 1).dtype == dtype
    for cell in CELLS:
        params = cell.init(KEY, 3, dtype)
        assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(params)), cell
