import re

import jax
import numpy as np
import pytest

from jaxrnn.data import Windows, batches, standardise, time_series


@pytest.mark.parametrize(("history", "horizon", "batch"), [(1, 1, 1), (4, 2, 3), (3, 5, 4), (6, 6, 2)])
def test_windows_by_a_plain_loop(history, horizon, batch):
    series = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    source = Windows(series, history, horizon, batch)
    expected = []
    for start in range(12):
        if start + history + horizon <= 12:
            expected.append((series[start : start + history], series[start + history : start + history + horizon]))
    found = []
    for made in batches(source):
        assert made.inputs.shape == (history, batch, 2) and made.targets.shape == (horizon, batch, 2)
        assert made.mask.shape == (horizon, batch) and made.inputs.dtype == made.targets.dtype == np.float32
        found += [(made.inputs[:, row], made.targets[:, row]) for row in np.flatnonzero(made.mask.all(axis=0))]
    assert len(found) == len(expected) == 13 - history - horizon
    for (inputs, targets), (history_of, future) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(inputs, history_of)
        np.testing.assert_array_equal(targets, future)


@pytest.mark.parametrize(("name", "sizes"), [("history", (0, 1, 1)), ("horizon", (1, 0, 1)), ("batch", (1, 1, 0))])
def test_sizes_below_one_are_refused(name, sizes):
    with pytest.raises(ValueError, match=rf"Windows: `{name}` must be a whole number of at least 1, got 0\."):
        Windows(np.zeros((9, 1)), *sizes)


@pytest.mark.parametrize("length", [0, 6])
def test_a_short_series_is_refused(length):
    with pytest.raises(ValueError, match=rf"history \+ horizon = 4 \+ 3 steps, got {length}\. Take a shorter"):
        Windows(np.zeros((length, 1)), history=4, horizon=3, batch=2)
    assert len(Windows(np.zeros((7, 1)), history=4, horizon=3, batch=2)) == 1


@pytest.mark.parametrize("shape", [(9,), (9, 1, 1)])
@pytest.mark.usefixtures("without_type_checks")
def test_a_series_of_other_axes_is_refused(shape):
    with pytest.raises(
        ValueError, match=rf"must be \(time, features\), got the shape {re.escape(str(shape))}\. Give .*None\]"
    ):
        Windows(np.zeros(shape), 2, 1, 1)


def test_windows_of_a_split_do_not_leave_it(directory):
    series = time_series("etth1", directory)
    scaled = standardise(series)
    source = Windows(scaled.validation, history=96, horizon=24, batch=64, key=jax.random.key(0))
    assert len(source) == -(-(2880 - 96 - 24 + 1) // 64)
    allowed = {row.tobytes() for row in scaled.validation}
    made = source.at(len(source) + 3)
    assert {row.tobytes() for part in (made.inputs, made.targets) for row in part.reshape(-1, 7)} <= allowed
