"""Recurrence from the output alone: step by step, and all steps at once with the targets fed in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn.models import OutputRecurrence
from jaxrnn.train.losses import squared_error
from tests.checks import assert_close
from tests.models import by_hand

TIME, BATCH, FEATURES, HIDDEN, OUTPUTS = 6, 4, 3, 5, 2
LENGTHS = np.array([6, 0, 2, 5])
VALID = np.arange(TIME)[:, None] < LENGTHS
RNG = np.random.default_rng(0)
XS, TARGETS = (
    jnp.asarray(np.where(VALID[..., None], RNG.normal(size=(TIME, BATCH, size)), np.nan))
    for size in (FEATURES, OUTPUTS)
)


def build(dtype=jnp.float64):
    return by_hand.stirred(OutputRecurrence(FEATURES, HIDDEN, OUTPUTS, param_dtype=dtype, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def model():
    return build()


def by_loop(model, fed=None):
    """The equations in NumPy, each step fed with the own output before, or with `fed`."""
    U, W, b, V, c = map(np.asarray, model.rnn.params)
    os = np.zeros((TIME, BATCH, OUTPUTS))
    for row, length in enumerate(LENGTHS):
        before = np.zeros(OUTPUTS)
        for t in range(length):
            h = np.tanh(np.asarray(XS)[t, row] @ U + before @ W + b)
            os[t, row] = h @ V + c
            before = os[t, row] if fed is None else fed[t, row]
    return os


def test_its_own_outputs(model):
    assert_close(model(XS, LENGTHS), by_loop(model), 1e-13)
    by_hand.check_model_gradient(model, lambda model: squared_error(model(XS, LENGTHS), TARGETS, VALID))


def test_teacher_forcing_is_the_loop_fed_with_targets(model):
    assert_close(model.teacher_forced(XS, TARGETS, LENGTHS), by_loop(model, np.asarray(TARGETS)), 1e-13)
    by_hand.check_model_gradient(
        model, lambda model: squared_error(model.teacher_forced(XS, TARGETS, LENGTHS), TARGETS, VALID)
    )
    full = jnp.asarray(RNG.normal(size=(TIME, BATCH, OUTPUTS)))
    xs = jnp.nan_to_num(XS)
    every = model.teacher_forced(xs, full, np.full(BATCH, TIME))
    assert_close(model.teacher_forced(xs, full), every, 1e-14)


def test_teacher_forcing_fed_with_its_own_outputs_is_the_free_run(model):
    os = model(XS, LENGTHS)
    assert_close(model.teacher_forced(XS, os, LENGTHS), os, 1e-13)


def test_the_gradient_of_teacher_forcing_is_that_of_steps_fed_with_targets(model):
    """By the sequential cell itself, one step after the other, whose o is replaced by the target."""
    cell = model.rnn.cell
    xs, targets = jnp.nan_to_num(XS), jnp.nan_to_num(TARGETS)

    def sequential(params):
        carry, os = cell.init_carry((BATCH,), jnp.float64), []
        for x, target in zip(xs, targets, strict=True):
            carry, o = cell.step(params, carry, cell.project(params, x))
            carry = carry._replace(o=target)
            os.append(o)
        return squared_error(jnp.stack(os), targets, VALID)

    def parallel(params):
        copy = nnx.clone(model)
        copy.rnn.set_params(params)
        return squared_error(copy.teacher_forced(xs, targets), targets, VALID)

    found, expected = (jax.jit(jax.value_and_grad(f))(model.rnn.params) for f in (parallel, sequential))
    assert_close(found, expected, 1e-12)


def test_no_loop_is_in_teacher_forcing(model):
    """Nor in its gradient; the free run has one."""

    def loss(run):
        structure, params = nnx.split(model)
        return str(jax.make_jaxpr(jax.grad(lambda p: jnp.sum(run(nnx.merge(structure, p)))))(params))

    parallel, sequential = loss(lambda m: m.teacher_forced(XS, TARGETS, LENGTHS)), loss(lambda m: m(XS, LENGTHS))
    assert not any(loop in parallel for loop in ("scan[", "while["))
    assert any(loop in sequential for loop in ("scan[", "while["))


def test_it_learns_in_the_trainer_in_float32():
    xs, targets = (jnp.asarray(values, jnp.float32) for values in (XS, TARGETS))
    model = build(jnp.float32)
    assert model(xs).dtype == model.teacher_forced(xs, targets).dtype == jnp.float32
    by_hand.check_learns(
        model, lambda model, key: squared_error(model.teacher_forced(xs, targets, LENGTHS), targets, VALID)
    )


def test_what_does_not_fit_is_refused_in_words(model, without_type_checks):
    with pytest.raises(ValueError, match=r"`targets` must be \(time, batch, outputs\) = \(6, 4, 2\), got \(6, 4, 1\)"):
        model.teacher_forced(XS, TARGETS[..., :1])
    with pytest.raises(TypeError, match="`xs` is float64 and `targets` are float32 while the parameters are float64"):
        model.teacher_forced(XS, TARGETS.astype(jnp.float32))
    with pytest.raises(ValueError, match="`hidden_size` must be a whole number of at least 1, got 0"):
        OutputRecurrence(3, 0, 2, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_teacher_forcing_equals_the_sequential_run_in_16_bits(dtype):
    model = OutputRecurrence(3, hidden=5, outputs=2, param_dtype=dtype, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(1), (6, 4, 3), jnp.float32).astype(dtype)
    os = model(xs)
    forced = model.teacher_forced(xs, os)
    assert forced.dtype == os.dtype == dtype
    # Targets are rounded to 16 bits where the run hands on float32.
    np.testing.assert_allclose(forced.astype(jnp.float32), os.astype(jnp.float32), atol=float(jnp.finfo(dtype).eps))
