"""Gradient norms of one group of configurations at one length, and their statistics over samples and seeds."""

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from benchmarks.configurations import Configuration, Sizes
from benchmarks.source import Source
from jaxrnn.cell import Cell
from jaxrnn.gradients import adjoint_norms, decay_fit, geometric_mean, median, quantile, root_mean_square
from jaxrnn.numerics import cast
from jaxrnn.tasks import Batch

LossKind = Literal["terminal", "every-step"]
Dtype = Literal["float32", "bfloat16", "float64"]
Values = Any  # an array: jax.Array while compiling, np.ndarray or a NumPy number afterwards
BAND = (0.1, 0.9)


class Band(NamedTuple):
    """Median and quantiles over samples, in the same units."""

    median: Values
    low: Values
    high: Values


class Curve(NamedTuple):
    """Statistics of ln ||dL/ds_t|| over samples and seeds; arrays (time,) run over the lag, from 0."""

    norm: Band
    geometric_mean: Values
    root_mean_square: Values
    fraction_zero: Values
    ratio: Band  # ln of the norm after the first step over that after the last, per sample


class Decay(NamedTuple):
    """Exponential decay, fitted to each sample by itself; `rate` in nats per step, `half_life` in steps."""

    rate: Band
    half_life: float
    r_squared: float
    fraction_fitted: float
    first_lag: int
    last_lag: int


class Measurement(NamedTuple):
    """What one configuration gave at one length."""

    curve: Curve
    decay: Decay


class Keys(NamedTuple):
    """The keys of every draw, each (seeds,); those of networks are the same at every length."""

    network: jax.Array
    projection: jax.Array
    sequences: jax.Array
    readout: jax.Array
    training: jax.Array
    evaluation: jax.Array


def keys_of(seed: int, seeds: int) -> Keys:
    """Keys for each seed, all from one number."""
    each = jax.vmap(lambda key: jax.random.split(key, len(Keys._fields)))(jax.random.split(jax.random.key(seed), seeds))
    return Keys(*(each[:, i] for i in range(len(Keys._fields))))


def draw(group: Sequence[Configuration], sizes: Sizes, keys: Keys) -> PyTree:
    """Parameters of configurations of equal dynamics, leaves (initialisers, seeds, ...), float32 for every dtype."""
    cells = [configuration.build(sizes) for configuration in group]
    params = [jax.vmap(lambda key, c=cell: c.init(key, sizes.input, jnp.float32))(keys.network) for cell in cells]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)


@functools.partial(jax.jit, static_argnums=(3, 4))
def sample(source: Source, keys, number, length: int, batch: int) -> Batch:
    """Sequences for each seed, of many sets the one with this number; leaves (seeds, ...).

    Compiled apart from the cells, as it serves all of them.
    """
    return jax.vmap(lambda key: source.sample(jax.random.fold_in(key, number), length, batch))(keys)


def measure(
    group: Sequence[Configuration],
    source: Source,
    sizes: Sizes,
    keys: Keys,
    batch: int,
    loss: LossKind,
    dtype: Dtype = "float32",
    params: PyTree = None,
) -> dict[str, Measurement]:
    """Measures configurations of equal dynamics, all seeds and initialisers in one compiled call.

    The loss of a sample is a fixed random projection of its outputs, L = <w, y_T>, or the sum of it over all steps,
    with w ~ N(0, I / output size) drawn for each seed, the same for every cell. Its derivative with respect to the
    outputs never vanishes, whatever the cell puts out. `params` are those of the networks, as `draw` gives them; None
    draws them for this length. All is computed in `dtype`.
    """
    cell = group[0].build(sizes)
    params = draw(group, sizes, keys) if params is None else params
    projections = jax.vmap(lambda key: jax.random.normal(key, (cell.output_size,), jnp.float32))(keys.projection)
    inputs = sample(source, keys.sequences, sizes.length, sizes.length, batch).inputs
    log_norms = _log_norms(cell, loss, dtype, params, projections / math.sqrt(cell.output_size), inputs)
    curves = jax.tree.map(np.asarray, [_curve(logs) for logs in log_norms])
    return {
        configuration.name: Measurement(curve, _decay(logs))
        for configuration, curve, logs in zip(group, curves, log_norms, strict=True)
    }


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _log_norms(cell: Cell, loss: LossKind, dtype: Dtype, params, projections, inputs):
    """(initialisers, seeds, time, batch), initialisers and seeds side by side; sequences belong to a seed."""

    def one(params, projection, xs):
        params, projection, xs = cast((params, projection, xs), jnp.dtype(dtype))

        def per_sample(ys):
            steps = ys[-1:] if loss == "terminal" else ys
            return jnp.einsum("tbo,o->b", steps, projection)

        return adjoint_norms(cell, params, xs, per_sample)

    return jax.vmap(jax.vmap(one), (0, None, None))(params, projections, inputs)


@jax.jit
def _curve(log_norms) -> Curve:
    """Statistics over samples first: no gradient is ever averaged over a batch. log_norms (seeds, time, batch)."""

    def band(values, axis):
        return Band(median(values, axis), quantile(values, BAND[0], axis), quantile(values, BAND[1], axis))

    by_lag, samples = jnp.flip(log_norms, axis=1), (0, 2)
    return Curve(
        norm=band(by_lag, samples),
        geometric_mean=geometric_mean(by_lag, samples),
        root_mean_square=root_mean_square(by_lag, samples),
        fraction_zero=jnp.mean(by_lag == -jnp.inf, samples, dtype=log_norms.dtype),
        ratio=band(log_norms[:, 0] - log_norms[:, -1], (0, 1)),
    )


_fit = jax.jit(decay_fit)


def _decay(log_norms) -> Decay:
    """The fits of all samples that have two lags above zero; quantiles over these."""
    fits = jax.tree.map(np.asarray, _fit(jnp.moveaxis(log_norms, 1, 0)))
    first, last = fits.window
    fitted = last > first
    if not fitted.any():
        nothing = np.float32(math.nan)
        return Decay(Band(nothing, nothing, nothing), math.nan, math.nan, 0.0, int(first.min()), int(first.min()))
    rates = fits.rate[fitted]
    middle, low, high = (np.quantile(rates, q, method="nearest") for q in (0.5, *BAND))
    return Decay(
        rate=Band(middle, low, high),
        half_life=-math.log(2) / float(middle) if middle < 0 else math.inf if middle >= 0 else math.nan,
        r_squared=float(np.quantile(fits.r_squared[fitted], 0.5, method="nearest")),
        fraction_fitted=float(fitted.mean()),
        first_lag=int(first.min()),
        last_lag=int(last[fitted].max()),
    )
