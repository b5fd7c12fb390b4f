"""Decay of gradient norms over the lag: an exponential and its rival, a power law, fitted to the logarithms."""

import math
import numbers
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Array, Bool, Float, Int


class DecayFit(NamedTuple):
    """A straight line through ln(norm) over the lag, and one over ln(lag); fields have the shape of one step."""

    rate: Float[Array, "*batch"]
    half_life: Float[Array, "*batch"]
    r_squared: Float[Array, "*batch"]
    window: tuple[Int[Array, "*batch"], Int[Array, "*batch"]]
    bend: Float[Array, "*batch"]
    power: Float[Array, "*batch"]
    power_r_squared: Float[Array, "*batch"]

    @property
    def is_power_law(self) -> Bool[Array, "*batch"]:
        """Whether the power law leaves less unexplained than the exponential; then `half_life` means little."""
        return self.power_r_squared > self.r_squared


def float_floor(dtype) -> float:
    """ln of the smallest number that a dtype holds at full precision: where norms of plain gradients end.

    Example:
        >>> print(f"{float_floor(jnp.float32):.2f}")
        -87.34
    """
    return math.log(float(jnp.finfo(dtype).tiny))


def decay_fit(
    log_norms: Float[Array, "time *batch"], window: tuple[int, int] | None = None, floor: float = -math.inf
) -> DecayFit:
    """Fits ln ||a(lag)|| = intercept + rate * lag by least squares, for each sample by itself.

    Beside it its rival, ln ||a(lag)|| = intercept + power * ln(lag) over the same lags from 1 on: a gradient that
    dies out as a power of the lag looks exponential in any short window.

    Args:
        log_norms: Natural logarithms (time, *batch) as from `adjoint_norms`; the last entry has lag 0.
        window: First and last lag to use. None takes all but the first tenth of the lags, which are transient. Either
            way zeros (-inf) before the first other value are passed over, and the next zero ends the fit; so does,
            without a window, the first value below `floor`.
        floor: Below it the logarithms are not to be trusted. Norms of plain gradients end at
            `float_floor(their dtype)`, through which nothing may be fitted; those of `adjoint_norms` have no floor,
            which is the default.

    Returns:
        `rate` in nats per step, below zero where gradients vanish; `half_life` = -ln 2 / rate in steps, inf where
        they do not; `r_squared`, 1 for a perfect line, also a level one; `window`, the first and last lag used.
        `bend` in nats: how far the parabola of best fit lies above its middle at the window's ends, less the line;
        above 0 where decay slows down, as in a power law. `power` and `power_r_squared`, the power law.
        All NaN where the window holds fewer than two lags (three for `bend`). A NaN in the window shows as NaN.

    Source: ordinary least squares; exponential against power-law tails, with more care for samples than for curves,
    Clauset, Shalizi & Newman (2009, https://arxiv.org/abs/0706.1062).

    Raises:
        ValueError: the window does not hold two lags of the sequence, or reaches below `floor`; there are no steps.

    Example:
        >>> fit = decay_fit(jnp.log(0.5) * jnp.arange(20.0)[::-1])
        >>> print(f"{fit.rate:.4f} nats per step, half-life {fit.half_life:.2f} steps")
        -0.6931 nats per step, half-life 1.00 steps
    """
    time = log_norms.shape[0]
    if time == 0 or math.isnan(floor):
        raise ValueError(
            f"decay_fit: `log_norms` must have at least one step and `floor` be a number, got {time} steps and {floor}."
        )
    first, last = (time // 10, time - 1) if window is None else window
    whole = isinstance(first, numbers.Integral) and isinstance(last, numbers.Integral)
    if window is not None and not (whole and 0 <= first < last < time):
        raise ValueError(
            f"decay_fit: `window` must be two whole lags (first, last) with 0 <= first < last < {time}, got {window}. "
            "Choose lags inside the sequence, or None."
        )
    by_lag = jnp.flip(log_norms, axis=0)
    if window is not None:
        _check_floor(by_lag, window, floor)
    return _fit(by_lag, first, last, floor)


def _check_floor(by_lag, window: tuple[int, int], floor: float) -> None:
    if isinstance(by_lag, core.Tracer) or floor == -math.inf:
        return
    below = np.asarray(by_lag[window[0] : window[1] + 1] < floor)
    if below.any():
        lag = window[0] + int(np.argmax(below.reshape(below.shape[0], -1).any(axis=1)))
        raise ValueError(
            f"decay_fit: `window` {window} reaches below the floor {floor:.2f}, from lag {lag} on. End it before, or "
            "measure with adjoint_norms, whose logarithms have no floor."
        )


@jax.jit
def _fit(by_lag, first, last, floor) -> DecayFit:
    dtype = by_lag.dtype
    lags = jnp.arange(by_lag.shape[0]).reshape(-1, *(1,) * (by_lag.ndim - 1))
    low = (by_lag == -jnp.inf) | (by_lag < floor)
    begun = jnp.cumsum(~low, axis=0) > 0  # a memory is not read at its last step: its curve begins later
    ended = jnp.cumsum(low & begun, axis=0) > 0
    used = (lags >= first) & (lags <= last) & begun & ~ended
    first_used = jnp.where(used.any(axis=0), jnp.argmax(used, axis=0), first)
    last_used = first_used + jnp.sum(used, axis=0) - 1
    x = lags.astype(dtype)
    rate, r_squared = _line(x, by_lag, used)
    power, power_r_squared = _line(jnp.log(jnp.maximum(x, 1)), by_lag, used & (lags >= 1))
    half_life = jnp.where(rate < 0, -math.log(2) / rate, jnp.where(jnp.isnan(rate), rate, jnp.inf))
    return DecayFit(
        rate=rate,
        half_life=half_life,
        r_squared=r_squared,
        window=(first_used, last_used),
        bend=_bend(x, by_lag, used),
        power=power,
        power_r_squared=power_r_squared,
    )


def _mean(values, used):
    return jnp.sum(jnp.where(used, values, 0), axis=0) / jnp.sum(used, axis=0).astype(values.dtype)


def _line(x, y, used) -> tuple[Array, Array]:
    """Slope and R squared over the points used, NaN for fewer than two."""
    x, y = x - _mean(x, used), y - _mean(y, used)
    slope = _mean(x * y, used) / _mean(x * x, used)
    residual, total = _mean((y - slope * x) ** 2, used), _mean(y * y, used)
    r_squared = jnp.where(total > 0, 1 - residual / jnp.where(total > 0, total, 1), total + 1)
    enough = jnp.sum(used, axis=0) >= 2
    return jnp.where(enough, slope, jnp.nan), jnp.where(enough, r_squared, jnp.nan)


def _bend(x, y, used):
    """The quadratic term of the least-squares parabola, as its rise from the middle of the window to an end."""
    x = x - _mean(x, used)
    width = jnp.max(jnp.where(used, jnp.abs(x), 0), axis=0)
    x = x / jnp.where(width == 0, 1, width)
    square = x * x - _mean(x * x, used)  # of lags at equal distances it is orthogonal to x
    bend = _mean(square * (y - _mean(y, used)), used) / _mean(square * square, used)
    return jnp.where(jnp.sum(used, axis=0) >= 3, bend, jnp.nan)
