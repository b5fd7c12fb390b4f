"""The trainer against a loop written out, and what it does when something is not finite."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn import LRU, LSTM, Elman, train
from jaxrnn.tasks import Adding
from jaxrnn.train import Trainer
from tests.checks import assert_close

KEY = jax.random.key(3)


def quadratic(params, batch, key):
    return sum(((leaf - batch) ** 2).sum() for leaf in jax.tree.leaves(params)), ()


def start():
    return {"a": jnp.array([1.0, -2.0], jnp.float32), "b": jnp.array(3.0, jnp.float32)}


def norm(tree):
    return np.sqrt(sum((np.asarray(leaf, np.float64) ** 2).sum() for leaf in jax.tree.leaves(tree)))


def by_hand(loss_fn, optimizer, params, batches, key):
    """The plain loop over Optax, in float64 where the inputs are."""
    state = optimizer.init(params)
    for step, batch in enumerate(batches):
        gradient = jax.grad(lambda p, b=batch, n=step: loss_fn(p, b, jax.random.fold_in(key, n))[0])(params)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
    return params


@pytest.fixture(scope="module")
def recurrent():
    """An LSTM on the adding problem, five lines of research code, with a loss that draws from its key."""
    task, cell = Adding(6), LSTM(4)

    def loss_fn(params, batch, key):
        cells, readout = params
        noisy = batch.inputs + 0.01 * jax.random.normal(key, batch.inputs.shape, jnp.float32)
        ys = jaxrnn.unroll(cell, cells, noisy)[1] @ readout
        loss = train.losses.squared_error(ys, batch.targets, batch.mask)
        return loss, {"last": ys[-1].mean()}

    params = cell.init(jax.random.key(0), 2), jnp.ones((4, 1), jnp.float32)
    batches = [task.sample(jax.random.key(n), 5) for n in range(4)]
    return loss_fn, params, batches


@pytest.mark.parametrize("clip", [optax.identity(), optax.clip_by_global_norm(0.1), optax.clip(0.05)], ids=range(3))
def test_steps_are_the_plain_loop(recurrent, clip):
    loss_fn, params, batches = recurrent
    trainer = Trainer(loss_fn, optax.adam(1e-2), clip)
    expected = by_hand(loss_fn, optax.chain(clip, optax.adam(1e-2)), params, batches, KEY)
    state, metrics = trainer.steps(trainer.init(params, KEY), jax.tree.map(lambda *b: jnp.stack(b), *batches))
    assert_close(state.params, expected, 1e-5)
    assert int(state.step) == 4 and metrics.loss.shape == metrics.aux["last"].shape == (4,)


def test_one_by_one_is_many_at_once_and_one_trace(recurrent):
    loss_fn, params, batches = recurrent
    trainer = Trainer(chex.assert_max_traces(loss_fn, n=2), optax.sgd(0.1))  # one trace for step, one for steps
    many, _ = trainer.steps(trainer.init(params, KEY), jax.tree.map(lambda *b: jnp.stack(b), *batches))
    state = trainer.init(params, KEY)
    for batch in batches:
        state, _ = dataclasses.replace(trainer).step(state, batch)  # an equal trainer compiles nothing anew
    assert_close(state._replace(key=()), many._replace(key=()), 1e-6)


def test_donation_deletes_nothing_of_the_callers():
    params, carry, key = start(), jnp.ones(2, jnp.float32), jax.random.key(1)
    trainer = Trainer(lambda p, c, b, k: (quadratic(p, b, k)[0], (c, ())), optax.adam(0.1))
    state = trainer.init(params, key, carry)
    state, _ = trainer.step(state, jnp.float32(0))
    trainer.step(state, jnp.float32(0))
    for leaf in jax.tree.leaves((params, carry, key)):
        assert not leaf.is_deleted()
    assert_close(params, start(), 0)


def test_metrics_of_clipping():
    """Norm before is 2 sqrt(14); by norm the update keeps the direction, by value each entry is bounded."""
    for clip, expected in (
        (optax.identity(), [2.0, -4.0, 6.0]),
        (optax.clip_by_global_norm(1.0), np.array([2.0, -4.0, 6.0]) / (2 * np.sqrt(14))),
        (optax.clip_by_global_norm(100.0), [2.0, -4.0, 6.0]),
        (optax.clip(3.0), [2.0, -3.0, 3.0]),
    ):
        trainer = Trainer(quadratic, optax.sgd(1.0), clip)
        state, metrics = trainer.step(trainer.init(start(), KEY), jnp.float32(0))
        moved = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.params)])
        np.testing.assert_allclose(moved, np.array([1.0, -2.0, 3.0]) - expected, rtol=1e-6)
        np.testing.assert_allclose(metrics.gradient_norm, 2 * np.sqrt(14), rtol=1e-6)
        np.testing.assert_allclose(metrics.clip_ratio, np.linalg.norm(expected) / (2 * np.sqrt(14)), rtol=1e-6)
        np.testing.assert_allclose(metrics.update_norm, np.linalg.norm(expected), rtol=1e-6)
        assert bool(metrics.clipped) == (np.linalg.norm(expected) < 7)
        assert metrics.finite and not metrics.stopped


def root(params, batch, key):
    """Infinite slope at 0, NaN below."""
    return jnp.sqrt(params * batch).sum(), ()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 0.0], ids=str)
def test_what_is_not_finite_is_skipped_and_counted(bad):
    trainer = Trainer(root, optax.adam(0.1))
    params = jnp.array([1.0, 4.0], jnp.float32)
    good = jnp.ones(2, jnp.float32)
    state, _ = trainer.step(trainer.init(params, KEY), good)
    before = jax.tree.map(np.asarray, (state.params, state.optimizer_state))
    state, metrics = trainer.step(state, jnp.array([1.0, bad], jnp.float32))
    assert not metrics.finite and not metrics.stopped
    assert_close((state.params, state.optimizer_state), before, 0)
    assert [int(n) for n in (state.step, state.skipped, state.skipped_in_a_row)] == [2, 1, 1]
    state, metrics = trainer.step(state, good)
    assert metrics.finite and [int(n) for n in (state.step, state.skipped, state.skipped_in_a_row)] == [3, 1, 0]


def product(params, batch, key):
    """The gradient is the batch."""
    return (params * batch).sum(), ()


def test_squares_beyond_the_floats():
    """Clipping by value still serves; Optax's clipping by norm makes zero of such a gradient, which is no update."""
    steep = jnp.full(2, 1e30, jnp.float32)
    trainer = Trainer(product, optax.sgd(1.0), optax.clip(0.5))
    state, metrics = trainer.step(trainer.init(start()["a"], KEY), steep)
    np.testing.assert_allclose(metrics.gradient_norm, np.sqrt(2) * 1e30, rtol=1e-6)
    assert metrics.finite and metrics.clipped
    assert_close(state.params, start()["a"] - 0.5, 1e-6)
    trainer = Trainer(product, optax.sgd(1.0), optax.clip_by_global_norm(1.0))
    state, metrics = trainer.step(trainer.init(start()["a"], KEY), steep)
    assert not metrics.finite and not metrics.clipped and metrics.clip_ratio == 1
    assert_close(state.params, start()["a"], 0)


