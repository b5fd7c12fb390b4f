import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import Adding


@pytest.mark.parametrize("length", [2, 3, 10, 101])
def test_every_sequence_follows_the_definition(length):
    batch = 64
    inputs, targets, mask = (np.asarray(part) for part in Adding(length).sample(jax.random.key(3), batch))
    assert inputs.shape == (length, batch, 2) and inputs.dtype == np.float32
    assert targets.shape == (batch, 1) and targets.dtype == np.float32
    values, markers = inputs[..., 0], inputs[..., 1]
    assert ((values >= 0) & (values < 1)).all()
    assert np.isin(markers, [0, 1]).all()
    assert (markers[: length // 2].sum(axis=0) == 1).all()
    assert (markers[length // 2 :].sum(axis=0) == 1).all()
    np.testing.assert_allclose(targets[:, 0], (values * markers).sum(axis=0), rtol=1e-6)
    assert mask.shape == (length, batch)
    assert mask[-1].all() and not mask[:-1].any()


def test_marks_are_uniform_in_their_halves():
    markers = np.asarray(Adding(5).sample(jax.random.key(0), 20_000).inputs[..., 1])
    np.testing.assert_allclose(markers.mean(axis=1), [1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3], atol=0.02)


def test_baseline_is_the_error_of_the_best_constant():
    task = Adding(20)
    assert task.baseline() == pytest.approx(2 / 12)
    targets = np.asarray(task.sample(jax.random.key(1), 50_000).targets, np.float64)
    assert np.mean((targets - 1) ** 2) == pytest.approx(task.baseline(), rel=0.03)
    assert np.mean(targets) == pytest.approx(1, abs=0.01)


def test_targets_and_mask_score_the_last_output_alone():
    inputs, targets, mask = Adding(6).sample(jax.random.key(0), 4)
    ys = jnp.zeros((6, 4, 1), jnp.float32).at[-1].set(1.0)
    squares = np.asarray(jnp.square(ys - targets)[mask])
    np.testing.assert_allclose(squares, np.square(1 - np.asarray(targets)), rtol=1e-6)


def test_samples_are_decided_by_the_key_and_compile():
    task = Adding(12)
    once, again = task.sample(jax.random.key(5), 8), task.sample(jax.random.key(5), 8)
    jitted = jax.jit(task.sample, static_argnums=1)(jax.random.key(5), 8)
    other = task.sample(jax.random.key(6), 8)
    for a, b, c in zip(once, again, jitted, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    assert (np.asarray(once.inputs) != np.asarray(other.inputs)).any()


def test_equal_tasks_are_equal_and_print():
    assert Adding(7) == Adding(7) and hash(Adding(7)) == hash(Adding(7))
    assert repr(Adding(7)) == "Adding(length=7)"


@pytest.mark.parametrize("length", [1, 0, -3])
def test_a_length_without_room_for_two_marks_is_refused(length):
    with pytest.raises(ValueError, match=rf"`length` must be at least 2.*got {length}"):
        Adding(length)
