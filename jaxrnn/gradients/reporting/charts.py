"""The charts of a report, from what was measured."""

import math
from collections.abc import Iterator, Mapping

import jax
import numpy as np
from jaxtyping import PyTree

from jaxrnn.gradients.bounds import Bound, log_gap
from jaxrnn.gradients.contributions import Contributions, share_beyond
from jaxrnn.gradients.extreme_transport import ExtremeTransport
from jaxrnn.gradients.reporting.decays import Decay, decay_of
from jaxrnn.gradients.reporting.records import Chart, Series
from jaxrnn.gradients.sensitivity import Sensitivity
from jaxrnn.gradients.transport import Transport, spaced_lags

POINTS, SHARES = 240, 12  # most lags of a curve, and of the shares of the parameters' gradient
LAG = "lag T - t (steps back from the end)"


def _tens(logs) -> np.ndarray:
    return np.asarray(logs, np.float64) / math.log(10)


def _of_finite(cell: str, x, y) -> list[Series]:
    """The points that are finite, as one series, or none."""
    x, y = np.asarray(x), np.asarray(y, np.float64)
    kept = np.isfinite(y)
    return [Series(cell, x[kept], y[kept])] if kept.any() else []


def over_lag(id: str, title: str, view: str, decays: Mapping[str, Decay]) -> Chart:
    """Norms by lag, with bands; networks whose norms are all exactly 0 are left out."""
    alive = {name: decay for name, decay in decays.items() if not math.isnan(decay.left)}

    def series(name: str, decay: Decay) -> Series:
        first = np.argmax(decay.middle[::-1] > -np.inf)  # a memory that the last output does not read begins later
        lags = np.array([lag for lag in spaced_lags(len(decay.middle) - 1, POINTS) if lag >= first])
        return Series(name, lags, *(_tens(curve[::-1][lags]) for curve in (decay.middle, decay.low, decay.high)))

    return Chart(
        id=id, title=title, view=view, x_label=LAG, y_label="norm", y_scale="decades",
        series=tuple(series(*item) for item in alive.items()),
        note="Pure decay where L reads the last output alone, as it does by default.",
    )  # fmt: skip


def over_length(by_length: Mapping[int, Mapping[str, Decay]]) -> Chart:
    """First against last step, by the length of the sequence."""

    def series(name: str) -> list[Series]:
        left = {length: decays[name].left for length, decays in by_length.items()}
        known = [length for length, value in left.items() if not math.isnan(value)]
        return [Series(name, np.array(known), _tens([left[n] for n in known]))] if known else []

    names = next(iter(by_length.values()))
    return Chart(
        id="length", title="First against last step", view="length", x_label="sequence length T (steps)",
        y_label="first step / last step", series=tuple(s for name in names for s in series(name)),
        y_scale="decades", x_scale="log", note="Medians of both steps.",
    )  # fmt: skip


def parts(found: Mapping[str, PyTree]) -> Iterator[Chart]:
    """Norms by lag of each array of the state by itself, as soon as one network has more than one."""
    flat = {n: [(_path(p), x) for p, x in jax.tree_util.tree_leaves_with_path(tree)] for n, tree in found.items()}
    if all(len(leaves) < 2 for leaves in flat.values()):
        return
    for part in dict.fromkeys(part for leaves in flat.values() for part, _ in leaves):
        decays = {name: decay_of(dict(leaves)[part]) for name, leaves in flat.items() if part in dict(leaves)}
        yield over_lag(f"part-{part.replace(' ', '-')}", f"Norm of dL/d{part} by lag", "parts", decays)


def _path(path: tuple) -> str:
    """What an array of the state is called: h, c, and of a Stack with its layer."""
    words = [f"layer {key.idx + 1}" if hasattr(key, "idx") else str(getattr(key, "name", key)) for key in path]
    return " ".join(reversed(words)).replace(" layer", " of layer") or "s"


def transports(found: Mapping[str, Transport | ExtremeTransport], bounds: Mapping[str, Bound]) -> Iterator[Chart]:
    """Largest, root mean square and smallest singular value, condition number, and how far the bound is off.

    By iteration only the first two: the smallest value is told no further down than the rounding error of the largest.
    """
    iterated = any(isinstance(t, ExtremeTransport) for t in found.values())
    one = f"One sequence; exact at every lag{', except for large states, see the findings' if iterated else ''}."
    kinds = {
        "largest": ("Largest singular value of the transport", "singular value of ds_T / ds_t", one),
        "rms": ("Root mean square of the singular values", "singular value of ds_T / ds_t", one),
        "smallest": ("Smallest singular value of the transport", "singular value of ds_T / ds_t", one),
        "condition": ("Condition number of the transport", "largest / smallest", one),
        "gap": ("Product of ||J_t||, a bound, over the truth", "bound / ||ds_T / ds_t||", "How many times too large."),
    }
    values = {
        name: {"largest": t.log_largest, "rms": t.log_root_mean_square} | (
            {"smallest": t.log_smallest, "condition": t.log_condition, "gap": log_gap(bounds[name], t)}
            if isinstance(t, Transport) else {}
        ) for name, t in found.items()
    }  # fmt: skip

    def series(name: str, kind: str) -> list[Series]:
        lags, y = np.asarray(found[name].lags), _tens(values[name][kind][:, 0])
        return _of_finite(name, lags, y) if kind in ("condition", "gap") else [Series(name, lags, y)]

    for kind, (title, label, note) in kinds.items():
        drawn = tuple(s for name in found if kind in values[name] for s in series(name, kind))
        yield Chart(f"transport-{kind}", title, "transport", LAG, label, drawn, "decades", note=note)


def spectra(found: Mapping[str, np.ndarray]) -> Iterator[Chart]:
    """Lyapunov exponents by their number."""
    drawn = tuple(s for n, exponents in found.items() for s in _of_finite(n, 1 + np.arange(len(exponents)), exponents))
    yield Chart(
        "spectrum", "Lyapunov spectrum", "spectrum", "number of the exponent", "nats per step", drawn, "linear",
        note="Over the whole state, for the LSTM (h, c). Directions lost altogether are left out.",
    )  # fmt: skip


def shares(found: Mapping[str, Contributions]) -> Iterator[Chart]:
    """Shares of the parameters' gradient from beyond a lag."""

    def series(name: str, parts: Contributions) -> Series:
        time = len(parts.log_norms)
        lags = [lag for lag in spaced_lags(time - 1, SHARES) if lag < time]
        return Series(name, np.array(lags), np.array([float(share_beyond(parts, lag)) for lag in lags]))

    yield Chart(
        "share", "Share of the parameters' gradient from further back", "parameters", "lag k",
        "share from lags beyond k", tuple(series(*item) for item in found.items()), "linear",
        note="||contributions of lags above k|| / ||dL/dtheta||, of the loss summed over sequences.",
    )  # fmt: skip


def sensitivities(found: Mapping[str, Sensitivity]) -> Chart:
    """||ds_t/dtheta|| over the steps: what grows with memory though gradients by the state decay."""

    def series(name: str, squares: Sensitivity) -> Series:
        steps = np.array(spaced_lags(len(squares.parameters) - 1, POINTS))
        with np.errstate(divide="ignore"):
            return Series(name, steps + 1, 0.5 * np.log10(np.asarray(squares.parameters, np.float64)[steps, 0]))

    return Chart(
        "sensitivity", "How much the parameters move the state", "parameters", "step t", "||ds_t / dtheta||",
        tuple(series(*item) for item in found.items()), "decades",
        note="One sequence; the whole Jacobian of the state by all parameters, in the Frobenius norm.",
    )  # fmt: skip
