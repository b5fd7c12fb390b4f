"""Measures all that a report shows of some networks, and says what it means."""

import math
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxrnn.cell import Cell
from jaxrnn.gradients.activity import Activation, activations, saturation
from jaxrnn.gradients.adjoint import Loss, adjoint_norms
from jaxrnn.gradients.contributions import contributions, share_beyond
from jaxrnn.gradients.decay import DecayFit, decay_fit
from jaxrnn.gradients.findings import describe_decay
from jaxrnn.gradients.jacobian import to_vector
from jaxrnn.gradients.lyapunov import kaplan_yorke_dimension, lyapunov_spectrum
from jaxrnn.gradients.reporting.records import Chart, Heatmap, Report, Series, Table
from jaxrnn.gradients.reporting.styles import styles_of
from jaxrnn.gradients.statistics import median, quantile
from jaxrnn.gradients.transport import spaced_lags, transport
from jaxrnn.sequence import Stack

Networks = Mapping[str, tuple[Any, PyTree]]
LARGEST_STATE = 300  # up to which all singular values and exponents are computed
STEPS = 48  # of the first sequence, whose gates are shown
SHARES = 12  # lags at which the share of the parameters' gradient is told


@dataclass(frozen=True)
class Decay:
    """ln ||dL/ds_t|| of one network over samples, the last entry at lag 0, with the fit of its median."""

    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    fit: DecayFit


def measure(
    networks: Networks,
    xs,
    loss: Loss,
    lengths: Sequence[int],
    tokens: Sequence[str] | None,
    title: str,
    settings: Mapping[str, Any],
    progress: Callable[[str], None],
) -> Report:
    """The report on networks (cell, parameters) by name, on inputs (time, batch, features); see `report`."""
    names, time = list(networks), xs.shape[0]
    by_length: dict[int, dict[str, Decay]] = {}
    for length in lengths:
        progress(f"gradients over {length} steps")
        # Steps after `length` do not reach the loss: the same compiled pass serves every length.
        cut = lambda ys, end=length: loss(ys[:end])  # noqa: E731
        by_length[length] = {n: _decay(adjoint_norms(c, p, xs, cut)[:length]) for n, (c, p) in networks.items()}
    longest = by_length[time]
    charts = [_over_lag(longest, time)]
    if len(lengths) > 1:
        charts.append(_over_length(by_length))
    small = {n: (c, p) for n, (c, p) in networks.items() if _state_size(c) <= LARGEST_STATE}
    tables = [_decay_table(longest, networks)]
    if small:
        progress("transport and Lyapunov exponents")
        charts += _transport_charts(small, xs[:, :1])
        spectra = {n: np.asarray(lyapunov_spectrum(c, p, xs[:, 0]).exponents) for n, (c, p) in small.items()}
        if any(np.isfinite(exponents).any() for exponents in spectra.values()):
            charts.append(_spectrum_chart(spectra))
        tables.append(_spectrum_table(spectra))
    progress("contributions to the gradient of the parameters")
    charts.append(_shares(networks, xs, loss))
    progress("gates")
    active = {n: activations(c, p, xs) for n, (c, p) in networks.items() if _has_activations(c)}
    tables.append(_saturation_table(active))
    return Report(
        title=title,
        subtitle=(
            f"Gradients by the whole state over {time} steps, {xs.shape[1]} sequences; line: median, "
            "band: 10% to 90% of the sequences."
        ),
        cells=styles_of(names),
        charts=tuple(charts),
        heatmaps=tuple(_heatmaps(active, time, tokens)),
        tables=tuple(tables),
        findings=tuple(describe_decay(name, decay.middle, decay.fit) for name, decay in longest.items()),
        settings=dict(settings),
        provenance={
            "python": platform.python_version(),
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
            "dtype": str(xs.dtype),
        },
    )


def _decay(log_norms) -> Decay:
    middle = median(log_norms, 1)
    low, high = (np.asarray(quantile(log_norms, q, 1)) for q in (0.1, 0.9))
    return Decay(np.asarray(middle), low, high, decay_fit(middle))


def _state_size(cell) -> int:
    return jax.eval_shape(lambda: to_vector(cell.init_carry((), jnp.float32))).size


def _has_activations(cell) -> bool:
    return isinstance(cell, Cell) or (isinstance(cell, Stack) and all(isinstance(c, Cell) for c in cell.cells))


def _tens(logs) -> np.ndarray:
    return np.asarray(logs, np.float64) / math.log(10)


def _over_lag(decays: dict[str, Decay], time: int) -> Chart:
    lags = np.array(spaced_lags(time - 1, 240))

    def series(name: str, decay: Decay) -> Series:
        curves = (_tens(curve[::-1][lags]) for curve in (decay.middle, decay.low, decay.high))
        return Series(name, lags, *curves)

    return Chart(
        id="lag", title="Norm of dL/ds by lag", view="lag", x_label="lag T - t (steps back from the end)",
        y_label="norm", series=tuple(series(*item) for item in decays.items()), y_scale="decades", x_scale="linear",
        note="Pure decay where L reads the last output alone, as it does by default.",
    )  # fmt: skip


def _over_length(by_length: dict[int, dict[str, Decay]]) -> Chart:
    lengths = np.array(list(by_length))

    def series(name: str) -> Series:
        ratios = [by_length[n][name].middle[0] - by_length[n][name].middle[-1] for n in lengths]
        return Series(name, lengths, _tens(ratios))

    return Chart(
        id="length", title="First against last step", view="length", x_label="sequence length T (steps)",
        y_label="norm at the first step / at the last", series=tuple(map(series, next(iter(by_length.values())))),
        y_scale="decades", x_scale="log", note="Medians of both steps.",
    )  # fmt: skip


