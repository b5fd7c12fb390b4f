"""The metrics of a run as a file: one JSON object a line, appended update by update, cut back when a run resumes."""

import json
import math
import os
from os import PathLike
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn.train.state import Metrics


class MetricsLog:
    """Writes one line an update: `step`, the scalars of `Metrics`, those of a dict `aux` and of a monitor's quantities.

    The last two stand as `aux.<name>` and `quantities.<name>`; what is no real scalar is left out.

    Numbers that are not finite stand as the strings "nan", "inf" and "-inf", which JSON has no numbers for.

    Args:
        path: The file, made if it is missing.
        step: Where the run starts, 0 or `int(state.step)`. Lines of this step and later ones, which a run that was cut
            off left behind the checkpoint that it resumes from, are dropped: every update stands in the log once.

    Raises:
        ValueError: the file cannot be written, or is no such log.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with MetricsLog(Path(folder) / "log.jsonl", step=0) as log:
        ...         log.write(0, {"loss": np.float32(0.5)})
        ...     read_log(Path(folder) / "log.jsonl")["loss"]
        array([0.5])
    """

    def __init__(self, path: str | PathLike[str], step: int):
        """Opens the file, cut back to `step`."""
        self._path = Path(path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            kept = [line for line in _lines(self._path) if line["step"] < step]
            beside = self._path.with_name(f".{self._path.name}.part")
            beside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            os.replace(beside, self._path)
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise ValueError(
                f"MetricsLog: cannot write {self._path}: {error.strerror}. Choose a folder of your own."
            ) from error

    def write(self, step: int, metrics: Metrics | dict[str, Any]) -> None:
        """Appends the updates that began at `step`: one, or several stacked along a first axis."""
        columns = _columns(metrics)
        for row in range(len(next(iter(columns.values())))):
            values = {name: _number(column[row]) for name, column in columns.items()}
            self._file.write(json.dumps({"step": step + row, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self):  # noqa: D105
        return self

    def __exit__(self, *error):  # noqa: D105
        self.close()


def read_log(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """The columns of a log, in the order of the steps; NaN where a line has no such column.

    Raises:
        ValueError: the file is no such log.
    """
    lines = _lines(Path(path))
    names = dict.fromkeys(name for line in lines for name in line)
    return {name: np.array([_parsed(line.get(name, "nan")) for line in lines]) for name in names}


def _lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a last one that a killed run left half written does not count."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    try:
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [{"step": line.pop("step")} | line for line in lines]
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"MetricsLog: {path} is no log of metrics ({error}). Name another file.") from error


def _columns(metrics: Metrics | dict[str, Any]) -> dict[str, np.ndarray]:
    """One entry for each update: those of real scalars, stacked or not; what has more axes has no place in a line."""
    columns = dict(metrics) if isinstance(metrics, dict) else metrics._asdict()
    for group in ("aux", "quantities"):
        found = columns.pop(group, ())
        columns |= {f"{group}.{name}": column for name, column in found.items()} if isinstance(found, dict) else {}
    axes = np.ndim(next(iter(columns.values())))
    real = {name: c for name, c in columns.items() if not isinstance(c, dict | list | tuple) and _is_real(c)}
    return {name: np.atleast_1d(np.asarray(c)) for name, c in real.items() if np.ndim(c) == axes}


def _is_real(column: Any) -> bool:
    dtype = column.dtype if hasattr(column, "dtype") else np.asarray(column).dtype
    return any(jnp.issubdtype(dtype, kind) for kind in (np.floating, np.integer, np.bool_))


def _number(value: np.generic) -> Any:
    number = value.item()
    return number if not isinstance(number, float) or math.isfinite(number) else str(number)


def _parsed(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value
