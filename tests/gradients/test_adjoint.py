"""adjoint_norms against plain automatic differentiation, and its range, dtypes and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import GRU, LRU, LSTM, ConstantErrorCarousel, Elman, Jordan, MinGRU, PeepholeLSTM, Stack
from jaxrnn.gradients import adjoint_norms
from jaxrnn.initializers import Orthogonal

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
    broken = adjoint_norms(cell, params, xs.at[2, 0].set(jnp.nan), every_output)
    assert np.isnan(broken[:, 0]).any() and not np.isnan(broken[:, 1]).any()


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
    stack = Stack((GRU(3),))
    with pytest.raises(TypeError, match="`cell` must be a Cell, got Stack.*one by one"):
        adjoint_norms(stack, stack.init(KEY, 2), jnp.zeros((4, 2, 2), jnp.float32), last_output)
