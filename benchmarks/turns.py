"""Timing of programs side by side: they run in turn, and a ratio is formed within each turn."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

WARM_UP = 2  # turns that are not counted


def seconds(step: Callable[[], Any]) -> float:
    """One call, until its results are there."""
    begin = time.perf_counter()
    jax.block_until_ready(step())
    return time.perf_counter() - begin


def in_turn(steps: Sequence[Callable[[], Any]], turns: int) -> np.ndarray:
    """Seconds (turns, steps); every other turn goes the other way round, so that neither is always the first."""
    timed = []
    for turn in range(turns + WARM_UP):
        order = range(len(steps)) if turn % 2 else reversed(range(len(steps)))
        found = {n: seconds(steps[n]) for n in order}
        timed.append([found[n] for n in range(len(steps))])
    return np.array(timed[WARM_UP:])


def quartiles(values: np.ndarray) -> list[float]:
    """First quartile, median, third quartile, to four digits."""
    return [float(f"{q:.4g}") for q in np.quantile(values, (0.25, 0.5, 0.75))]
