"""Made series in the format of the recorded ones: seasons with noise, which stand for nothing."""

import numpy as np

from jaxrnn.data import TimeSeries

COLUMNS = {"etth1": ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")}


def series(name: str, season: int, seed: int) -> TimeSeries:
    """A wave of the season for each column, each shifted, and a slow walk; 1,200 steps, 70, 15 and 15 %."""
    generator = np.random.default_rng(seed)
    columns = COLUMNS.get(name, ("value",))
    steps, shifts = np.arange(1200)[:, None], np.arange(len(columns))
    waves = np.sin(2 * np.pi * (steps / season + shifts / len(columns)))
    walk = np.cumsum(0.02 * generator.normal(size=waves.shape), axis=0)
    values = 10 + 5 * (waves + walk) + generator.normal(size=waves.shape)
    times = tuple(str(step) for step in range(len(values)))
    return TimeSeries(times, columns, values, slice(0, 840), slice(840, 1020), slice(1020, 1200))
