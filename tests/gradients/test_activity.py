"""Activations inside a step against the equations, saturation against counts, memory rates against closed forms."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import GRU, LRU, LSTM, CoupledLSTM, Elman, HiddenCarry, MinGRU, PeepholeLSTM, ResetBeforeGRU, Stack, unroll
from jaxrnn.gradients import Activation, activations, memory_rates, saturation, time_constants
from tests.examples import UserGated, UserNoise

KEY = jax.random.key(17)
FLOAT = jnp.float64
COUPLED = ["forget gate", "candidate", "output gate", "tanh 1"]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x)))


def case(cell, batch=(2,)):
    return cell.init(KEY, 3, FLOAT), jax.random.normal(KEY, (6, *batch, 3), FLOAT)


def test_the_gates_of_an_lstm_are_those_of_its_equations():
    cell = LSTM(4)
    params, xs = case(cell)
    found = {a.name: a for a in activations(cell, params, xs)}
    assert list(found) == ["input gate", "forget gate", "candidate", "output gate", "tanh 1"]
    h, c = np.zeros((2, 4)), np.zeros((2, 4))
    for t in range(6):
        i, f, g, o = np.split(np.asarray(xs[t] @ params.input + params.bias) + h @ np.asarray(params.recurrent), 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        expected = dict(zip(found, (sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o), np.tanh(c)), strict=True))
        for name, values in expected.items():
            np.testing.assert_allclose(found[name].values[t], values, rtol=1e-10, err_msg=name)
    assert [a.kind for a in found.values()] == ["sigmoid", "sigmoid", "tanh", "sigmoid", "tanh"]


@dataclass(frozen=True)
class Compiled(UserGated):
    """A user's cell with a helper that is compiled by itself, and a relu."""

    def update(self, pointwise, carry, u, v):
        return HiddenCarry(gate_and_keep(u[0] + v[0], carry.h) + jax.nn.relu(u[1] + v[1]))


@dataclass(frozen=True)
class Twice(UserGated):
    """A user's cell with two nonlinearities on one gate."""

    def update(self, pointwise, carry, u, v):
        a, b = (left + right for left, right in zip(u, v, strict=True))
        return HiddenCarry(jax.nn.sigmoid(a) * carry.h + jax.nn.sigmoid(b) * jnp.tanh(a))


@jax.jit
def gate_and_keep(z, h):
    return jax.nn.sigmoid(z) * h


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (GRU(3), ["update gate", "reset gate", "candidate"]),
        (PeepholeLSTM(3), ["input gate", "forget gate", "candidate", "output gate", "tanh 1"]),
        (CoupledLSTM(3), COUPLED),
        (Elman(3, "relu"), ["hidden state"]),
        (ResetBeforeGRU(3), ["update gate", "reset gate", "candidate"]),
        (Twice(3), ["gate 0", "gate 1", "gate 0 2"]),
        (UserGated(3), ["gate 0", "gate 1"]),
        (Compiled(3), ["gate 0", "gate 1"]),
        (Stack((CoupledLSTM(3), Elman(2))), [f"layer 1, {n}" for n in COUPLED] + ["layer 2, hidden state"]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_names(cell, names):
    params, xs = case(cell, batch=())
    found = activations(cell, params, xs)
    assert [a.name for a in found] == names
    if isinstance(cell, Elman):
        np.testing.assert_allclose(found[0].values, unroll(cell, params, xs)[1], rtol=1e-12)


def test_further_entries_of_u_are_no_gates():
    cell = UserNoise(3)
    params, xs = case(cell)
    found = activations(cell, params, (xs, jnp.ones((6, 2, 3), FLOAT)))
    assert [a.name for a in found] == ["gate 0", "gate 1"]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("sigmoid", [0.04, 0.2, 0.96, 0.97], (0.25, 0.5, None)),
        ("tanh", [-0.99, -0.96, 0.93, 0.96], (0.5, 0.25, None)),
        ("relu", [0.0, 0.0, 2.0, 0.5], (0.5, 0.0, 0.5)),
    ],
)
def test_saturation(kind, values, expected):
    values = np.array(values).reshape(2, 1, 2)
    found = saturation(Activation("a", kind, jnp.asarray(values)))
    slopes = {"sigmoid": values * (1 - values), "tanh": 1 - values**2, "relu": (values > 0) * 1.0}[kind]
    np.testing.assert_allclose(found, (*expected[:2], np.mean(slopes**2)), rtol=1e-12)
    assert expected[2] is None or found.mean_square_slope == expected[2]


def test_memory_rates_are_the_exact_exponents():
    lstm = LSTM(3)
    params, xs = case(lstm)
    forget = next(a.values for a in activations(lstm, params, xs) if a.name == "forget gate")
    np.testing.assert_allclose(memory_rates(lstm, params, xs), np.log(forget).mean(axis=0), rtol=1e-12)
    gru = GRU(3)
    params = gru.init(KEY, 3, FLOAT)
    still = params._replace(input=0 * params.input, recurrent=0 * params.recurrent)
    np.testing.assert_allclose(memory_rates(gru, still, xs), np.log(0.5), rtol=1e-12)
    lru = LRU(3, 3)
    params = lru.init(KEY, 3, FLOAT)
    exact = np.broadcast_to(-np.exp(params.log_decay), (2, 3))
    np.testing.assert_allclose(memory_rates(lru, params, xs), exact, rtol=1e-9)
    np.testing.assert_allclose(time_constants(memory_rates(lru, params, xs)), -1 / exact, rtol=1e-9)
    mingru = MinGRU(3)
    params = mingru.init(KEY, 3, FLOAT)
    a, _ = mingru.coefficients(params, mingru.project(params, xs))
    np.testing.assert_allclose(memory_rates(mingru, params, xs), np.log(a).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(time_constants(jnp.array([0.1, -np.inf, -0.25])), [np.inf, 0.0, 4.0])


def test_memory_rates_of_gates_that_round_to_zero_and_to_one():
    reset_before = ResetBeforeGRU(2)
    still = jax.tree.map(jnp.zeros_like, reset_before.init(KEY, 3, FLOAT))
    np.testing.assert_allclose(memory_rates(reset_before, still, jnp.ones((4, 3), FLOAT)), np.log(0.5))
    cell = LSTM(2)
    params = cell.init(KEY, 3, jnp.float32)
    params = jax.tree.map(jnp.zeros_like, params)
    params = params._replace(bias=params.bias.at[2:4].set(jnp.array([-200.0, 30.0], jnp.float32)))
    rates = memory_rates(cell, params, jnp.ones((4, 3), jnp.float32))
    np.testing.assert_allclose(rates, [-200.0, -np.exp(-30.0)], rtol=1e-5)


def test_errors():
    params, xs = case(Elman(3))
    with pytest.raises(TypeError, match="`keep_gate` is a sigmoid, got Elman.*lyapunov_spectrum"):
        memory_rates(Elman(3), params, xs)
    with pytest.raises(TypeError, match="activations: `cell` must be a Cell or a Stack"):
        activations(3, params, xs)
    mingru = MinGRU(3)
    with pytest.raises(FloatingPointError, match="memory_rates: the projections"):
        memory_rates(mingru, mingru.init(KEY, 3, FLOAT), xs.at[1].set(jnp.nan))
    with pytest.raises(FloatingPointError, match="activations: the projections"):
        activations(Elman(3), params, xs.at[1].set(jnp.nan))
