import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import Memorisation
from tests.tasks.cases import sampled, within_error

TASK = Memorisation(5)


def test_every_sequence_follows_the_definition():
    batch = sampled(TASK)
    tokens = batch.inputs.argmax(axis=-1)
    assert tokens.shape[0] == 25
    for n in range(tokens.shape[1]):
        pattern = tokens[:10, n].tolist()
        assert max(pattern) <= 4
        assert tokens[10:, n].tolist() == [5] * 5 + [6] + [5] * 9
        assert batch.targets[:, n].tolist() == [5] * 15 + pattern


def test_baseline_guesses_each_of_five_values():
    assert TASK.baseline() == pytest.approx(10 * math.log(5) / 25, rel=1e-12)
    for value in range(5):
        assert within_error(sampled(TASK).targets[-3] == value, 1 / 5)


def test_wrong_looks_at_every_step():
    batch = sampled(TASK)
    outputs = np.eye(6, dtype=np.float32)[batch.targets]
    outputs[0, 2] = np.eye(6)[1]  # a value where a blank is due
    outputs[-1, 5] = np.eye(6)[5]  # a blank where the last value is due
    assert np.flatnonzero(TASK.wrong(jnp.asarray(outputs), batch)).tolist() == [2, 5]


def test_a_delay_below_one_is_refused():
    with pytest.raises(ValueError, match="Memorisation: `delay` must be a whole number of at least 1.*got 0"):
        Memorisation(0)
