"""Omega and its gradients against explicit Jacobians, the formulas of the paper, and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import GRU, LRU, LSTM, Elman, Jordan, ResetBeforeGRU
from jaxrnn.gradients.omega import omega, omega_immediate, omega_squared
from jaxrnn.initializers import Orthogonal
from jaxrnn.train import Trainer

KEY = jax.random.key(0)
BOTH = [omega, omega_immediate]


def last_output(ys):
    return (ys[-1] ** 2).sum(axis=-1)


def every_output(ys):
    return jnp.tanh(ys).sum(axis=(0, -1)) + (ys[-1] ** 2).sum(axis=-1)


def example(cell, shape=(6, 2), features=3, scale=1.0):
    xs = scale * jax.random.normal(jax.random.key(1), (*shape, features), jnp.float64)
    return cell.init(KEY, features, jnp.float64), xs


def evaluate(f, *arguments):
    return jax.jit(jax.value_and_grad(f))(*arguments)


def flatten(carry):
    return jnp.concatenate([leaf.ravel() for leaf in carry])


def transports(cell, params, xs, loss):
    """Of one sample, by explicit Jacobians: states s_0 ... s_T, adjoints a_1 ... a_T, and J_1 ... J_T."""
    start = cell.init_carry((), xs.dtype)
    sizes = np.cumsum([leaf.size for leaf in start])[:-1]

    def advance(state, x):
        parts = type(start)(*jnp.split(state, sizes))
        return cell.advance(params, parts, cell.project(params, x))

    def run(bumps):
        states, ys = [flatten(start)], []
        for x, bump in zip(xs, bumps, strict=True):
            states.append(flatten(advance(states[-1], x)) + bump)
            ys.append(cell.output(params, type(start)(*jnp.split(states[-1], sizes)), cell.project(params, x)))
        return loss(jnp.stack(ys)[:, None])[0], jnp.stack(states)

    nothing = jnp.zeros((len(xs), flatten(start).size), xs.dtype)
    adjoints, states = jax.grad(run, has_aux=True)(nothing)
    jacobians = jax.vmap(jax.jacrev(lambda s, x: flatten(advance(s, x))))(states[:-1], xs)
    return states, adjoints, jacobians


def by_jacobians(cell, params, xs, loss):
    _, adjoints, jacobians = transports(cell, params, xs, loss)
    moved = jnp.einsum("tij,ti->tj", jacobians, adjoints)
    return jnp.sum((jnp.linalg.norm(moved, axis=-1) / jnp.linalg.norm(adjoints, axis=-1) - 1) ** 2)


def assert_trees_close(got, wanted, rtol=1e-8):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-10)


@pytest.mark.parametrize(
    ("cell", "loss"),
    [(Jordan(3, 2), last_output), (LSTM(3), every_output)],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_value_and_full_gradient_are_those_of_explicit_jacobians(cell, loss):
    params, xs = example(cell, (3, 2))
    weights = jnp.array([1.0, -0.3])  # tells the samples apart

    def ours(params):
        return (weights * omega(cell, params, xs, loss).omega).sum()

    def oracle(params):
        return weights @ jax.vmap(lambda x: by_jacobians(cell, params, x, loss), in_axes=1)(xs)

    (value, gradient), (wanted, wanted_gradient) = (evaluate(f, params) for f in (ours, oracle))
    np.testing.assert_allclose(value, wanted, rtol=1e-10)
    assert abs(value) > 0.1 and all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(wanted_gradient))
    assert_trees_close(gradient, wanted_gradient)


def test_the_immediate_gradient_of_a_tanh_network_by_hand():
    """dOmega/dW = sum_t 2 (r_t - 1) / (||a_t|| ||W z_t||) (W z_t) z_t^T,

    z_t = a_t (1 - h_t^2), r_t = ||W z_t|| / ||a_t||, a_t = dL_direct/dh_t + W z_{t+1}.
    """
    cell = Elman(4)
    params, xs = example(cell)
    found = evaluate(lambda p: omega_immediate(cell, p, xs, every_output).omega.sum(), params)
    W, value, by_hand = np.asarray(params.recurrent), 0.0, np.zeros((4, 4))
    for i in range(2):
        h, gradients, z_next = np.zeros(4), [], np.zeros(4)
        hs = [h := np.tanh(xs[t, i] @ params.input + h @ W + params.bias) for t in range(6)]
        for t in reversed(range(6)):
            a = 1 - np.tanh(hs[t]) ** 2 + (2 * hs[t] if t == 5 else 0) + W @ z_next
            z = a * (1 - hs[t] ** 2)
            moved, ratio = W @ z, np.linalg.norm(W @ z) / np.linalg.norm(a)
            value += (ratio - 1) ** 2
            gradients.append(2 * (ratio - 1) / (np.linalg.norm(a) * np.linalg.norm(moved)) * np.outer(moved, z))
            z_next = z
        by_hand += sum(gradients)
    np.testing.assert_allclose(found[0], value, rtol=1e-12)
    np.testing.assert_allclose(found[1].recurrent, by_hand, rtol=1e-10)
    assert not found[1].input.any() and not found[1].bias.any()


def test_the_immediate_gradient_of_an_lstm_is_that_of_the_matrix_alone():
    """J_t = D_t + E_t R^T with D_t = d update/d carry and E_t = d update/dv as given numbers, R alone free."""
    cell = LSTM(3)
    params, xs = example(cell, (4, 1))
    states, adjoints, _ = jax.jit(lambda p: transports(cell, p, xs[:, 0], every_output))(params)
    n, sizes = 3, [3] * (states.shape[1] // 3 - 1)

    def update(state, v, x):
        carry = cell.carry_type(*jnp.split(state, np.cumsum(sizes)))
        u = cell.project(params, x)
        return flatten(cell.update(cell.pointwise(params), carry, u, tuple(jnp.split(v, cell.gates))))

    vs = states[:-1, :n] @ params.recurrent
    direct, through = jax.jit(jax.vmap(jax.jacrev(update, argnums=(0, 1))))(states[:-1], vs, xs[:, 0])

    def oracle(R):
        moved = jnp.einsum("tij,ti->tj", direct, adjoints)
        moved = moved.at[:, :n].add(jnp.einsum("tij,ti->tj", through, adjoints) @ R.T)
        return jnp.sum((jnp.linalg.norm(moved, axis=1) / jnp.linalg.norm(adjoints, axis=1) - 1) ** 2)

    value, gradient = evaluate(lambda p: omega_immediate(cell, p, xs, every_output).omega[0], params)
    wanted, by_matrix = evaluate(oracle, params.recurrent)
    np.testing.assert_allclose(value, wanted, rtol=1e-10)
    np.testing.assert_allclose(gradient.recurrent, by_matrix, rtol=1e-8, atol=1e-12)
    others = gradient._replace(recurrent=jnp.zeros_like(params.recurrent))
    assert all(not leaf.any() for leaf in jax.tree.leaves(others))


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [1.0, 1.3e-10, 3.0], [1e-13, 1e-13, 1e-13]])
def test_omega_squared_is_what_the_released_code_computes(weights):
    """From the equations of the code, for a tanh network and the mean loss over the batch."""
    cell, weights = Elman(4), jnp.array(weights)
    params, xs = example(cell, (5, 3))

    def loss(ys):
        return weights * last_output(ys)

    h = [np.zeros((3, 4))]
    for x in np.asarray(xs):
        h.append(np.tanh(x @ params.input + h[-1] @ params.recurrent + params.bias))
    h, d_h = np.stack(h[1:]), np.zeros((5, 3, 4))
    d_h[-1] = np.asarray(weights)[:, None] * 2 * h[-1] / 3
    for t in reversed(range(4)):
        d_h[t] = (d_h[t + 1] * (1 - h[t + 1] ** 2)) @ np.asarray(params.recurrent).T
    slopes, below = d_h * (1 - h**2), (d_h**2).sum(axis=2)
    kept = below >= 1e-20
    assert weights[1] != 1.3e-10 or (9 * below[kept == 0] >= 1e-20).any()  # some that only the mean brings below

    def code(W):
        above = ((slopes @ W.T) ** 2).sum(axis=2)
        terms = jnp.where(kept, above / np.where(kept, below, 1), 1) - 1
        return (terms**2).mean(axis=1).sum() / max(kept.mean(axis=1).sum(), 1e-300)

    def ours(params):
        return omega_squared(cell, params, xs, loss).omega.mean()

    value, gradient = evaluate(ours, params)
    np.testing.assert_allclose(value, code(params.recurrent), rtol=1e-10)
    np.testing.assert_allclose(gradient.recurrent, jax.grad(code)(params.recurrent), rtol=1e-8, atol=1e-14)
    assert bool(kept.any()) == bool(value > 0)


@pytest.mark.parametrize("function", [*BOTH, omega_squared])
def test_long_sequences_in_float32_and_any_scale_of_the_loss(function):
    cell = Elman(6, "identity", recurrent_init=Orthogonal(0.5))
    params, xs = cell.init(KEY, 2), jnp.ones((1001, 2, 2), jnp.float32)

    def total(params, scale):
        return function(cell, params, xs, lambda ys: scale * ys[-1].sum(axis=-1)).omega.mean()

    run = jax.jit(jax.value_and_grad(total))
    if function is omega_squared:  # which leaves out what is far back
        np.testing.assert_allclose(run(params, jnp.float32(1))[0], (0.25 - 1) ** 2, rtol=1e-5)
        return
    for scale in (1e-30, 1.0, 1e30):
        value, gradient = run(params, jnp.float32(scale))
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, 1001 * 0.25, rtol=1e-5)
        # dOmega/dln(rho) = 2 T (rho - 1) rho along R itself
        np.testing.assert_allclose((gradient.recurrent * params.recurrent).sum(), 1001 * -0.5, rtol=1e-4)
        assert np.isfinite(gradient.recurrent).all()


def test_a_complex_state():
    """One eigenvalue: Omega = T (|lambda| - 1)^2, |lambda| = exp(-exp(log_decay))."""
    cell = LRU(1, 1, min_radius=0.6, max_radius=0.7)
    params, xs = example(cell, (9,), 1)
    value, gradient = evaluate(lambda p: omega(cell, p, xs, lambda ys: ys[-1].sum()).omega, params)
    decay = np.exp(params.log_decay[0])
    np.testing.assert_allclose(value, 9 * (np.exp(-decay) - 1) ** 2, rtol=1e-10)
    np.testing.assert_allclose(gradient.log_decay[0], -18 * (np.exp(-decay) - 1) * np.exp(-decay) * decay, rtol=1e-8)
    np.testing.assert_allclose(gradient.log_phase, 0, atol=1e-12)


@pytest.mark.parametrize(("function", "cell"), [(omega, Elman(3)), (omega_immediate, GRU(3))])
def test_batch_axes_loss_and_short_sequences(function, cell):
    params, xs = example(cell, (4, 2, 3))
    found = jax.jit(lambda p: function(cell, p, xs, every_output))(params)
    flat = function(cell, params, xs.reshape(4, 6, 3), every_output)
    assert found.omega.shape == found.loss.shape == (2, 3)
    np.testing.assert_allclose(found.omega.ravel(), flat.omega, rtol=1e-12)
    np.testing.assert_allclose(found.loss.ravel(), flat.loss, rtol=1e-12)
    empty = function(cell, params, xs[:0], lambda ys: ys.sum(axis=(0, -1)))
    assert empty.omega.shape == (2, 3) and not empty.omega.any()


@pytest.mark.parametrize("function", BOTH)
def test_steps_that_no_loss_reaches_count_nothing_and_dead_ones_count_one(function):
    cell = Elman(3, "identity", recurrent_init=Orthogonal(0.5))
    params, xs = example(cell, (6, 2))
    value, gradient = evaluate(lambda p: function(cell, p, xs, lambda ys: ys[3].sum(-1)).omega.sum(), params)
    np.testing.assert_allclose(value, 2 * 4 * 0.25, rtol=1e-10)
    assert np.isfinite(gradient.recurrent).all()
    dead = Elman(3, "relu")
    stuck = params._replace(bias=jnp.full(3, -50.0))
    value, gradient = evaluate(lambda p: function(dead, p, xs, lambda ys: ys[-1].sum(-1)).omega.sum(), stuck)
    assert value == 2.0  # the last step passes nothing on, and before it there is nothing to pass
    assert all(not leaf.any() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("function", [omega, omega_squared])
def test_nan_shows(function):
    cell = Elman(3)
    params, xs = example(cell, (4, 2))
    broken = xs.at[1, 0].set(jnp.nan)
    with pytest.raises(FloatingPointError, match="the projections of `xs` are not finite from step 1 on"):
        function(cell, params, broken, last_output)
    found = jax.jit(lambda xs: function(cell, params, xs, last_output))(broken)
    assert np.isnan(found.omega[0]) and (function is omega_squared or np.isfinite(found.omega[1]))


def test_bfloat16_parameters():
    cell = LSTM(4)
    params, xs = example(cell, (6, 2))
    small = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, xs))
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), small)
    run = jax.jit(lambda p, xs: omega_immediate(cell, p, xs, every_output))
    found = run(*small)
    assert found.omega.dtype == jnp.float32 and found.loss.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.omega, run(*wide).omega, rtol=0.03)


@pytest.mark.parametrize("function", [omega, omega_squared])
def test_training_with_it_brings_it_down(function):
    cell = Elman(5, recurrent_init=Orthogonal(0.4))
    params, xs = cell.init(KEY, 2), jax.random.normal(KEY, (8, 4, 2), jnp.float32)

    def loss_fn(params, batch, key):
        found = function(cell, params, batch, last_output)
        return found.loss.mean() + 0.1 * found.omega.mean(), found.omega.mean()

    trainer = Trainer(loss_fn, optax.sgd(0.1), clip=optax.clip_by_global_norm(1.0))
    state, metrics = trainer.steps(trainer.init(params, KEY), jnp.broadcast_to(xs, (60, *xs.shape)))
    assert metrics.finite.all() and metrics.aux[-1] < 0.7 * metrics.aux[0]


def test_what_does_not_fit_is_refused():
    cell, xs = GRU(3), jnp.zeros((4, 2, 2), jnp.float32)
    for function in (*BOTH, omega_squared):
        with pytest.raises(ValueError, match=f"{function.__name__}: `loss` must return one value for each sample"):
            function(cell, cell.init(KEY, 2), xs, lambda ys: ys.sum())
    plain = ResetBeforeGRU(3)
    for function in (omega_immediate, omega_squared):
        with pytest.raises(TypeError, match=f"{function.__name__}: `cell` must be a GatedCell.*Choose omega"):
            function(plain, plain.init(KEY, 2), xs, last_output)
