"""Curves drawn with letters, for a terminal and nothing else at hand."""

import math
from collections.abc import Mapping

import numpy as np


def plot(curves: Mapping[str, np.ndarray], width: int = 78, height: int = 18) -> str:
    """ln norms over the lag as text: one letter for each curve, powers of ten upwards, the lag to the right.

    Args:
        curves: By name: natural logarithms (time,), the last entry at lag 0, all of one length; -inf for an exact
            zero, which is drawn on the bottom line.
        width: Columns of the whole picture.
        height: Lines of the plot itself.

    Raises:
        ValueError: there are no curves, their lengths differ, or one holds NaN.

    Example:
        >>> print(plot({"half": np.log(0.5) * np.arange(41)[::-1], "keeps": np.zeros(41)}, width=40, height=5))
          10^0 |*****BBBBBBBBBBBBBBBBBBBBBBBBBBB
               |     AAAAAAAA
               |             AAAAAAAA
               |                     AAAAAAAAA
        10^-13 |                              AA
               +--------------------------------
                0         lag in steps        40
        A half   B keeps   * both
    """
    if not curves or len({len(curve) for curve in curves.values()}) != 1:
        raise ValueError(f"plot: `curves` must be one or more of one length, got {[len(c) for c in curves.values()]}.")
    tens = {name: np.asarray(curve, np.float64)[::-1] / math.log(10) for name, curve in curves.items()}
    broken = [name for name, curve in tens.items() if np.isnan(curve).any()]
    if broken:
        raise ValueError(f"plot: `curves` must hold no NaN, got some in {', '.join(broken)}. Leave these out.")
    finite = np.concatenate([curve[np.isfinite(curve)] for curve in tens.values()])
    low, high = (finite.min(), finite.max()) if finite.size else (-1.0, 0.0)
    low, high = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
    margin = max(len(f"10^{low}"), len(f"10^{high}")) + 1
    columns, steps = max(width - margin - 1, 10), len(next(iter(tens.values()))) - 1
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    page = [[" "] * columns for _ in range(height)]
    for letter, curve in zip(letters, tens.values(), strict=False):
        values = np.interp(np.linspace(0, steps, columns), np.arange(steps + 1), np.maximum(curve, low - 1e9))
        for column, value in enumerate(values):
            line = round((high - max(value, low)) / (high - low) * (height - 1))
            page[line][column] = letter if page[line][column] == " " else "*"
    names = {0: f"10^{high}", height - 1: f"10^{low}"}
    lines = [f"{names.get(n, ''):>{margin - 1}} |{''.join(row)}".rstrip() for n, row in enumerate(page)]
    middle = "lag in steps".center(columns - 1 - len(str(steps)))
    legend = [f"{letter} {name}" for letter, name in zip(letters, curves, strict=False)]
    if any("*" in row for row in page):
        legend.append("* both" if len(curves) == 2 else "* several")
    return "\n".join(
        [*lines, " " * margin + "+" + "-" * columns, f"{' ' * (margin + 1)}0{middle}{steps}", "   ".join(legend)]
    )
