"""One colour, line and marker for each configuration, the same in every figure that shows it."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple


class Style(NamedTuple):
    """How a curve is drawn, as Matplotlib names it."""

    colour: str
    dashes: Any
    marker: str


OWN = {
    "Elman": Style("#222222", "-", "o"),
    "IRNN": Style("#D55E00", "-", "s"),
    "LSTM-forget-0": Style("#56A8DC", "-", "v"),
    "LSTM-forget-1": Style("#0072B2", (0, (5, 1.5)), "D"),
    "LSTM-chrono": Style("#332288", "-", "^"),
    "GRU": Style("#009E73", (0, (3, 2.5)), "P"),
    "MinGRU": Style("#D99500", (0, (6, 1.5, 1, 1.5)), "X"),
    "LRU": Style("#C4609A", "-", "*"),
}
FREE = (Style("#882255", (0, (1, 2)), "<"), Style("#999933", (0, (5, 1, 1, 1, 1, 1)), ">"))


def styles_of(names: Sequence[str]) -> dict[str, Style]:
    """The styles of configurations: their own where they have one, else in turn what the others leave.

    Example:
        >>> found = styles_of(["Jordan", "Elman", "OriginalLSTM"])
        >>> found["Elman"] == OWN["Elman"], len({style.colour for style in found.values()})
        (True, 3)
    """
    own = {name: OWN[name] for name in names if name in OWN}
    left = [style for style in (*FREE, *OWN.values()) if style not in own.values()] or FREE
    others = itertools.cycle(left)
    return {name: own[name] if name in own else next(others) for name in names}
