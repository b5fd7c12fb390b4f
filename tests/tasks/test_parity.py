import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import Parity
from tests.tasks.cases import sampled, within_error

TASK = Parity(9)


def test_the_class_is_the_parity_of_the_ones():
    batch = sampled(TASK)
    assert set(np.unique(batch.inputs)) == {-1, 1}
    parities = [sum(1 for x in column if x == 1) % 2 for column in batch.inputs[..., 0].T]
    assert batch.targets.tolist() == parities


def test_baseline_is_a_fair_coin_whatever_one_step_shows():
    batch = sampled(TASK)
    assert TASK.baseline() == math.log(2)
    assert within_error(batch.targets, 1 / 2)
    assert within_error(batch.targets[batch.inputs[-1, :, 0] == 1], 1 / 2)


def test_wrong_is_the_less_active_class_or_a_tie():
    batch = sampled(TASK)
    outputs = np.zeros((9, len(batch.targets), 2), np.float32)
    outputs[:, :, 1] = 0.1
    np.testing.assert_array_equal(TASK.wrong(jnp.asarray(outputs), batch), batch.targets == 0)
    assert np.asarray(TASK.wrong(jnp.zeros_like(outputs), batch)).all()


def test_a_single_step_is_refused():
    with pytest.raises(ValueError, match="Parity: `length` must be a whole number of at least 2.*got 1"):
        Parity(1)
