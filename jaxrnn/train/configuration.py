"""A configuration as names and plain values, so that two of them can be compared and kept as JSON."""

import dataclasses
import json
import operator
import sys
from typing import Any

import numpy as np

_ABSENT = "absent"


def flatten(value: Any, name: str = "configuration") -> dict[str, Any]:
    """The parts of a configuration, by name.

    A dataclass or named tuple stands for its type and its fields; a list or tuple for its items; a function or class
    for the name by which it can be imported, which a method of an object and a lambda have not; a NumPy scalar for
    the number of Python that it is.

    Raises:
        TypeError: a value is of another kind, or the key of a dict is no string or has one of the characters of
            these names in it.

    Example:
        >>> flatten({"layers": (8, 16), "activation": np.tanh})
        {'configuration.layers[0]': 8, 'configuration.layers[1]': 16, 'configuration.activation': 'numpy.tanh'}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | int | float):
        return {name: value}
    if isinstance(value, np.dtype) or _is_scalar_type(value):
        return {name: str(np.dtype(value))}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = {name: _path(type(value))}
        parts = {f".{field.name}": getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, tuple) and (fields := getattr(value, "_fields", None)) is not None:
        own = {name: _path(type(value))}
        parts = {f".{field}": part for field, part in zip(fields, value, strict=True)}
    elif isinstance(value, dict):
        own, parts = ({} if value else {name: {}}), {f".{_key(key, name)}": part for key, part in value.items()}
    elif isinstance(value, list | tuple):
        own, parts = ({} if value else {name: []}), {f"[{place}]": part for place, part in enumerate(value)}
    elif _can_be_imported(value):
        return {name: _path(value)}
    else:
        raise TypeError(
            "Checkpoints: `configuration` must hold dataclasses, dicts, lists, numbers, strings, None, dtypes and "
            f"functions that can be imported by name, got {value!r} at `{name}`. Describe it by such values."
        )
    return own | {k: v for part, inner in parts.items() for k, v in flatten(inner, f"{name}{part}").items()}


def difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """The first value in which two configurations, both flattened, differ, in words; None where they are the same."""
    for name in {**before, **now}:
        was, is_now = (json.dumps(values[name]) if name in values else _ABSENT for values in (before, now))
        if was != is_now:
            return f"`{name}` was {was}, now it is {is_now}"
    return None


def _key(key: Any, name: str) -> str:
    if not isinstance(key, str) or not key or set(key) & set(".[]"):
        raise TypeError(
            f"Checkpoints: the keys of `{name}` must be strings, not empty and without any of . [ ], got {key!r}. "
            "Rename it."
        )
    return key


def _is_scalar_type(value: Any) -> bool:
    """Such as np.float32 and jnp.float32, of which only the first is one of NumPy's."""
    if not isinstance(value, type):
        return False
    return issubclass(value, np.generic) or isinstance(getattr(value, "dtype", None), np.dtype)


def _name(value: Any) -> str:
    return getattr(value, "__qualname__", getattr(value, "__name__", ""))


def _path(value: Any) -> str:
    return f"{value.__module__}.{_name(value)}"


def _can_be_imported(value: Any) -> bool:
    try:
        return operator.attrgetter(_name(value))(sys.modules[value.__module__]) is value
    except (AttributeError, KeyError):
        return False