def test_a_small_norm_does_not_vanish():
    trainer = Trainer(product, optax.sgd(1.0))
    _, metrics = trainer.step(trainer.init(start()["a"], KEY), jnp.full(2, 1e-30, jnp.float32))
    np.testing.assert_allclose(metrics.gradient_norm, np.sqrt(2) * 1e-30, rtol=1e-6)


def test_a_loss_and_an_update_that_are_not_finite():
    """Each by itself: infinity added to the loss leaves the gradient, an infinite rate the loss and the gradient."""
    for loss_fn, optimizer in (
        (lambda p, b, k: (product(p, b, k)[0] + jnp.inf, ()), optax.sgd(1.0)),
        (product, optax.scale(jnp.inf)),
    ):
        trainer = Trainer(loss_fn, optimizer)
        state, metrics = trainer.step(trainer.init(start()["a"], KEY), jnp.ones(2, jnp.float32))
        assert not metrics.finite and np.isfinite(metrics.gradient_norm)
        assert_close(state.params, start()["a"], 0)


def test_parameters_and_optimizer_state_stay_finite_in_16_bits():
    """6e4 + 6e3 and 300^2 leave float16, though the updates themselves are finite."""
    for start_at, slope, optimizer in ((6e4, -6e3, optax.sgd(1.0)), (1.0, 300.0, optax.adam(0.1))):
        trainer = Trainer(product, optimizer)
        state, metrics = trainer.step(trainer.init(jnp.float16(start_at), KEY), jnp.float16(slope))
        assert not metrics.finite and state.params == jnp.float16(start_at)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.optimizer_state))
    trainer = Trainer(product, optax.sgd(1.0), optax.clip_by_global_norm(0.5))
    state, metrics = trainer.step(trainer.init(jnp.float16(1), KEY), jnp.float16(300))
    assert metrics.finite and state.params == jnp.float16(0.5)


