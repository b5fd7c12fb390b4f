"""The table of a run, to print and as a file: one row a configuration, one more for it after training."""

import math

import numpy as np
from rich.table import Table

from benchmarks.measure import Measurement
from benchmarks.results import Results
from jaxrnn.files import markdown_table

HEADINGS = ("nats per step", "10 to 90%", "half-life, steps", "R²", "first / last step", "exactly 0")


def headings(results: Results) -> tuple[str, ...]:
    """Names of the columns; those of training only where there is some."""
    return ("cell", *(("updates", "loss") if results.objective else ()), *HEADINGS)


def table_rows(results: Results) -> list[tuple[str, ...]]:
    """The rows at the longest length, each configuration before and after training."""
    found = []
    for configuration in results.configurations:
        for updates, by_length in sorted(results.measured.items()):
            measurement = by_length.get(results.longest, {}).get(configuration.name)
            if measurement is not None:
                training = _training(results, configuration.name, updates) if results.objective else ()
                found.append((configuration.label, *training, *_columns(measurement)))
    return found


def caption(results: Results) -> str:
    """What the numbers are."""
    if results.objective is None:
        return results.subtitle
    objective = results.objective
    return (
        f"{results.subtitle} Loss: {objective.loss} of {objective.what}, median over networks; "
        f"{results.baseline:.4g} without looking at the input."
    )


def to_table(results: Results) -> Table:
    """The table to print."""
    table = Table(title=f"{results.title} T = {results.longest}", caption=caption(results))
    for heading in headings(results):
        justify = "left" if heading == "cell" else "right"
        table.add_column(heading, justify=justify, no_wrap=heading != "updates")  # which may say that some failed
    for row in table_rows(results):
        table.add_row(*row)
    return table


def to_markdown(results: Results) -> str:
    """The same table as a file."""
    body = markdown_table(headings(results), table_rows(results))
    return f"{results.title} T = {results.longest}\n\n{body}\n{caption(results)}\n"


def _training(results: Results, name: str, updates: int) -> tuple[str, str]:
    """Updates and loss; in words, in how many networks some were skipped because they were not finite."""
    if name not in results.training:
        return str(updates), "not yet"
    training = results.training[name]
    loss = np.median(training.loss_after if updates else training.loss_before)
    skipped, networks = int(np.count_nonzero(training.skipped)), len(training.skipped)
    said = f"{updates}, not finite in {skipped} of {networks} networks" if updates and skipped else str(updates)
    return said, f"{loss:.4g}"


def _columns(measurement: Measurement) -> tuple[str, ...]:
    curve, decay = measurement
    return (
        f"{decay.rate.median:.4f}",
        f"{decay.rate.low:.4f} to {decay.rate.high:.4f}",
        _steps(measurement),
        f"{decay.r_squared:.3f}",
        "0" if curve.ratio.median == -math.inf else f"10^{curve.ratio.median / math.log(10):.2f}",
        f"{100 * curve.fraction_zero[-1]:.0f}%",
    )


def _steps(measurement: Measurement) -> str:
    half_life = measurement.decay.half_life
    if measurement.curve.fraction_zero[-1] > 0.5:
        if math.isnan(half_life):
            return "0 from lag 1 on"
        level = "level" if half_life == math.inf else f"{half_life:.2f}"
        return f"{level} to lag {measurement.decay.last_lag} at most, then 0"
    return "does not decay" if half_life == math.inf else f"{half_life:.{0 if half_life >= 100 else 2}f}"
