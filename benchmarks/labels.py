"""Names of curves beside a panel, each at the height of its curve's end, moved apart where they would overlap."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb


class Label(NamedTuple):
    """A text for a curve that ends at `height`, 0 the bottom of the panel and 1 its top; beyond, it has left."""

    text: str
    height: float
    colour: str


def spread(targets: Sequence[float] | np.ndarray, gap: float) -> np.ndarray:
    """Heights in [0, 1] at least `gap` apart, in the order of the targets and as near to them as can be.

    Least squares: with gaps taken off the heights must not decrease, which pooling of neighbours solves.

    Example:
        >>> spread([0.5, 0.5, 0.0], gap=0.25).tolist()
        [0.375, 0.625, 0.0]
    """
    order = np.argsort(targets, kind="stable")
    gap = min(gap, 1 / max(len(order) - 1, 1))
    offsets = gap * np.arange(len(order))
    pools: list[tuple[float, int]] = []
    for value in np.asarray(targets, float)[order] - offsets:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (high, many), (low, few) = pools[-2], pools.pop()
            pools[-1] = ((high * many + low * few) / (many + few), many + few)
    pooled = np.repeat([value for value, _ in pools], [count for _, count in pools])
    heights = np.empty(len(order))
    heights[order] = np.clip(pooled, 0, 1 - offsets[-1] if len(order) else 1) + offsets
    return heights


def write_labels(axes: Axes, labels: Sequence[Label], size: float) -> None:
    """Writes the labels to the right of the panel; a line in its colour leads from a curve to its label."""
    panel_points = axes.get_position().height * axes.figure.get_figheight() * 72  # pyright: ignore[reportAttributeAccessIssue]
    labels = sorted(labels, key=lambda label: label.height)
    heights = np.clip([label.height for label in labels], 0, 1)
    for label, height, position in zip(labels, heights, spread(heights, gap=1.4 * size / panel_points), strict=True):
        where = {"transform": axes.transAxes, "clip_on": False}
        if height == label.height:
            axes.plot((1.01, 1.06), (height, position), color=label.colour, lw=1.0, **where)
        dark = tuple(0.7 * part for part in to_rgb(label.colour))  # letters are thinner than curves
        axes.text(1.07, position, label.text, color=dark, fontsize=size, va="center", **where)