def test_after_patience_the_run_stops_with_its_last_good_state():
    trainer = Trainer(root, optax.sgd(0.1), patience=2)
    batches = jnp.array([[1.0], [-1.0], [1.0], [-1.0], [-1.0], [1.0]], jnp.float32)
    state, metrics = trainer.steps(trainer.init(jnp.ones(1, jnp.float32), KEY), batches)
    assert metrics.stopped.tolist() == [False, False, False, False, True, True]
    assert [int(n) for n in (state.step, state.skipped, state.skipped_in_a_row)] == [5, 3, 2]
    good, _ = trainer.steps(trainer.init(jnp.ones(1, jnp.float32), KEY), batches[jnp.array([0, 2])])
    assert_close(state.params, good.params, 0)


def test_a_carry_that_is_not_finite_is_not_handed_on():
    def loss_fn(params, carry, batch, key):
        return params * 1, (carry / batch, ())

    trainer = Trainer(loss_fn, optax.sgd(0.1))
    state = trainer.init(jnp.float32(1), KEY, jnp.float32(6))
    for batch, expected in ((2, 3), (0, 3), (3, 1)):
        state, metrics = trainer.step(state, jnp.float32(batch))
        assert state.carry == expected and metrics.finite == (batch != 0)


@pytest.mark.parametrize(
    "optimizer",
    [optax.lion(1e-2), optax.rmsprop(1e-2, momentum=0.9), optax.adafactor(1e-2), optax.lamb(1e-2), optax.lbfgs(),
     optax.inject_hyperparams(optax.adam)(optax.cosine_decay_schedule(0.1, 10)),
     optax.contrib.schedule_free_sgd(0.1), optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation(),
     optax.partition({"a": optax.sgd(0.1), "b": optax.adam(0.1)}, {"a": "a", "b": "b"})],
    ids=["lion", "rmsprop", "adafactor", "lamb", "lbfgs", "inject", "schedule_free", "MultiSteps", "partition"],
)  # fmt: skip
def test_any_optimizer_under_strict_promotion(optimizer):
    """Values, parameters and searches along a line all reach the optimizer; the loss falls."""
    trainer = Trainer(quadratic, optimizer)
    state, _ = trainer.step(trainer.init(start(), KEY), jnp.float32(0))
    state, metrics = trainer.step(state, jnp.float32(0))
    assert metrics.finite and metrics.update_norm > 0, metrics
    assert quadratic(state.params, 0, None)[0] < quadratic(start(), 0, None)[0]


def test_an_optimizer_that_keeps_the_parameters_themselves():
    """Donation needs two buffers where the optimizer's state begins as the very arrays of the parameters."""
    keeper = optax.GradientTransformation(lambda params: params, lambda updates, state, params=None: (updates, state))
    trainer = Trainer(quadratic, optax.chain(keeper, optax.sgd(0.1)))
    state, _ = trainer.step(trainer.init(start(), KEY), jnp.float32(0))
    assert_close(state.params, jax.tree.map(lambda p: p * 0.8, start()), 1e-6)
    assert_close(state.optimizer_state[1][0], start(), 0)


def test_parameters_in_16_bits():
    trainer = Trainer(quadratic, optax.adam(0.5))
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), start())
    state, metrics = trainer.step(trainer.init(params, KEY), jnp.bfloat16(0))
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(state.params))
    assert metrics.gradient_norm.dtype == jnp.float32
    np.testing.assert_allclose(metrics.gradient_norm, 2 * np.sqrt(14), rtol=1e-6)


def test_complex_parameters_go_downhill():
    trainer = Trainer(lambda p, b, k: (jnp.abs(p - b) ** 2, ()), optax.sgd(0.25))
    state = trainer.init(jnp.array(1 + 1j, jnp.complex64), KEY)
    state, metrics = trainer.step(state, jnp.array(-1 + 3j, jnp.complex64))
    np.testing.assert_allclose(state.params, 0 + 2j, atol=1e-6)
    np.testing.assert_allclose(metrics.gradient_norm, 2 * np.sqrt(8), rtol=1e-6)


def test_update_maps_over_runs():
    """Seeds and learning rates side by side in one call, each as if it ran alone."""
    rates = jnp.array([0.1, 0.2], jnp.float32)

    def trainer(rate):
        return Trainer(quadratic, optax.sgd(rate))

    states = jax.vmap(lambda rate: trainer(rate).init(start(), KEY))(rates)
    moved, metrics = jax.jit(jax.vmap(lambda rate, s: trainer(rate).update(s, jnp.float32(0))))(rates, states)
    for n, rate in enumerate((0.1, 0.2)):
        alone, own = trainer(rate).step(trainer(rate).init(start(), KEY), jnp.float32(0))
        assert_close(jax.tree.map(lambda x, n=n: x[n], (moved.params, metrics)), (alone.params, own), 1e-6)


