"""The data of a run as text: a long CSV, and JSON."""

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.configurations import Configuration
from benchmarks.environment import machine, versions
from benchmarks.measure import Measurement
from benchmarks.results import Results
from benchmarks.training import CLIP

MAX_ROWS = 10_000
CSV_COLUMNS = (
    "data", "configuration", "train_steps", "length", "lag", "ln_median", "ln_quantile_10", "ln_quantile_90",
    "ln_geometric_mean", "ln_root_mean_square", "fraction_zero",
)  # fmt: skip


def kept_lags(length: int, curves: int) -> np.ndarray:
    """The lags in the CSV: all of them, or as many on a logarithmic grid as keep it below `MAX_ROWS` rows."""
    count = max(MAX_ROWS // max(curves, 1), 16)
    if length <= count:
        return np.arange(length)
    grid = np.geomspace(1, length - 1, count - 1).round().astype(int)
    return np.unique(np.concatenate([[0], grid]))


def rows(results: Results, planned: int) -> Iterator[tuple[Any, ...]]:
    """One row for each configuration, stage of training, length and kept lag; `planned` curves share the space."""
    for configuration in results.configurations:
        for updates in results.measured:
            for length, measurement in results.curves(updates, configuration.name).items():
                curve = measurement.curve
                columns = (*curve.norm, curve.geometric_mean, curve.root_mean_square, curve.fraction_zero)
                for lag in kept_lags(length, planned):
                    values = (f"{float(column[lag]):.7g}" for column in columns)
                    yield results.settings["data"], configuration.name, updates, length, int(lag), *values


def to_csv(results: Results) -> str:
    """The long table: natural logarithms of norms, -inf for exact zeros; `train_steps` is 0 at initialisation."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    stages = 2 if results.settings["train_steps"] else 1
    writer.writerows(rows(results, stages * len(results.configurations) * len(results.settings["lengths"])))
    return out.getvalue()


def to_json(results: Results) -> str:
    """Settings, versions, machine and, for each configuration, ratio and decay by length; not finite as strings."""
    content = {
        "settings": results.settings,
        "versions": versions(),
        "machine": machine(),
        "computing_seconds": {stage: round(seconds, 2) for stage, seconds in results.seconds.items()},
        "units": {
            "ln_ratio": "natural logarithm of ||dL/ds_1|| / ||dL/ds_T||, over samples and seeds",
            "rate": "nats per step, fitted to each sample by itself, then median and quantiles",
            "half_life": "steps, from the median rate",
        },
    }
    if results.objective is not None:
        content["training"] = {
            "objective": results.objective.what,
            "loss": f"{results.objective.loss} by network, on sequences drawn apart from those of training",
            "baseline": _number(results.baseline),
            "length": max(results.settings["lengths"]),
            "method": f"Adam, gradients clipped to a global norm of {CLIP}",
        }
    content["configurations"] = {c.name: _configuration(results, c) for c in results.configurations}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _configuration(results: Results, configuration: Configuration) -> dict[str, Any]:
    def by_length(updates: int) -> dict[str, Any]:
        return {str(n): _summary(m) for n, m in results.curves(updates, configuration.name).items()}

    found = {"label": configuration.label, "by_length": by_length(0)}
    if configuration.name in results.training:
        training = results.training[configuration.name]
        found["training"] = {field: [_number(value) for value in row] for field, row in training._asdict().items()}
        found["by_length_after_training"] = by_length(results.settings["train_steps"])
    return found


def _number(value: Any) -> float | str:
    if isinstance(value, np.integer):
        return int(value)
    value = float(value)
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)


def _band(band) -> dict[str, float | str]:
    return {"median": _number(band.median), "quantile_10": _number(band.low), "quantile_90": _number(band.high)}


def _summary(measurement: Measurement) -> dict[str, Any]:
    decay = measurement.decay
    return {
        "ln_ratio": _band(measurement.curve.ratio),
        "fraction_zero_at_first_step": _number(measurement.curve.fraction_zero[-1]),
        "decay": {
            "rate": _band(decay.rate),
            "half_life": _number(decay.half_life),
            "r_squared": _number(decay.r_squared),
            "fraction_of_samples_fitted": _number(decay.fraction_fitted),
            "lags": [decay.first_lag, decay.last_lag],
        },
    }
