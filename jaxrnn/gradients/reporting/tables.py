"""The tables of a report, from what was measured."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn.cells import Elman
from jaxrnn.gradients.activity import Activation, saturation, time_constants
from jaxrnn.gradients.bounds import Bound, largest_slope, norm_bound
from jaxrnn.gradients.lyapunov import kaplan_yorke_dimension
from jaxrnn.gradients.reporting.decays import Decay
from jaxrnn.gradients.reporting.records import Table
from jaxrnn.gradients.transport import Transport


def _number(value, pattern: str) -> str:
    return "–" if math.isnan(value) else format(float(value), pattern)


def _power(log) -> str:
    """A number by its natural logarithm."""
    if math.isnan(log):
        return "–"
    if log == -math.inf:
        return "exactly 0"
    tens = float(log) / math.log(10)
    return f"10^{tens:.1f}" if abs(tens) >= 1 else f"{10**tens:.2f}"


def decay(decays: Mapping[str, Decay], sizes: Mapping[str, int]) -> Table:
    """The fits of the medians."""

    def row(name: str, found: Decay) -> tuple[str, ...]:
        fit = found.fit
        half = "does not decay" if fit.half_life == math.inf else _number(fit.half_life, ".3g")
        return (
            name, str(sizes[name]), _number(fit.rate, ".4f"), half, _number(fit.r_squared, ".3f"),
            _number(fit.power, ".2f"), _number(fit.power_r_squared, ".3f"), _power(found.left),
        )  # fmt: skip

    columns = ("cell", "state", "nats per step", "half-life, steps", "R²", "power of the lag", "its R²", "first / last")
    return Table("Decay of the median over the lag", columns, tuple(row(*item) for item in decays.items()))


def statistics(decays: Mapping[str, Decay]) -> Table:
    """Rates of several statistics over samples, which need not agree."""
    names = list(next(iter(decays.values())).fits)
    rows = [(n, *(_number(found.fits[s].rate, ".4f") for s in names)) for n, found in decays.items()]
    return Table("Rates by statistic over the sequences, nats per step", ("cell", *names), tuple(rows))


def bounds(networks: Mapping[str, Any], moved: Mapping[str, Transport], products: Mapping[str, Bound]) -> Table:
    """The largest singular value at the longest lag beside its upper bounds."""

    def row(name: str) -> tuple[str, ...]:
        cell, params = networks[name]
        truth, lag = moved[name].log_largest[-1, 0], int(moved[name].lags[-1])
        pascanu = math.nan
        if isinstance(cell, Elman) and isinstance(cell.activation, str):
            pascanu = norm_bound(params.recurrent, largest_slope(cell.activation), (lag,)).log_values[0]
        return name, str(lag), _power(truth), _power(products[name].log_values[-1, 0]), _power(pascanu)

    columns = ("cell", "lag", "norm of ds_T / ds_t", "product of the steps' norms", "(γ · norm of W)^lag")
    return Table("Bounds of the transport, and the truth", columns, tuple(map(row, moved)))


def spectra(found: Mapping[str, np.ndarray]) -> Table:
    """What follows from the Lyapunov exponents."""

    def row(name: str, exponents: np.ndarray) -> tuple[str, ...]:
        dimension = float(kaplan_yorke_dimension(jnp.asarray(exponents)))
        return name, f"{float(exponents[0]):.4f}", f"{float(exponents.sum()):.3g}", f"{dimension:.2f}"

    columns = ("cell", "largest exponent, nats per step", "sum", "Kaplan-Yorke dimension")
    return Table("Lyapunov exponents", columns, tuple(row(*item) for item in found.items()))


def saturation_of(active: Mapping[str, Sequence[Activation]]) -> Table:
    """How much of each nonlinearity is flat."""

    def row(name: str, activation: Activation) -> tuple[str, ...]:
        found = saturation(activation)
        ends = (f"{100 * float(share):.1f}%" for share in (found.low, found.high))
        return name, activation.name, activation.kind, *ends, f"{float(found.mean_square_slope):.4f}"

    rows = tuple(row(name, activation) for name, found in active.items() for activation in found)
    return Table("Gates and units", ("cell", "value", "kind", "at the low end", "at the high end", "mean slope²"), rows)


def memory(rates: Mapping[str, Any]) -> Iterator[Table]:
    """Time constants of the units' own memories, of the cells that have such."""

    def row(name: str, of_units) -> tuple[str, ...]:
        over_samples = jnp.mean(of_units.reshape(-1, of_units.shape[-1]), axis=0)
        steps = np.asarray(time_constants(over_samples), np.float64)
        return (
            name, f"{float(jnp.median(over_samples)):.4f}",
            *(f"{value:.3g}" for value in (steps.min(), np.median(steps), steps.max())),
        )  # fmt: skip

    rows = tuple(row(name, of_units) for name, of_units in rates.items() if of_units is not None)
    columns = ("cell", "median ln f, nats per step", "shortest, steps", "median, steps", "longest, steps")
    if rows:
        yield Table("Time constants of the units' own memories", columns, rows)
