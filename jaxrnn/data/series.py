"""Time series: recorded values, their splits in time order, and their scale."""

import csv
from os import PathLike
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64

from jaxrnn.data.files import check_known, locate

# The file, and the rows at which train, validation and test end.
_SERIES = {
    "airline-passengers": ("time-series/airline-passengers.csv", (108, 120, 144)),
    "daily-min-temperatures": ("time-series/daily-min-temperatures.csv", (2920, 3285, 3650)),
    "monthly-sunspots": ("time-series/monthly-sunspots.csv", (2256, 2538, 2820)),
    "sunspots": ("time-series/sunspots.csv", (221, 256, 280)),
    "co2": ("time-series/co2.csv", (1827, 2055, 2284)),
    "etth1": ("etth1/ETTh1.csv", (8640, 11520, 14400)),
}


class TimeSeries(NamedTuple):
    """A recorded series; `series.values[series.train]` are the values of a split."""

    times: tuple[str, ...]  # as the file writes them
    columns: tuple[str, ...]
    values: Float64[np.ndarray, "time features"]
    train: slice
    validation: slice
    test: slice


def time_series(name: str, directory: str | PathLike[str] | None = None) -> TimeSeries:
    """A recorded series with its splits, which follow one another in time.

        name                     rows                            train, validation, test
        airline-passengers       144 months, 1949 to 1960        all before, 12 months, the last 24 months
        daily-min-temperatures   3,650 days, 1981 to 1990        1981 to 1988, 1989, 1990
        monthly-sunspots         2,820 months, 1749 to 1983      80, 10, 10 %
        sunspots                 309 years, 1700 to 2008         1700 to 1920, to 1955, to 1979; the rest is not used
        co2                      2,284 weeks, 1958 to 2001       80, 10, 10 %
        etth1                    17,420 hours from July 2016     12, 4, 4 months of 30 days; the rest is not used

    Units: thousands of passengers; degrees Celsius; sunspot numbers; parts per million by volume. etth1 has seven
    columns, six loads of a transformer and its oil temperature OT. Leap years of daily-min-temperatures lack their 31
    December. 59 weeks of co2 were not measured: they repeat the last value measured before them, so that nothing later
    is seen early. The splits of etth1 are the field's, the others a rule of this library.

    Sources: github.com/jbrownlee/Datasets for the first three, from the Time Series Data Library (Box & Jenkins, 1976;
    Australian Bureau of Meteorology; Andrews & Herzberg, 1985), no licence stated; github.com/statsmodels/statsmodels
    for sunspots and co2, public domain; github.com/zhouhaoyi/ETDataset for etth1 (Zhou et al., 2021,
    https://arxiv.org/abs/2012.07436), CC BY-ND 4.0.

    Args:
        name: One of the names above.
        directory: As for `locate`.

    Raises:
        ValueError: there is no such series; else as for `locate`.

    Example:
        >>> time_series("airline-passengers").test  # doctest: +SKIP
        slice(120, 144, None)
    """
    check_known("time_series", "name", name, _SERIES)
    file, (train, validation, test) = _SERIES[name]
    (_, *columns), *rows = csv.reader(locate(file, directory).read_text("utf-8").splitlines())
    values = np.array([[float(entry or "nan") for entry in row[1:]] for row in rows])
    return TimeSeries(
        times=tuple(row[0] for row in rows),
        columns=tuple(columns),
        values=_carried_forward(values),
        train=slice(0, train),
        validation=slice(train, validation),
        test=slice(validation, test),
    )


class Standardised(NamedTuple):
    """The splits of a series with mean 0 and variance 1 in the training split, and what was taken from each column."""

    train: Float32[np.ndarray, "_ features"]
    validation: Float32[np.ndarray, "_ features"]
    test: Float32[np.ndarray, "_ features"]
    mean: Float64[np.ndarray, " features"]
    deviation: Float64[np.ndarray, " features"]

    def restore(self, values: Float[np.ndarray, "*steps features"]) -> Float64[np.ndarray, "*steps features"]:
        """Values in the units of the series: value * deviation + mean."""
        return values.astype(np.float64) * self.deviation + self.mean


def standardise(series: TimeSeries) -> Standardised:
    """(value - mean) / deviation for each column, mean and deviation from the training split alone.

    Raises:
        ValueError: a column is constant in the training split.

    Example:
        >>> values = np.array([[1.0], [3.0], [5.0], [2.0]])
        >>> series = TimeSeries(("1", "2", "3", "4"), ("x",), values, slice(0, 2), slice(2, 3), slice(3, 4))
        >>> standardise(series).validation
        array([[3.]], dtype=float32)
    """
    train = series.values[series.train]
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    constant = [column for column, spread in zip(series.columns, deviation, strict=True) if not spread > 0]
    if constant:
        raise ValueError(
            f"standardise: the columns of `series` must vary in the training split, got no spread in {constant}. "
            "Leave these columns out, or take a longer training split."
        )
    scaled = ((series.values - mean) / deviation).astype(np.float32)
    return Standardised(scaled[series.train], scaled[series.validation], scaled[series.test], mean, deviation)


def _carried_forward(values: np.ndarray) -> np.ndarray:
    rows = np.arange(len(values))[:, None]
    measured = np.maximum.accumulate(np.where(np.isnan(values), 0, rows), axis=0)
    return np.take_along_axis(values, measured, axis=0)
