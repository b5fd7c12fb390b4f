"""Jacobians and singular values of the transport against NumPy, closed forms, and each other."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import GRU, LRU, LSTM, Bidirectional, Elman, Stack, unroll
from jaxrnn.gradients import (
    Transport,
    adjoint_norms,
    extreme_transport,
    histogram,
    spaced_lags,
    step_jacobians,
    transport,
)
from jaxrnn.initializers import ForgetBias, Identity, Orthogonal
from tests.examples import UserPlain

KEY = jax.random.key(5)
FLOAT = jnp.float64
NETWORKS = [LSTM(3), LRU(2, 3), UserPlain(3), Stack((GRU(2), LSTM(2)), residual=True)]


def case(network, time=7, batch=(2,)):
    xs = jax.random.normal(KEY, (time, *batch, 3), FLOAT)
    return network.init(KEY, 3, FLOAT), xs


def vector(carry):
    """(*batch, state) of a carry, complex arrays as real and imaginary part; written apart from the library."""
    leaves: list[Any] = [np.asarray(x) for x in jax.tree.leaves(carry)]
    parts = [p for x in leaves for p in ((x.real, x.imag) if np.iscomplexobj(x) else (x,))]
    return np.concatenate(parts, axis=-1)


def jacobians_by_differences(network, params, xs):
    """Central differences of one step, along the run."""
    carry, found, step = network.init_carry(xs.shape[1:-1], xs.dtype), [], 1e-6

    def moved(leaf_number, bump, x):
        leaves, structure = jax.tree.flatten(carry)
        leaves[leaf_number] += bump
        return vector(unroll(network, params, x[None], structure.unflatten(leaves))[0])

    for x in xs:
        columns = []
        for number, leaf in enumerate(jax.tree.leaves(carry)):
            for unit in (1, 1j) if np.iscomplexobj(leaf) else (1,):
                for i in range(leaf.shape[-1]):
                    bump = jnp.zeros_like(leaf).at[..., i].set(unit * step)
                    columns.append((moved(number, bump, x) - moved(number, -bump, x)) / (2 * step))
        found.append(np.stack(columns, axis=-1))
        carry = unroll(network, params, x[None], carry)[0]
    return np.stack(found)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)
def test_step_jacobians_equal_differences_of_unroll(network):
    params, xs = case(network, time=3)
    got = step_jacobians(network, params, xs)
    np.testing.assert_allclose(got, jacobians_by_differences(network, params, xs), atol=1e-8)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)
def test_transport_equals_the_svd_of_the_product(network):
    params, xs = case(network)
    jacobians = np.asarray(step_jacobians(network, params, xs))
    found = transport(network, params, xs, lags=(0, 1, 2, 7))
    size = jacobians.shape[-1]
    assert found.log_values.shape == (4, 2, size)
    for row, lag in enumerate((0, 1, 2, 7)):
        product = np.broadcast_to(np.eye(size), (2, size, size))
        for t in range(7 - lag, 7):
            product = jacobians[t] @ product
        values = np.linalg.svd(product, compute_uv=False)
        np.testing.assert_allclose(np.exp(found.log_values[row]), values, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(np.exp(found.log_largest[row]), np.linalg.norm(product, 2, (-2, -1)), rtol=1e-10)
        rms = np.linalg.norm(product, axis=(-2, -1)) / np.sqrt(size)
        np.testing.assert_allclose(np.exp(found.log_root_mean_square[row]), rms, rtol=1e-10)


@pytest.mark.parametrize("dtype", [jnp.float32, FLOAT])
@pytest.mark.parametrize("radius", [1.0, 0.5, 2.0])
def test_scaled_orthogonal_matrices_have_one_singular_value(radius, dtype):
    cell = Elman(5, "identity", recurrent_init=Orthogonal(radius))
    found = transport(cell, cell.init(KEY, 1, dtype), jnp.zeros((1000, 1, 1), dtype), lags=(1, 100, 1000))
    exact = np.array([1, 100, 1000])[:, None, None] * np.log(radius) * np.ones(5)
    relative, absolute = (0, 1e-10) if dtype == FLOAT else (2e-5, 1e-3)
    np.testing.assert_allclose(found.log_values, exact, rtol=relative, atol=absolute)
    np.testing.assert_allclose(found.log_condition, 0, atol=absolute)


def test_values_thousands_of_decades_apart_stand_side_by_side():
    """The memory of an LSTM without weights keeps sigmoid(b_f)^lag of each unit, its hidden state nothing."""
    cell = LSTM(3, bias_init=ForgetBias(0.0))
    bias = jnp.zeros((4, 3), FLOAT).at[1].set(jnp.array([5.0, 0.0, -8.0])).reshape(-1)
    params = cell.init(KEY, 1, FLOAT)
    params = params._replace(input=0 * params.input, recurrent=0 * params.recurrent, bias=bias)
    found = transport(cell, params, jnp.zeros((1000, 1), FLOAT), lags=(1000,))
    forget = 1 / (1 + np.exp(-np.array([5.0, 0.0, -8.0])))
    # dc_T/dc = f^lag and dh_T/dc = o (1 - tanh(c)^2) f^lag with c = 0, o = 1/2: one value for each unit, and zeros.
    exact = 1000 * np.log(forget) + 0.5 * np.log(1 + 0.25)
    np.testing.assert_allclose(found.log_values[0, :3], exact, rtol=1e-10)
    assert (found.log_values[0, 3:] == -jnp.inf).all() and (found.log_condition == jnp.inf).all()
    assert found.log_values[0, 2] < -7000


def test_the_largest_value_bounds_every_adjoint_and_is_reached_by_the_worst():
    cell = GRU(4)
    params, xs = case(cell, time=30, batch=())
    largest = transport(cell, params, xs, lags=(29,)).log_largest[0]
    directions = jax.random.normal(KEY, (64, 4), FLOAT)
    norms = jax.vmap(lambda d: adjoint_norms(cell, params, xs, lambda ys: ys[-1] @ d)[0])(directions)
    norms -= jnp.log(jnp.linalg.norm(directions, axis=-1))
    assert max(norms) <= largest + 1e-10 and max(norms) > largest - 0.5


@pytest.mark.parametrize("network", [GRU(4), LRU(2, 3), Stack((GRU(2), Elman(2)))], ids=lambda n: type(n).__name__)
def test_iteration_agrees_with_the_exact_values(network):
    params, xs = case(network, time=12)
    exact = transport(network, params, xs, lags=(0, 1, 4, 12))
    found = extreme_transport(network, params, xs, KEY, lags=(0, 1, 4, 12), probes=400)
    np.testing.assert_allclose(found.log_largest, exact.log_largest, atol=1e-9)
    tight = np.asarray(exact.log_condition) < 20
    np.testing.assert_allclose(found.log_smallest[tight], exact.log_smallest[tight], atol=1e-6)
    assert (found.log_smallest >= exact.log_smallest - 1e-6).all()
    assert (found.log_smallest >= found.log_largest + np.log(2e-16)).all()  # no smaller one can be told
    np.testing.assert_allclose(found.log_root_mean_square, exact.log_root_mean_square, atol=0.08)


def test_iteration_cut_short_still_finds_the_largest_and_bounds_the_smallest():
    cell = Elman(24, "identity")
    values = jnp.geomspace(1.5, 0.5, 24)
    left, right = (jnp.linalg.qr(jax.random.normal(key, (24, 24), FLOAT))[0] for key in jax.random.split(KEY))
    params = cell.init(KEY, 1, FLOAT)._replace(recurrent=left @ jnp.diag(values) @ right)
    xs = jnp.zeros((5, 1), FLOAT)
    exact = transport(cell, params, xs, lags=(1, 5))
    found = extreme_transport(cell, params, xs, KEY, lags=(1, 5), iterations=12)
    np.testing.assert_allclose(found.log_largest, exact.log_largest, atol=0.01)
    assert (found.log_largest <= exact.log_largest + 1e-10).all()
    assert (found.log_smallest > exact.log_smallest + 1e-3).all()  # not yet there, and from above
    assert (found.log_condition < exact.log_condition).all()
    whole = extreme_transport(cell, params, xs, KEY, lags=(1, 5), iterations=24)
    np.testing.assert_allclose(whole.log_condition, exact.log_condition, atol=1e-6)


def test_iteration_reaches_lags_beyond_the_range_of_float32():
    cell = Elman(6, "identity", recurrent_init=Orthogonal(0.25))
    xs = jnp.zeros((300, 1), jnp.float32)
    found = extreme_transport(cell, cell.init(KEY, 1), xs, KEY, lags=(300,), iterations=3, probes=2)
    for value in found[1:]:
        np.testing.assert_allclose(value, 300 * np.log(0.25), rtol=1e-5)
    dead = Elman(6, "identity", recurrent_init=Identity(0.0))
    nothing = extreme_transport(dead, dead.init(KEY, 1), xs, KEY, lags=(2,), iterations=3, probes=2)
    assert all((value == -jnp.inf).all() for value in nothing[1:])


def test_a_state_of_size_one_and_a_single_step():
    cell = Elman(1, "identity", recurrent_init=Identity(0.3))
    params, xs = cell.init(KEY, 1, FLOAT), jnp.ones((1, 1), FLOAT)
    found = transport(cell, params, xs)
    np.testing.assert_allclose(found.log_values[:, 0], [0.0, np.log(0.3)], atol=1e-12)
    np.testing.assert_allclose(extreme_transport(cell, params, xs, KEY).log_largest, found.log_largest, atol=1e-12)
    assert step_jacobians(cell, params, xs).shape == (1, 1, 1)


def test_a_tanh_network_whose_gradients_double_for_ever_though_its_spectral_radius_is_zero():
    """At its fixed point h = (0, 1/2) every Jacobian is J = D W with J^2 = 2 J, while W^2 = 0."""
    weights, held = np.array([[8.0, 8.0], [-8.0, -8.0]]), np.array([0.0, np.arctanh(0.5)])
    cell = Elman(2, input_init=Identity())
    params = cell.init(KEY, 2, FLOAT)._replace(recurrent=jnp.asarray(weights.T))
    still = held - weights @ np.tanh(held)  # the input that keeps it there; the first brings it there from 0
    xs = jnp.asarray(np.stack([held, *[still] * 11]))
    np.testing.assert_allclose(unroll(cell, params, xs)[1], np.tile([0, 0.5], (12, 1)), atol=1e-9)
    found = transport(cell, params, xs, lags=(1, 2, 3, 11))
    np.testing.assert_allclose(np.exp(found.log_largest), 200**0.5 * 2.0 ** np.array([0, 1, 2, 10]), rtol=1e-10)
    np.testing.assert_array_less(found.log_smallest[1:], -20)  # J has rank 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_units_of_relu_that_are_off_take_exactly_their_part_away(dtype):
    cell = Elman(5, "relu")
    params = cell.init(KEY, 3, dtype)
    xs = jax.random.normal(KEY, (6, 3), dtype)
    found = transport(cell, params, xs, lags=range(7))
    states = np.concatenate([np.zeros((1, 5)), np.asarray(unroll(cell, params, xs)[1])])
    jacobians = np.asarray(step_jacobians(cell, params, xs), np.float64)
    product = np.eye(5)
    for lag in range(7):
        rank = min([5, *((states[-t] > 0).sum() for t in range(1, lag + 1))])
        assert (found.log_values[lag] > -np.inf).sum() == rank
        exact = np.log(np.linalg.svd(product, compute_uv=False)[:rank])
        np.testing.assert_allclose(found.log_values[lag, :rank], exact, atol=1e-9 if dtype == FLOAT else 1e-4)
        product = product @ jacobians[-1 - lag] if lag < 6 else product
    assert 0 < (states[1:] > 0).sum() < 30


def test_states_that_no_step_reads_take_exactly_their_part_away():
    cell = LSTM(3)
    params = cell.init(KEY, 2, FLOAT)
    params = params._replace(recurrent=jnp.zeros_like(params.recurrent))  # h is written and never read
    found = transport(cell, params, jax.random.normal(KEY, (9, 2), FLOAT), lags=(1, 9))
    assert ((found.log_values > -np.inf).sum(axis=-1) == 3).all()


def test_histogram_counts_every_value_once():
    logs = jnp.array([[[0.0, -1.0], [0.0, -jnp.inf]], [[3.0, -2.0], [3.0, 3.0]]], FLOAT)
    spread = histogram(Transport(jnp.array([1, 2]), logs), bins=5)
    np.testing.assert_allclose(spread.edges, np.arange(-2, 4.0))
    np.testing.assert_allclose(spread.fractions, [[0, 0.25, 0.5, 0, 0], [0.25, 0, 0, 0, 0.75]])
    np.testing.assert_allclose(spread.fraction_zero, [0.25, 0])
    np.testing.assert_allclose(spread.fractions.sum(axis=1) + spread.fraction_zero, 1)
    nothing = histogram(Transport(jnp.array([1]), jnp.full((1, 2, 3), -jnp.inf, FLOAT)), bins=2)
    assert np.isfinite(nothing.edges).all() and nothing.fraction_zero == 1 and (nothing.fractions == 0).all()


def test_spaced_lags():
    assert spaced_lags(0) == (0,) and spaced_lags(3) == (0, 1, 2, 3)
    for time in (5, 30, 100, 5000):
        lags = spaced_lags(time, 12)
        assert lags[0] == 0 and lags[-1] == time and len(lags) <= 12 and list(lags) == sorted(set(lags))


def test_errors(without_type_checks):
    cell = GRU(3)
    params, xs = case(cell)
    for lags in ((-1,), (), (2.5,), 3):
        with pytest.raises(ValueError, match="`lags` must be one or more whole numbers of at least 0"):
            transport(cell, params, xs, lags=lags)
    with pytest.raises(ValueError, match="transport: `xs` must have at least one step"):
        transport(cell, params, xs[:0])
    for lags in ((8,), (2, 2)):
        with pytest.raises(ValueError, match="`lags` must be one or more whole numbers from 0 to the 7 steps"):
            transport(cell, params, xs, lags=lags)
    both = Bidirectional(cell, cell)
    with pytest.raises(TypeError, match="`cell` must be a Cell or a Stack, got Bidirectional.*one by one"):
        transport(both, both.init(KEY, 3, FLOAT), xs)
    with pytest.raises(FloatingPointError, match="transport: the projections of `xs` are not finite from step 3"):
        transport(cell, params, xs.at[3, 0].set(jnp.nan))
    with pytest.raises(ValueError, match="`iterations` must be a whole number of at least 1, got 0"):
        extreme_transport(cell, params, xs, KEY, iterations=0)
