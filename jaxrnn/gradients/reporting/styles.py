"""One colour, line and marker for each configuration: for those named here the same in every figure."""

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
    "LSTM-forget-0": Style("#56A8DC", "-", "d"),
    "LSTM-forget-1": Style("#0072B2", (0, (5, 1.5)), "D"),
    "LSTM-chrono": Style("#332288", "-", "h"),
    "GRU": Style("#009E73", (0, (3, 2.5)), "P"),
    "MinGRU": Style("#D99500", (0, (6, 1.5, 1, 1.5)), "X"),
    "LRU": Style("#C4609A", "-", "*"),
}
COLOURS = ("#882255", "#999933", "#44AA99", "#661100", "#777777")
DASHES = ((0, (1, 2)), (0, (5, 1, 1, 1, 1, 1)), "-", (0, (8, 2)))
MARKERS = ("p", "8", "H")  # no triangles, which mark where a curve leaves the figure
FREE = tuple(  # 60, since the lengths of the three have no common factor
    Style(COLOURS[n % len(COLOURS)], DASHES[n % len(DASHES)], MARKERS[n % len(MARKERS)]) for n in range(60)
)


def styles_of(names: Sequence[str]) -> dict[str, Style]:
    """The styles of configurations: their own where they have one, else the free ones in turn.

    Example:
        >>> found = styles_of(["Jordan", "Elman", "OriginalLSTM"])
        >>> found["Elman"] == OWN["Elman"], len(set(found.values()))
        (True, 3)
    """
    free = itertools.cycle(FREE)
    return {name: OWN[name] if name in OWN else next(free) for name in names}
