"""The heat maps of a report, from what was measured."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jaxrnn.gradients.activity import Activation
from jaxrnn.gradients.contributions import Contributions, cosines
from jaxrnn.gradients.reporting.records import Heatmap
from jaxrnn.gradients.transport import Transport, histogram

STEPS = 160  # of the first sequence, whose gates are shown
PAIRS = 64  # steps whose contributions are compared with one another
BINS = 24  # of the histogram of singular values


def _id(*words: str) -> str:
    return "-".join(words).lower().replace(" ", "-")


def gates(active: Mapping[str, Sequence[Activation]], time: int, tokens: Sequence[str] | None) -> Iterator[Heatmap]:
    """Every gate over the steps of the first sequence."""
    shown = min(time, STEPS)
    labels = tuple(str(n) for n in range(1, shown + 1)) if tokens is None else tuple(tokens[:shown])
    first = f"The first {shown} of {time} steps of the first sequence" if shown < time else "The first sequence"
    for name, found in active.items():
        for activation in found:
            if activation.kind == "sigmoid":
                values = np.asarray(activation.values[:shown, 0], np.float64).T
                yield Heatmap(
                    id=_id(name, activation.name), title=f"{name}: {activation.name}", view="gates", cell=name,
                    x_label="step", x_labels=labels, y_label="unit", values=values[np.argsort(-values.mean(axis=1))],
                    low=0.0, high=1.0, note=f"{first}; units sorted by their mean.",
                )  # fmt: skip


def singular_values(found: Mapping[str, Transport]) -> Iterator[Heatmap]:
    """How the logarithms of all singular values are spread at each lag, divided by the lag to have one scale."""
    for name, moved in found.items():
        lags = moved.lags[moved.lags > 0]
        rates = moved.log_values[moved.lags > 0] / lags[:, None, None].astype(moved.log_values.dtype)
        spread = histogram(Transport(lags, rates), BINS)
        middles = np.asarray(spread.edges[1:] + spread.edges[:-1]) / 2
        fractions = np.asarray(spread.fractions, np.float64).T[::-1]
        lost = float(spread.fraction_zero[-1])
        zeros = f" At the longest, {100 * lost:.0f}% are exactly 0 and not shown." if lost else ""
        yield Heatmap(
            id=_id(name, "singular-values"), title=f"{name}: all singular values", view="transport",
            cell=name, x_label="lag", x_labels=tuple(map(str, lags.tolist())),
            y_label="ln(singular value) / lag", y_labels=tuple(f"{middle:.2f}" for middle in middles[::-1]),
            values=fractions, low=0.0, high=max(float(fractions.max()), 1e-3),
            note=f"Fractions of them at each lag; what they tend to are the Lyapunov exponents.{zeros}",
        )  # fmt: skip


def cosines_of(found: Contributions) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the cosines between their contributions."""
    time = len(found.log_norms)
    steps = np.unique(np.linspace(0, time - 1, min(time, PAIRS)).round().astype(int))
    return steps, np.asarray(cosines(found), np.float64)[np.ix_(steps, steps)]


def contributed(found: Mapping[str, Contributions]) -> Iterator[Heatmap]:
    """Cosines between what the steps contribute to the gradient of the parameters."""
    for name, parts in found.items():
        steps, values = cosines_of(parts)
        labels = tuple(str(step + 1) for step in steps)
        yield Heatmap(
            id=_id(name, "cosines"), title=f"{name}: cosines of contributions", view="parameters",
            cell=name, x_label="step", x_labels=labels, y_label="step", y_labels=labels,
            values=np.clip(values, -1, 1), low=-1.0, high=1.0,
            note="Cosines between contributions to dL/dtheta: 1 where two steps add up, -1 where they cancel.",
        )  # fmt: skip
