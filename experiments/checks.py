"""What applications ask of their settings, beyond what every command does."""

import math
from typing import Any

from benchmarks.command import check_at_least, flag


def check_limits(settings: Any, least: int, *names: str) -> None:
    """Raises ValueError unless such settings are None or at least so large."""
    for name in names:
        if getattr(settings, name) is not None:
            check_at_least(settings, least, name)


def check_choices(settings: Any, *names: str) -> None:
    """Raises ValueError unless such settings name something, and nothing twice."""
    for name in names:
        if not (chosen := getattr(settings, name)) or len(set(chosen)) < len(chosen):
            raise ValueError(
                f"{flag(name)}: must be one or more, each of them once, got {' '.join(map(str, chosen)) or 'none'}. "
                "Leave out what is there twice, or the flag for its default."
            )


def check_positive(settings: Any, *names: str) -> None:
    """Raises ValueError unless such settings are finite and above 0."""
    for name in names:
        if not 0 < (value := getattr(settings, name)) < math.inf:
            raise ValueError(f"{flag(name)}: must be a finite number above 0, got {value}. Give another number.")


def check_rate(settings: Any, *names: str) -> None:
    """Raises ValueError unless such settings, a number or some, lie in [0, 1)."""
    for name in names:
        value = getattr(settings, name)
        if not all(0 <= rate < 1 for rate in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"{flag(name)}: must lie in [0, 1), got {value}. Give another number.")
