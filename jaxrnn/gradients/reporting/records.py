"""What a report holds: plain data, checked, and nothing of how it was measured or how it is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jaxrnn.gradients.reporting.styles import Style


@dataclass(frozen=True)
class Series:
    """One curve of one cell; with a band if `low` and `high` are given. -inf stands for an exact zero.

    Raises:
        ValueError: lengths differ, or there is NaN.
    """

    cell: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def __post_init__(self):  # noqa: D105
        for name in ("x", "y", "low", "high"):
            values = getattr(self, name)
            if values is None:
                continue
            values = np.asarray(values, np.float64)
            if values.shape != (len(self.x),):
                raise ValueError(f"Series: `{name}` of {self.cell} must have {len(self.x)} values, got {values.shape}.")
            if np.isnan(values).any():
                raise ValueError(f"Series: `{name}` of {self.cell} holds NaN. Leave out what could not be measured.")
            object.__setattr__(self, name, values)
        if (self.low is None) != (self.high is None):
            raise ValueError(f"Series: `low` and `high` of {self.cell} come together, got one of them.")


@dataclass(frozen=True)
class Chart:
    """Curves over one axis. `view` is the tab that it stands in; with `decades` y is log10 of what the label says."""

    id: str
    title: str
    view: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    y_scale: Literal["decades", "linear"] = "decades"
    x_scale: Literal["linear", "log"] = "linear"
    note: str = ""


@dataclass(frozen=True)
class Heatmap:
    """Values (rows, columns) of one cell as colours between `low` and `high`; a label for each column, and row if any.

    Raises:
        ValueError: labels are not as many, or a value is not finite.
    """

    id: str
    title: str
    view: str
    cell: str
    x_label: str
    x_labels: tuple[str, ...]
    y_label: str
    values: np.ndarray
    low: float
    high: float
    y_labels: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self):  # noqa: D105
        if np.ndim(self.values) != 2 or self.values.shape[1] != len(self.x_labels):
            raise ValueError(
                f"Heatmap: `values` of {self.title} must have a column for each of the {len(self.x_labels)} labels, "
                f"got shape {np.shape(self.values)}."
            )
        if self.y_labels and len(self.y_labels) != len(self.values):
            raise ValueError(
                f"Heatmap: `y_labels` of {self.title} must name each of the {len(self.values)} rows, "
                f"got {len(self.y_labels)}."
            )
        if not self.high > self.low or not np.isfinite(self.values).all():
            raise ValueError(f"Heatmap: `values` of {self.title} must be finite, and `high` above `low`.")


@dataclass(frozen=True)
class Table:
    """Rows of text under headings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self):  # noqa: D105
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"Table: a row of {self.title} has {len(row)} of {len(self.columns)} columns: {row}.")


@dataclass(frozen=True)
class Report:
    """All of a report; `cells` gives each cell its style, by the name that the series bear.

    Raises:
        ValueError: a series or heat map is of a cell that has no style, or two charts or heat maps have one id.
    """

    title: str
    subtitle: str
    cells: Mapping[str, Style]
    charts: tuple[Chart, ...]
    heatmaps: tuple[Heatmap, ...]
    tables: tuple[Table, ...]
    findings: tuple[str, ...]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def __post_init__(self):  # noqa: D105
        shown = [*(s.cell for chart in self.charts for s in chart.series), *(part.cell for part in self.heatmaps)]
        strangers = {*shown} - {*self.cells}
        if strangers:
            raise ValueError(f"Report: `cells` has no style for {', '.join(sorted(strangers))}. Add it.")
        ids = [part.id for part in (*self.charts, *self.heatmaps)]
        if len(set(ids)) < len(ids):
            raise ValueError(f"Report: every chart and heat map needs an id of its own, got {ids}.")


def all_tables(report: Report) -> tuple[Table, ...]:
    """The tables, and one each of settings and of what it was made with."""
    names = (("Settings", report.settings), ("Made with", report.provenance))
    rows = ((title, tuple((str(k), str(v)) for k, v in values.items())) for title, values in names)
    return (*report.tables, *(Table(title, ("name", "value"), row) for title, row in rows if row))


def as_plain(report: Report) -> dict[str, Any]:
    """The report as JSON can hold it: arrays as lists of numbers to six digits, what is not finite as strings."""
    return {
        "title": report.title,
        "subtitle": report.subtitle,
        "cells": {name: _plain_style(style) for name, style in report.cells.items()},
        "charts": [_plain(chart) for chart in report.charts],
        "heatmaps": [_plain(heatmap) for heatmap in report.heatmaps],
        "tables": [_plain(table) for table in report.tables],
        "findings": list(report.findings),
        "settings": _plain(dict(report.settings)),
        "provenance": _plain(dict(report.provenance)),
    }


def _plain_style(style: Style) -> dict[str, Any]:
    dashes = [] if style.dashes == "-" else list(style.dashes[1])
    return {"colour": style.colour, "dashes": dashes, "marker": style.marker}


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(f"{float(value):.6g}") if np.isfinite(value) else str(float(value))
    return value if isinstance(value, int | str | bool) or value is None else str(value)
