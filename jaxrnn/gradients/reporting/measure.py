"""Measures all that a report shows of some networks, and puts it together."""

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxrnn.cell import Cell
from jaxrnn.gradients.activity import activations, memory_rates
from jaxrnn.gradients.adjoint import Loss, adjoint_norms, adjoint_parts
from jaxrnn.gradients.bounds import step_bound
from jaxrnn.gradients.contributions import contributions
from jaxrnn.gradients.extreme_transport import extreme_transport
from jaxrnn.gradients.findings import MEANING, describe_decay
from jaxrnn.gradients.jacobian import to_vector
from jaxrnn.gradients.lyapunov import lyapunov_spectrum
from jaxrnn.gradients.reporting import charts, heatmaps, tables
from jaxrnn.gradients.reporting.decays import Decay, decay_of
from jaxrnn.gradients.reporting.records import Chart, Heatmap, Report, Table
from jaxrnn.gradients.reporting.styles import styles_of
from jaxrnn.gradients.sensitivity import sensitivity
from jaxrnn.gradients.transport import transport
from jaxrnn.sequence import Stack

Networks = Mapping[str, tuple[Any, PyTree]]
LARGEST_STATE = 300  # numbers, up to which all singular values and exponents are computed
LARGEST_DERIVATIVE = 2_000_000  # numbers in ds/dtheta, up to which it is carried along, O(state * parameters) a step


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
    time = xs.shape[0]
    by_length: dict[int, dict[str, Decay]] = {}
    for length in lengths:
        progress(f"gradients over {length} steps")
        # Steps after `length` do not reach the loss: the same compiled pass serves every length.
        cut = lambda ys, end=length: loss(ys[:end])  # noqa: E731
        by_length[length] = {n: decay_of(adjoint_norms(c, p, xs, cut)[:length]) for n, (c, p) in networks.items()}
    longest = by_length[time]
    drawn: list[Chart] = [charts.over_lag("lag", "Norm of dL/ds by lag", "lag", longest)]
    if len(lengths) > 1:
        drawn.append(charts.over_length(by_length))
    progress("parts of the state")
    drawn += charts.parts({n: adjoint_parts(c, p, xs, loss) for n, (c, p) in networks.items()})
    sizes = {name: _size(cell.init_carry, ((), xs.dtype)) for name, (cell, _) in networks.items()}
    told: list[Table] = [tables.decay(longest, sizes), tables.statistics(longest)]
    maps: list[Heatmap] = []
    small = {name: network for name, network in networks.items() if sizes[name] <= LARGEST_STATE}
    large = {name: network for name, network in networks.items() if name not in small}
    progress("transport")
    moved = {n: transport(c, p, xs[:, :1]) for n, (c, p) in small.items()}
    ends = {n: extreme_transport(c, p, xs[:, :1], jax.random.key(0)) for n, (c, p) in large.items()}
    bounds = {n: step_bound(c, p, xs[:, :1], moved[n].lags.tolist()) for n, (c, p) in small.items()}
    either = moved | ends
    drawn += charts.transports({name: either[name] for name in networks}, bounds)
    if small:
        told.append(tables.bounds(small, moved, bounds))
        maps += heatmaps.singular_values(moved)
        progress("Lyapunov exponents")
        spectra = {n: np.asarray(lyapunov_spectrum(c, p, xs[:, 0]).exponents) for n, (c, p) in small.items()}
        drawn += charts.spectra(spectra)
        told.append(tables.spectra(spectra))
    progress("contributions to the gradient of the parameters")
    shares = {n: contributions(c, p, xs, loss) for n, (c, p) in networks.items()}
    shares = {name: found for name, found in shares.items() if (found.log_norms > -np.inf).any()}
    drawn += charts.shares(shares)
    maps += heatmaps.contributed(shares)
    light = {n: (c, p) for n, (c, p) in networks.items() if sizes[n] * _size(lambda p=p: p) <= LARGEST_DERIVATIVE}
    if light:
        progress("sensitivity to the parameters")
        drawn.append(charts.sensitivities({n: sensitivity(c, p, xs[:, :1]) for n, (c, p) in light.items()}))
    progress("gates")
    active = {n: activations(c, p, xs) for n, (c, p) in networks.items() if _has_activations(c)}
    maps += heatmaps.gates(active, time, tokens)
    heavy = [name for name in networks if name not in light]
    limits = (
        (large, f"a state of more than {LARGEST_STATE} numbers: of the singular values of the "
         "transport only the largest and their root mean square, by iteration; no bounds and no Lyapunov exponents"),
        (heavy, f"more than {LARGEST_DERIVATIVE:,} numbers in ds/dtheta: no sensitivity to the parameters"),
    )  # fmt: skip
    told += [tables.saturation_of(active), *tables.memory({n: _rates(c, p, xs) for n, (c, p) in networks.items()})]
    return Report(
        title=title,
        subtitle=(
            f"Gradients by the whole state over {time} steps, {xs.shape[1]} sequences; line: median, "
            "band: 10% to 90% of the sequences."
        ),
        cells=styles_of(list(networks)),
        charts=tuple(chart for chart in drawn if chart.series),
        heatmaps=tuple(maps),
        tables=tuple(told),
        findings=(
            *(describe_decay(name, found.middle, found.fit) for name, found in longest.items()),
            MEANING,
            *(f"{', '.join(names)}: {words}." for names, words in limits if names),
        ),
        settings=dict(settings),
        provenance={
            "python": platform.python_version(),
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
            "dtype": str(xs.dtype),
        },
    )


def _size(make: Callable[..., PyTree], arguments: tuple = ()) -> int:
    """Real numbers in a tree."""
    return jax.eval_shape(lambda: to_vector(make(*arguments))).size


def _has_activations(cell) -> bool:
    return isinstance(cell, Cell) or (isinstance(cell, Stack) and all(isinstance(c, Cell) for c in cell.cells))


def _rates(cell, params, xs):
    """`memory_rates`, or None of a cell that has no factor by which it keeps its memory."""
    try:
        return memory_rates(cell, params, xs)
    except TypeError:
        return None
