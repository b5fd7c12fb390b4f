"""adjoint_norms against plain automatic differentiation, and its range, dtypes and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import (
    GRU,
    LRU,
    LSTM,
    Bidirectional,
    ConstantErrorCarousel,
    Elman,
    Jordan,
    MinGRU,
    PeepholeLSTM,
    Stack,
)
from jaxrnn.gradients import adjoint_norms, adjoint_parts, step_jacobians
from jaxrnn.initializers import Identity, Orthogonal
from jaxrnn.stochastic import regularize

KEY = jax.random.key(0)


def last_output(ys):
    return ys[-1].sum(axis=-1)


def every_output(ys):
    return (ys**2).sum(axis=(0, -1))


def norms_by_perturbation(cell, params, xs, loss):
    """ln ||dL/ds_t|| from the gradient with respect to a perturbation added to every carry."""
    batch_shape = xs.shape[1:-1]
    start = cell.init_carry(batch_shape, xs.dtype)

    def total(bumps):
        carry, ys = start, []
        for t in range(xs.shape[0]):
            u = cell.project(params, xs[t])
            carry = jax.tree.map(lambda c, bump, t=t: c + bump[t], cell.advance(params, carry, u), bumps)
            ys.append(cell.output(params, carry, u))
        return loss(jnp.stack(ys)).sum()

    grads = jax.jit(jax.grad(total))(jax.tree.map(lambda c: jnp.zeros((xs.shape[0], *c.shape), c.dtype), start))
    squares = sum((jnp.abs(g) ** 2).sum(axis=-1) for g in jax.tree.leaves(grads))
    return 0.5 * jnp.log(squares)


@pytest.mark.parametrize("loss", [last_output, every_output])
@pytest.mark.parametrize(
    "cell", [LSTM(4), PeepholeLSTM(4), GRU(4), Jordan(4, 2), ConstantErrorCarousel(4), MinGRU(4), LRU(4, 3)], ids=repr
)
def test_equals_automatic_differentiation(cell, loss):
    params = cell.init(KEY, 3, jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (7, 2, 3), jnp.float64)
    got = adjoint_norms(cell, params, xs, loss)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, norms_by_perturbation(cell, params, xs, loss), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batch_shape", [(), (2, 3)])
def test_batch_axes(batch_shape):
    cell, xs = GRU(3), jax.random.normal(KEY, (5, *batch_shape, 2), jnp.float64)
    params = cell.init(KEY, 2, jnp.float64)
    got = adjoint_norms(cell, params, xs, every_output)
    assert got.shape == (5, *batch_shape)
    np.testing.assert_allclose(got, norms_by_perturbation(cell, params, xs, every_output), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("radius", [0.5, 1.1, 2.0])
def test_neither_underflows_nor_overflows_float32(radius):
    cell = Elman(6, "identity", recurrent_init=Orthogonal(radius))
    params = cell.init(KEY, 2)
    norms = adjoint_norms(cell, params, jnp.zeros((1001, 2, 2), jnp.float32), last_output)
    assert norms.dtype == jnp.float32
    lags = np.arange(1000, -1, -1)
    np.testing.assert_allclose(norms - norms[-1], np.broadcast_to(lags * np.log(radius), (2, 1001)).T, rtol=3e-6)


def test_one_step_can_leave_the_range():
    cell = Elman(3, "identity", recurrent_init=Orthogonal(1e-30))
    norms = adjoint_norms(cell, cell.init(KEY, 1), jnp.zeros((5, 1), jnp.float32), last_output)
    np.testing.assert_allclose(norms[0] - norms[-1], 4 * np.log(1e-30), rtol=1e-6)


def test_exact_zero_is_minus_infinity_and_nan_stays_nan():
    cell = Elman(3, "relu")
    params = cell.init(KEY, 1)._replace(bias=jnp.full(3, -5.0, jnp.float32))
    xs = jnp.zeros((4, 2, 1), jnp.float32)
    norms = adjoint_norms(cell, params, xs, last_output)
    assert (norms[:-1] == -jnp.inf).all() and np.isfinite(norms[-1]).all()
    broken = xs.at[2, 0].set(jnp.nan)
    with pytest.raises(FloatingPointError, match="adjoint_norms: the projections of `xs` are not finite from step 2"):
        adjoint_norms(cell, params, broken, every_output)
    compiled = jax.jit(lambda xs: adjoint_norms(cell, params, xs, every_output))(broken)
    assert np.isnan(compiled[:, 0]).all() and not np.isnan(compiled[:, 1]).any()


@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_a_state_that_overflows_is_named(activation):
    """relu has the derivative 0 at NaN, so that without a look at the states an exploding network would seem dead."""
    cell = Elman(2, activation)
    params = cell.init(KEY, 1)._replace(recurrent=jnp.full((2, 2), 1e20), input=jnp.ones((1, 2), jnp.float32))
    params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    xs = jnp.ones((6, 3, 1), jnp.float32).at[:, 0].set(0.0)
    with pytest.raises(FloatingPointError, match="the states are not finite from step 2 on.*shorten the sequence"):
        adjoint_norms(cell, params, xs, last_output)
    compiled = jax.jit(lambda xs: adjoint_norms(cell, params, xs, last_output))(xs)
    assert np.isnan(compiled[:, 1:]).all() and not np.isnan(compiled[:, 0]).any()


def test_a_derivative_that_does_not_exist_is_named():
    cell = Elman(2)
    with pytest.raises(FloatingPointError, match="every state is finite.*sqrt or a norm at zero"):
        adjoint_norms(
            cell, cell.init(KEY, 1), jnp.zeros((3, 1), jnp.float32), lambda ys: jnp.linalg.norm(ys[-1], axis=-1)
        )


def test_an_infinite_slope_is_named():
    cell = Elman(2)
    with pytest.raises(FloatingPointError, match="infinite or not a number though every state is finite"):
        adjoint_norms(cell, cell.init(KEY, 1), jnp.zeros((3, 1), jnp.float32), lambda ys: jnp.sqrt(ys[-1]).sum(axis=-1))


def test_norms_can_be_differentiated_where_some_are_exactly_zero():
    cell, xs = LSTM(2), jnp.ones((3, 2), jnp.float64)
    params = cell.init(KEY, 2, jnp.float64)

    def total(params):
        parts = adjoint_parts(cell, params, xs, last_output)
        return sum(jnp.where(x == -jnp.inf, 0, x).sum() for x in parts)

    gradient = jax.jit(jax.grad(total))(params)
    step = 1e-6 * jnp.ones_like(params.bias)
    ahead, behind = (total(params._replace(bias=params.bias + sign * step)) for sign in (1, -1))
    np.testing.assert_allclose(gradient.bias.sum(), (ahead - behind) / 2e-6, rtol=1e-6)


def test_what_holds_noise_is_measured_without():
    with pytest.raises(TypeError, match="must be a Cell or a Stack, got Regularized.*Measure its `cell`"):
        noisy = regularize(GRU(2), zoneout=0.1)
        adjoint_norms(noisy, noisy.init(KEY, 2), jnp.ones((3, 2), jnp.float32), last_output)


def test_a_loss_that_does_not_depend_on_the_state_gives_exact_zeros():
    cell, xs = GRU(3), jnp.ones((4, 2, 2), jnp.float32)
    assert (adjoint_norms(cell, cell.init(KEY, 2), xs, lambda ys: jnp.ones(2, jnp.float32)) == -jnp.inf).all()


def test_bfloat16_inputs_are_measured_in_float32():
    cell = LSTM(4)
    params, xs = cell.init(KEY, 3, jnp.bfloat16), jax.random.normal(KEY, (6, 2, 3), jnp.bfloat16)
    norms = adjoint_norms(cell, params, xs, last_output)
    wide = jax.tree.map(lambda p: p.astype(jnp.float64), params)
    exact = adjoint_norms(cell, wide, xs.astype(jnp.float64), last_output)
    assert norms.dtype == jnp.float32 and np.isfinite(norms).all()
    np.testing.assert_allclose(norms, exact, atol=0.03)


def test_jit_vmap_and_short_sequences():
    cell = GRU(3)
    params = jax.vmap(lambda key: cell.init(key, 2, jnp.float64))(jax.random.split(KEY, 2))
    xs = jax.random.normal(KEY, (4, 2, 2), jnp.float64)
    many = jax.jit(jax.vmap(lambda p: adjoint_norms(cell, p, xs, last_output)))(params)
    assert np.isfinite(many).all()
    for i in range(2):
        one = adjoint_norms(cell, jax.tree.map(lambda p, i=i: p[i], params), xs, last_output)
        np.testing.assert_allclose(many[i], one, rtol=1e-12)
    single = jax.tree.map(lambda p: p[0], params)
    assert adjoint_norms(cell, single, xs[:1], last_output).shape == (1, 2)
    assert adjoint_norms(cell, single, xs[:0], lambda ys: ys.sum(axis=(0, -1))).shape == (0, 2)


def test_a_loss_of_another_shape_is_refused():
    cell = GRU(3)
    with pytest.raises(
        ValueError, match=r"`loss` must return one value for each sample, shape \(2,\), got \(\).*lambda"
    ):
        adjoint_norms(cell, cell.init(KEY, 2), jnp.zeros((4, 2, 2), jnp.float32), lambda ys: ys.sum())


@pytest.mark.parametrize("loss", [lambda ys: ys[-1].argmax(-1), lambda ys: (ys[-1].sum(-1), ys[0].sum(-1))])
def test_a_loss_that_is_no_real_array_is_refused(loss):
    cell = GRU(3)
    with pytest.raises(TypeError, match="`loss` must return one real array, got.*for example lambda"):
        adjoint_norms(cell, cell.init(KEY, 2), jnp.zeros((4, 2, 2), jnp.float32), loss)


def test_an_empty_batch():
    cell = GRU(3)
    assert adjoint_norms(cell, cell.init(KEY, 2), jnp.zeros((4, 0, 2), jnp.float32), last_output).shape == (4, 0)


def test_what_is_no_cell_is_refused():
    with pytest.raises(TypeError, match="`cell` must be a Cell or a Stack, got 3"):
        adjoint_norms(3, (), jnp.zeros((4, 2, 2), jnp.float32), last_output)


def parts_by_perturbation(network, params, xs, loss):
    """As norms_by_perturbation for nested networks, layer by layer: a carry's bump reaches the layers above at once."""

    def run(network, params, xs, bumps):
        if isinstance(network, Stack):
            for cell, weights, bump in zip(network.cells, params, bumps, strict=True):
                ys = run(cell, weights, xs, bump)
                xs = xs + ys if network.residual and xs.shape == ys.shape else ys
            return xs
        if isinstance(network, Bidirectional):
            forward = run(network.forward, params[0], xs, bumps[0])
            bump = jax.tree.map(lambda b: b[::-1], bumps[1])
            return jnp.concatenate([forward, run(network.backward, params[1], xs[::-1], bump)[::-1]], axis=-1)
        carry, ys = network.init_carry(xs.shape[1:-1], xs.dtype), []
        for t in range(xs.shape[0]):
            u = network.project(params, xs[t])
            carry = jax.tree.map(lambda c, b, t=t: c + b[t], network.advance(params, carry, u), bumps)
            ys.append(network.output(params, carry, u))
        return jnp.stack(ys)

    start = network.init_carry(xs.shape[1:-1], xs.dtype)
    bumps = jax.tree.map(lambda c: jnp.zeros((xs.shape[0], *c.shape), c.dtype), start)
    grads = jax.jit(jax.grad(lambda bumps: loss(run(network, params, xs, bumps)).sum()))(bumps)
    return jax.tree.map(lambda g: 0.5 * jnp.log((jnp.abs(g) ** 2).sum(axis=-1)), grads)


