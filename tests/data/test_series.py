import numpy as np
import pytest

from jaxrnn.data import TimeSeries, series, standardise, time_series

# Rows, columns, and the first and last time of each split, from the files.
SPLITS = {
    "airline-passengers": (144, 1, "1949-01 1957-12 1958-01 1958-12 1959-01 1960-12"),
    "daily-min-temperatures": (3650, 1, "1981-01-01 1988-12-30 1989-01-01 1989-12-31 1990-01-01 1990-12-31"),
    "monthly-sunspots": (2820, 1, "1749-01 1936-12 1937-01 1960-06 1960-07 1983-12"),
    "sunspots": (309, 1, "1700 1920 1921 1955 1956 1979"),
    "co2": (2284, 1, None),
    "etth1": (17_420, 7, None),
}


def made(values, train, validation):
    columns = tuple("abc"[: values.shape[1]])
    times = tuple(map(str, range(len(values))))
    return TimeSeries(times, columns, values, slice(0, train), slice(train, validation), slice(validation, len(values)))


def test_an_unknown_series_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`name` must be one of airline-passengers, .*etth1, got 'etth2'"):
        time_series("etth2", tmp_path)


def test_the_scale_is_that_of_the_training_split_alone():
    values = np.random.default_rng(0).normal(3, 2, (50, 2)) * [1, 10]
    got = standardise(made(values, 30, 40))
    np.testing.assert_allclose(got.train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(got.train.std(axis=0), 1, rtol=1e-6)
    mean, deviation = values[:30].mean(axis=0), np.sqrt(((values[:30] - values[:30].mean(axis=0)) ** 2).mean(axis=0))
    for part, rows in ((got.train, values[:30]), (got.validation, values[30:40]), (got.test, values[40:])):
        assert part.dtype == np.float32
        np.testing.assert_allclose(part, (rows - mean) / deviation, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got.restore(part), rows, rtol=1e-5)
    assert got.restore(got.test).dtype == np.float64
    changed = values.copy()
    changed[30:] += 1e6
    np.testing.assert_array_equal(standardise(made(changed, 30, 40)).train, got.train)


def test_a_constant_column_is_refused():
    values = np.stack([np.arange(9.0), [5.0] * 6 + [1.0, 2.0, 3.0]], axis=1)
    with pytest.raises(ValueError, match=r"must vary in the training split, got no spread in \['b'\]\. Leave"):
        standardise(made(values, 6, 7))


def test_the_last_value_is_carried_forward():
    gaps = np.array([[1, 10], [np.nan, 20], [np.nan, np.nan], [4, np.nan], [np.nan, 50]])
    assert series._carried_forward(gaps).tolist() == [[1, 10], [1, 20], [1, 20], [4, 20], [4, 50]]


@pytest.mark.parametrize("name", SPLITS)
def test_the_real_series(name, directory):
    rows, columns, borders = SPLITS[name]
    got = time_series(name, directory)
    assert got.values.shape == (rows, columns) and got.values.dtype == np.float64
    assert len(got.times) == rows and len(got.columns) == columns and np.isfinite(got.values).all()
    splits = (got.train, got.validation, got.test)
    assert splits[0].start == 0 and all(a.stop == b.start for a, b in zip(splits, splits[1:], strict=False))
    if borders:
        assert [got.times[row] for split in splits for row in (split.start, split.stop - 1)] == borders.split()
    scaled = standardise(got)
    assert abs(scaled.train.mean()) < 1e-5 and len(scaled.test) == got.test.stop - got.test.start


def test_values_and_splits_of_the_real_series(directory):
    airline = time_series("airline-passengers", directory)
    assert airline.columns == ("Passengers",) and airline.values[[0, -1], 0].tolist() == [112, 432]
    sunspots = time_series("monthly-sunspots", directory)
    assert (sunspots.train.stop, sunspots.validation.stop, sunspots.test.stop) == (2256, 2538, 2820)
    co2 = time_series("co2", directory)
    assert (co2.train.stop, co2.validation.stop, co2.test.stop) == (1827, 2055, 2284)
    lines = (directory / "time-series" / "co2.csv").read_text().splitlines()[1:]
    empty = [row for row, line in enumerate(lines) if line.endswith(",")]
    assert len(empty) == 59
    assert all(co2.values[row, 0] == co2.values[row - 1, 0] for row in empty)
    assert co2.values[0, 0] == 316.1 and co2.values[-1, 0] == 371.5
    ett = time_series("etth1", directory)
    assert ett.columns == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    assert [ett.times[split.stop - 1][:10] for split in (ett.train, ett.validation, ett.test)] == [
        "2017-06-25",
        "2017-10-23",
        "2018-02-20",
    ]
    assert ett.times[8640] == "2017-06-26 00:00:00" and ett.values[0, -1] == 30.5310001373291
