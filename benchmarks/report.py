"""The files of a run: long CSV, JSON, table; each written beside and then renamed, so that none is ever half there."""

import contextlib
import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.environment import machine, versions
from benchmarks.measure import Measurement
from benchmarks.results import Results

MAX_ROWS = 10_000
CSV_COLUMNS = (
    "data", "configuration", "length", "lag", "ln_median", "ln_quantile_10", "ln_quantile_90",
    "ln_geometric_mean", "ln_root_mean_square", "fraction_zero",
)  # fmt: skip


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a file beside `path`, then renames it; interrupted, it leaves the old file or none."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    beside = Path(name)
    try:
        write(beside)
        beside.chmod(0o644)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def prepare_folder(folder: Path) -> None:
    """Makes the folder and writes a file into it, to know before computing that results can be kept.

    Raises:
        ValueError: it cannot be made or written to; folders made on the way are removed.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise ValueError(f"--out: cannot write to {folder}: {error.strerror}. Choose a folder of your own.") from error


def kept_lags(length: int, curves: int) -> np.ndarray:
    """The lags in the CSV: all of them, or as many on a logarithmic grid as keep it below `MAX_ROWS` rows."""
    count = max(MAX_ROWS // max(curves, 1), 16)
    if length <= count:
        return np.arange(length)
    grid = np.geomspace(1, length - 1, count - 1).round().astype(int)
    return np.unique(np.concatenate([[0], grid]))


def rows(results: Results, planned: int) -> Iterator[tuple[Any, ...]]:
    """One row for each configuration, length and kept lag; `planned` curves share the space."""
    for configuration in results.configurations:
        for length, measurements in results.measured.items():
            if configuration.name not in measurements:
                continue
            curve = measurements[configuration.name].curve
            columns = (*curve.norm, curve.geometric_mean, curve.root_mean_square, curve.fraction_zero)
            for lag in kept_lags(length, planned):
                values = (f"{float(column[lag]):.7g}" for column in columns)
                yield results.settings["data"], configuration.name, length, int(lag), *values


def to_csv(results: Results) -> str:
    """The long table: natural logarithms of norms, -inf for exact zeros."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(rows(results, len(results.configurations) * len(results.settings["lengths"])))
    return out.getvalue()


def to_json(results: Results) -> str:
    """Settings, versions, machine and, for each configuration, ratio and decay by length; not finite as strings."""

    def by_length(name: str) -> dict[str, Any]:
        return {str(n): _summary(m[name]) for n, m in results.measured.items() if name in m}

    content = {
        "settings": results.settings,
        "versions": versions(),
        "machine": machine(),
        "computing_seconds_by_length": {str(n): round(s, 2) for n, s in results.seconds.items()},
        "units": {
            "ln_ratio": "natural logarithm of ||dL/ds_1|| / ||dL/ds_T||, over samples and seeds",
            "rate": "nats per step, fitted to each sample by itself, then median and quantiles",
            "half_life": "steps, from the median rate",
        },
        "configurations": {c.name: {"label": c.label, "by_length": by_length(c.name)} for c in results.configurations},
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _number(value: Any) -> float | str:
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


HEADINGS = ("cell", "nats per step", "10 to 90%", "half-life, steps", "R²", "first / last step", "exactly 0")


def _steps(measurement: Measurement) -> str:
    half_life = measurement.decay.half_life
    if measurement.curve.fraction_zero[-1] > 0.5:
        level = "level" if half_life == math.inf else f"{half_life:.2f}"
        return f"{level} to lag {measurement.decay.last_lag} at most, then 0"
    return "does not decay" if half_life == math.inf else f"{half_life:.{0 if half_life >= 100 else 2}f}"


def table_rows(results: Results) -> list[tuple[str, ...]]:
    """One row for each configuration, at the longest length."""
    measured = results.measured[results.longest]
    found = []
    for configuration in (c for c in results.configurations if c.name in measured):
        curve, decay = measured[configuration.name]
        found.append(
            (
                configuration.label,
                f"{decay.rate.median:.4f}",
                f"{decay.rate.low:.4f} to {decay.rate.high:.4f}",
                _steps(measured[configuration.name]),
                f"{decay.r_squared:.3f}",
                "0" if curve.ratio.median == -math.inf else f"10^{curve.ratio.median / math.log(10):.2f}",
                f"{100 * curve.fraction_zero[-1]:.0f}%",
            )
        )
    return found


def to_table(results: Results) -> Table:
    """The table to print."""
    table = Table(title=f"{results.title} T = {results.longest}", caption=results.subtitle)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "cell" else "right", no_wrap=True)
    for row in table_rows(results):
        table.add_row(*row)
    return table


def to_markdown(results: Results) -> str:
    """The same table as a file."""
    lines = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *table_rows(results)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{results.title} T = {results.longest}\n\n{body}\n\n{results.subtitle}\n"