@pytest.mark.parametrize(
    "network",
    [
        LSTM(4),
        Stack((LSTM(3), GRU(3), LRU(2, 3)), residual=True),
        Stack((Bidirectional(GRU(2), LSTM(1)), Stack((Elman(4), MinGRU(2))))),
    ],
    ids=["LSTM", "Stack", "nested"],
)
def test_parts_equal_automatic_differentiation_layer_by_layer(network):
    params = network.init(KEY, 3, jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (6, 2, 3), jnp.float64)
    expected = parts_by_perturbation(network, params, xs, every_output)
    got = adjoint_parts(network, params, xs, every_output)
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for g, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert g.shape == (6, 2) and np.isfinite(e[1:-1]).all()  # a memory is not read after its last step
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-10)
    if isinstance(network, LSTM):
        total = 0.5 * np.log(sum(np.exp(2 * np.asarray(e)) for e in jax.tree.leaves(expected)))
        np.testing.assert_allclose(adjoint_norms(network, params, xs, every_output), total, rtol=1e-9, atol=1e-10)


def test_the_whole_state_of_a_stack_is_that_of_its_jacobians():
    """a_t = J_{t+1}^T a_{t+1} + d+L/ds_t with the state of all layers side by side."""
    network = Stack((LSTM(2), Elman(3)))
    params, xs = network.init(KEY, 3, jnp.float64), jax.random.normal(KEY, (6, 3), jnp.float64)
    jacobians = np.asarray(step_jacobians(network, params, xs))
    adjoint = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0])  # the last output is the upper layer's state
    expected = [np.log(np.linalg.norm(adjoint))]
    for jacobian in jacobians[:0:-1]:
        adjoint = jacobian.T @ adjoint
        expected.insert(0, np.log(np.linalg.norm(adjoint)))
    np.testing.assert_allclose(adjoint_norms(network, params, xs, last_output), expected, rtol=1e-9, atol=1e-10)


def test_a_long_stack_neither_underflows_nor_overflows_float32():
    """Two linear layers: the lower one's adjoint sums lags, ln ||a|| = lag ln r + ln(lag + 1)."""
    layer = Elman(3, "identity", input_init=Identity(), recurrent_init=Identity(0.25))
    stack = Stack((layer, layer))
    params = stack.init(KEY, 3)
    parts = adjoint_parts(stack, params, jnp.zeros((401, 1, 3), jnp.float32), last_output)
    lower, upper = (np.asarray(part.h[:, 0], np.float64) for part in parts)
    lags = np.arange(400, -1, -1)
    np.testing.assert_allclose(upper, 0.5 * np.log(3) + lags * np.log(0.25), rtol=2e-6)
    np.testing.assert_allclose(lower, upper + np.log(lags + 1), rtol=2e-6)