@pytest.mark.parametrize("cell", [Elman(3), LRU(4, features=3)], ids=["Elman", "LRU"])
def test_the_gradient_is_the_sum_over_the_unfolded_copies(cell):
    """One copy of the weights for each step: the copies' gradients add up to what the trainer uses, no average."""
    time = 7
    xs = jax.random.normal(jax.random.key(1), (time, 2, 3), jnp.float64)
    params = cell.init(jax.random.key(0), 3, jnp.float64)

    def unfolded(copies):
        def step(carry, inputs):
            weights, x = inputs
            return cell.step(weights, carry, cell.project(weights, x))

        ys = jax.lax.scan(step, cell.init_carry((2,), jnp.float64), (copies, xs))[1]
        return (ys**2).sum()

    copies = jax.tree.map(lambda p: jnp.broadcast_to(p, (time, *p.shape)), params)
    shares = jax.grad(unfolded)(copies)
    trainer = Trainer(lambda p, batch, key: ((jaxrnn.unroll(cell, p, batch)[1] ** 2).sum(), ()), optax.sgd(1.0))
    state, metrics = trainer.step(trainer.init(params, KEY), xs)
    gradient = jax.tree.map(lambda before, after: before - after, params, state.params)
    assert_close(gradient, jax.tree.map(lambda g: g.sum(0), shares), 1e-10)
    np.testing.assert_allclose(metrics.gradient_norm, norm(jax.tree.map(lambda g: g.sum(0), shares)), rtol=1e-10)


def refused(loss_fn, match, error=ValueError, params=None, carry=None):
    trainer = Trainer(loss_fn, optax.adam(0.1))
    with pytest.raises(error, match=match):
        trainer.step(trainer.init(start() if params is None else params, KEY, carry), jnp.float32(0))


def test_errors_say_what_is_wrong():
    refused(lambda p, b, k: p["a"].sum(), "must return \\(loss, aux\\)", TypeError)
    refused(lambda p, b, k: (p["a"], ()), "real scalar loss, got float32\\[2\\]. Take its mean")
    refused(lambda p, c, b, k: (p["b"], c), "must return \\(loss, \\(carry, aux\\)\\)", TypeError, carry=jnp.ones(2))
    refused(lambda p, c, b, k: (p["b"], (c[:1], ())), "a carry like the one it is given", carry=jnp.ones(2))
    refused(
        quadratic, "floating point arrays, got dtype\\('int32'\\) at params\\['n'\\]", TypeError, {"n": jnp.int32(1)}
    )
    refused(quadratic, "`params` hold no arrays", params={})
    for patience in (0, 2**31):
        with pytest.raises(ValueError, match="`patience` must be"):
            Trainer(quadratic, optax.sgd(0.1), patience=patience)


def test_an_optimizer_state_of_other_parameters_is_refused():
    trainer = Trainer(quadratic, optax.adam(0.1))
    state, other = trainer.init(start(), KEY), trainer.init({"a": jnp.ones(3, jnp.float32)}, KEY)
    with pytest.raises(ValueError, match="`optimizer_state` is not one of this optimizer for these parameters"):
        trainer.step(state._replace(optimizer_state=other.optimizer_state), jnp.float32(0))


def test_a_skipped_update_hands_a_finite_carry_on():
    """Otherwise it would fall behind the position in the data."""
    trainer = Trainer(lambda p, c, b, k: (p * b, (c + 1, ())), optax.sgd(0.1))
    state, metrics = trainer.step(trainer.init(jnp.float32(1), KEY, jnp.float32(0)), jnp.float32(np.nan))
    assert not metrics.finite and float(state.carry) == 1 and float(state.params) == 1


def test_a_key_may_come_from_outside_a_traced_function():
    trainer = Trainer(quadratic, optax.adam(0.1))
    expected = trainer.init(start(), KEY, (KEY,))
    for state in (
        jax.eval_shape(lambda: trainer.init(start(), KEY, (KEY,))),
        jax.jit(trainer.init)(start(), KEY, (KEY,)),
    ):
        assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), expected)
    closed = jax.jit(lambda params: trainer.init(params, KEY, (KEY,)))(start())
    assert (jax.random.key_data(closed.key) == jax.random.key_data(KEY)).all()
    assert (jax.random.key_data(closed.carry[0]) == jax.random.key_data(KEY)).all()


@pytest.mark.parametrize(("arguments", "named"), [((0.1,), "`optimizer`"), ((optax.sgd(0.1), 1.0), "`clip`")])
def test_a_number_is_no_transformation(arguments, named, without_type_checks):
    with pytest.raises(TypeError, match=f"Trainer: {named} must be a gradient transformation of Optax, got"):
        Trainer(quadratic, *arguments)