def _transport_charts(networks: Networks, xs) -> Iterator[Chart]:
    found = {name: transport(cell, params, xs) for name, (cell, params) in networks.items()}
    kinds = {
        "largest": ("Largest singular value of the transport", lambda t: t.log_largest),
        "rms": ("Root mean square of the singular values", lambda t: t.log_root_mean_square),
        "smallest": ("Smallest singular value of the transport", lambda t: t.log_smallest),
    }
    for kind, (title, values) in kinds.items():
        yield Chart(
            id=f"transport-{kind}", title=title, view="transport", x_label="lag T - t (steps back from the end)",
            y_label="singular value of ds_T / ds_t",
            series=tuple(Series(n, np.asarray(t.lags), _tens(values(t)[:, 0])) for n, t in found.items()),
            y_scale="decades", x_scale="linear", note="One sequence; every singular value is exact at every lag.",
        )  # fmt: skip


def _spectrum_chart(spectra: dict[str, np.ndarray]) -> Chart:
    def series(name: str, exponents: np.ndarray) -> Series:
        finite = exponents[np.isfinite(exponents)]
        return Series(name, np.arange(1, len(finite) + 1), finite.astype(np.float64))

    spectra = {name: exponents for name, exponents in spectra.items() if np.isfinite(exponents).any()}

    return Chart(
        id="spectrum", title="Lyapunov spectrum", view="spectrum", x_label="number of the exponent",
        y_label="nats per step", series=tuple(series(*item) for item in spectra.items()), y_scale="linear",
        x_scale="linear", note="Over the whole state, for the LSTM (h, c). Directions lost altogether are left out.",
    )  # fmt: skip


def _shares(networks: Networks, xs, loss: Loss) -> Chart:
    lags = [lag for lag in spaced_lags(xs.shape[0] - 1, SHARES) if lag < xs.shape[0]]

    def series(name: str) -> Series:
        found = contributions(*networks[name], xs, loss)
        shares = np.array([float(share_beyond(found, lag)) for lag in lags])
        if not np.isfinite(shares).all():
            raise FloatingPointError(
                f"report: the gradient by the parameters of {name} is zero. Choose another `loss`."
            )
        return Series(name, np.array(lags), shares)

    return Chart(
        id="share", title="Share of the parameters' gradient from further back", view="parameters",
        x_label="lag k", y_label="share from lags beyond k", series=tuple(map(series, networks)), y_scale="linear",
        x_scale="linear", note="||contributions of lags above k|| / ||dL/dtheta||, of the loss summed over sequences.",
    )  # fmt: skip


def _heatmaps(active: Mapping[str, Sequence[Activation]], time: int, tokens: Sequence[str] | None) -> Iterator[Heatmap]:
    shown = min(time, STEPS)
    labels = tuple(str(n) for n in range(1, shown + 1)) if tokens is None else tuple(tokens[:shown])
    for name, found in active.items():
        for activation in found:
            if activation.kind == "sigmoid":
                values = np.asarray(activation.values[:shown, 0], np.float64).T
                yield Heatmap(
                    id=f"{name}-{activation.name}".lower().replace(" ", "-"), title=f"{name}: {activation.name}",
                    view="gates", x_labels=labels, y_label="unit", values=values[np.argsort(-values.mean(axis=1))],
                    low=0.0, high=1.0, note="The first sequence; units sorted by their mean.",
                )  # fmt: skip


def _decay_table(decays: dict[str, Decay], networks: Networks) -> Table:
    def row(name: str, decay: Decay) -> tuple[str, ...]:
        fit, left = decay.fit, (decay.middle[0] - decay.middle[-1]) / math.log(10)
        half = "does not decay" if fit.half_life == math.inf else f"{float(fit.half_life):.3g}"
        return (
            name, str(_state_size(networks[name][0])), f"{float(fit.rate):.4f}", half, f"{float(fit.r_squared):.3f}",
            f"{float(fit.power):.2f}", f"{float(fit.power_r_squared):.3f}",
            "exactly 0" if left == -math.inf else f"10^{left:.1f}",
        )  # fmt: skip

    columns = ("cell", "state", "nats per step", "half-life, steps", "R²", "power of the lag", "its R²", "first / last")
    return Table("Decay of the median over the lag", columns, tuple(row(*item) for item in decays.items()))


def _spectrum_table(spectra: dict[str, np.ndarray]) -> Table:
    def row(name: str, exponents: np.ndarray) -> tuple[str, ...]:
        total = float(exponents.sum())
        dimension = float(kaplan_yorke_dimension(jnp.asarray(exponents)))
        return name, f"{float(exponents[0]):.4f}", f"{total:.3g}", f"{dimension:.2f}"

    columns = ("cell", "largest exponent, nats per step", "sum", "Kaplan-Yorke dimension")
    return Table("Lyapunov exponents", columns, tuple(row(*item) for item in spectra.items()))


def _saturation_table(active: Mapping[str, Sequence[Activation]]) -> Table:
    def row(name: str, activation: Activation) -> tuple[str, ...]:
        found = saturation(activation)
        shares = (f"{100 * float(share):.1f}%" for share in (found.low, found.high))
        return name, activation.name, activation.kind, *shares, f"{float(found.mean_square_slope):.4f}"

    rows = tuple(row(name, activation) for name, found in active.items() for activation in found)
    return Table("Gates and units", ("cell", "value", "kind", "at the low end", "at the high end", "mean slope²"), rows)
