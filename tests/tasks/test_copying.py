import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import Copy, VariableCopy
from tests.tasks.cases import lengths_of, sampled, within_error

COPY, VARIABLE = Copy(5), VariableCopy(6)


@pytest.mark.parametrize("task", [COPY, VARIABLE], ids=repr)
def test_every_sequence_follows_the_definition(task):
    batch = sampled(task)
    tokens, delays = batch.inputs.argmax(axis=-1), lengths_of(batch) - 20
    assert set(delays) == ({5} if task == COPY else set(range(1, 7)))
    for n, delay in enumerate(delays):
        symbols = tokens[:10, n].tolist()
        assert 1 <= min(symbols) and max(symbols) <= 8
        padding = [0] * (len(tokens) - 20 - delay)
        assert tokens[10:, n].tolist() == [0] * (delay - 1) + [9] + [0] * 10 + padding
        assert batch.targets[:, n].tolist() == [0] * (delay + 10) + symbols + padding


def test_symbols_and_delays_are_uniform():
    symbols = sampled(COPY).inputs[:10, :, 1:9]
    assert all(within_error(column, 1 / 8) for column in symbols.reshape(10, -1, 8)[3].T)
    delays = lengths_of(sampled(VARIABLE)) - 20
    assert all(within_error(delays == delay, 1 / 6) for delay in range(1, 7))


@pytest.mark.parametrize(
    ("delay", "expected"), [(100, 0.173287), (200, 0.094520), (500, 0.039989), (1000, 0.020387), (2000, 0.010294)]
)
def test_baseline_of_a_fixed_delay(delay, expected):
    assert Copy(delay).baseline() == pytest.approx(expected, abs=5e-7)


def test_baseline_of_a_varying_delay_is_nats_over_expected_steps():
    assert VARIABLE.baseline() == pytest.approx(10 * math.log(8) / 23.5, rel=1e-12)
    assert within_error(sampled(VARIABLE).mask.sum(axis=0), 10 * math.log(8) / VARIABLE.baseline())
    assert VariableCopy(1).baseline() == Copy(1).baseline()


@pytest.mark.parametrize("task", [COPY, VARIABLE], ids=repr)
def test_wrong_looks_at_the_last_ten_symbols_alone(task):
    batch = sampled(task)
    outputs = np.eye(9, dtype=np.float32)[batch.targets]
    ends = lengths_of(batch)
    for n, end in enumerate(ends):
        outputs[: end - 10, n], outputs[end:, n] = np.eye(9)[3], np.nan  # the blanks
    assert not np.asarray(task.wrong(jnp.asarray(outputs), batch)).any()
    outputs[ends[0] - 10, 0] = np.eye(9)[0]
    outputs[ends[1] - 1, 1] = 0
    assert np.flatnonzero(task.wrong(jnp.asarray(outputs), batch)).tolist() == [0, 1]


@pytest.mark.parametrize("task", [Copy, VariableCopy])
def test_a_delay_below_one_is_refused(task):
    with pytest.raises(ValueError, match=rf"{task.__name__}: `delay` must be a whole number of at least 1.*got 0"):
        task(0)
