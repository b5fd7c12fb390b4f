import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import TwoSequence
from tests.tasks.cases import lengths_of, sampled, within_error

A, B, C = TwoSequence(20, 3, "a"), TwoSequence(20, 2, "b"), TwoSequence(20, 1, "c")


@pytest.mark.parametrize("task", [A, C], ids=repr)
def test_the_first_inputs_are_the_class_and_noise_follows(task):
    batch = sampled(task)
    inputs, count = batch.inputs[..., 0], task.informative
    assert set(np.unique(inputs[:count])) == {-1, 1}
    assert (inputs[:count] == inputs[0]).all()
    assert set(lengths_of(batch)) == {20, 21, 22}
    noise = inputs[count:20].ravel()
    assert within_error(noise, 0) and within_error(noise**2, 0.2)
    assert within_error(inputs[0] == 1, 1 / 2)


def test_targets_of_a_are_the_class():
    batch = sampled(A)
    np.testing.assert_array_equal(batch.targets[:, 0], batch.inputs[0, :, 0] == 1)


def test_b_adds_noise_to_the_informative_inputs():
    batch = sampled(B)
    off = batch.inputs[:2, :, 0] - np.where(batch.targets[:, 0] == 1, 1, -1)
    assert set(np.unique(batch.targets)) == {0, 1}
    assert within_error(off[0], 0) and within_error(off[1], 0)
    assert within_error(off[0] ** 2, 0.2) and within_error(off[0] * off[1], 0)


def test_c_adds_noise_to_the_targets():
    batch = sampled(C)
    noise = batch.targets[:, 0] - np.where(batch.inputs[0, :, 0] == 1, 0.2, 0.8)
    assert within_error(noise, 0) and within_error(noise**2, 0.1)


@pytest.mark.parametrize(("task", "expected"), [(A, 0.25), (B, 0.25), (C, 0.19)], ids=repr)
def test_baseline_is_the_error_of_the_constant_half(task, expected):
    assert task.baseline() == pytest.approx(expected, rel=1e-12)
    targets = sampled(task).targets[:, 0].astype(np.float64)
    if task == C:
        assert within_error((targets - 0.5) ** 2, expected)
    else:  # every sample is the same
        assert within_error(targets, 0.5) and set((targets - 0.5) ** 2) == {0.25}


def test_wrong_in_a_is_an_error_of_a_fifth():
    batch = sampled(A)
    outputs = np.broadcast_to(batch.targets, (*batch.mask.shape, 1)).copy()
    outputs[:, 0] += 0.19
    outputs[:, 1] -= 0.21
    outputs[:, 2] += 0.21
    assert np.flatnonzero(A.wrong(jnp.asarray(outputs), batch)).tolist() == [1, 2]


def test_wrong_in_c_compares_with_the_target_before_its_noise():
    batch = sampled(C)
    clean = np.where(batch.inputs[0] == 1, 0.2, 0.8)
    outputs = np.broadcast_to(clean, (*batch.mask.shape, 1)).astype(np.float32)
    outputs[:, 0] += 0.09
    outputs[:, 1] -= 0.11
    assert np.flatnonzero(C.wrong(jnp.asarray(outputs), batch)).tolist() == [1]
    noisy = jnp.asarray(np.broadcast_to(batch.targets, (*batch.mask.shape, 1)))
    np.testing.assert_array_equal(C.wrong(noisy, batch), np.abs(batch.targets - clean)[:, 0] > 0.1)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("`length` must be a whole number of at least 4, as noise follows .* got 3", (3, 3)),
        ("`informative` must be a whole number of at least 1.*got 0", (20, 0)),
        (r"`variant` must be one of \('a', 'b', 'c'\), got 'd'", (20, 3, "d")),
    ],
)
def test_what_cannot_be_is_refused(message, arguments):
    with pytest.raises(ValueError, match=message):
        TwoSequence(*arguments)
