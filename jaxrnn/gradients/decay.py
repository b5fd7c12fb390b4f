"""Exponential decay fitted to the logarithm of gradient norms over the lag."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class DecayFit(NamedTuple):
    """A straight line through ln(norm) over the lag; every field has the shape of one step of the input."""

    rate: Float[Array, "*batch"]
    half_life: Float[Array, "*batch"]
    r_squared: Float[Array, "*batch"]
    window: tuple[Int[Array, "*batch"], Int[Array, "*batch"]]


def decay_fit(log_norms: Float[Array, "time *batch"], window: tuple[int, int] | None = None) -> DecayFit:
    """Fits ln ||a(lag)|| = intercept + rate * lag by least squares, for each sample by itself.

    Args:
        log_norms: Natural logarithms (time, *batch) as from `adjoint_norms`; the last entry has lag 0.
        window: First and last lag to use. None takes all but the first tenth of the lags, which are transient,
            and ends before the first exact zero (-inf).

    Returns:
        `rate` in nats per step, below zero where gradients vanish; `half_life` = -ln 2 / rate in steps, inf where
        they do not; `r_squared`, 1 for a perfect line, also a level one; `window`, the first and last lag used.
        All NaN where the window holds fewer than two lags. A NaN in the window shows as NaN.

    Raises:
        ValueError: the window does not hold two lags of the sequence.

    Example:
        >>> fit = decay_fit(jnp.log(0.5) * jnp.arange(20.0)[::-1])
        >>> print(f"{fit.rate:.4f} nats per step, half-life {fit.half_life:.2f} steps")
        -0.6931 nats per step, half-life 1.00 steps
    """
    time = log_norms.shape[0]
    first, last = (time // 10, time - 1) if window is None else window
    if window is not None and not 0 <= first < last < time:
        raise ValueError(
            f"decay_fit: `window` must be two lags (first, last) with 0 <= first < last < {time}, got {window}. "
            "Choose lags inside the sequence, or None."
        )
    by_lag = jnp.flip(log_norms, axis=0)
    lags = jnp.arange(time).reshape(-1, *(1,) * (log_norms.ndim - 1))
    ended = jnp.cumsum(by_lag == -jnp.inf, axis=0) > 0
    used = (lags >= first) & (lags <= last) & ~ended
    count = jnp.sum(used, axis=0)
    last_used = first + count - 1

    def mean(values):
        return jnp.sum(jnp.where(used, values, 0), axis=0) / count.astype(log_norms.dtype)

    x = lags.astype(log_norms.dtype)
    x = x - mean(x)
    y = by_lag - mean(by_lag)
    rate = mean(x * y) / mean(x * x)
    residual, total = mean((y - rate * x) ** 2), mean(y * y)
    r_squared = jnp.where(total > 0, 1 - residual / jnp.where(total > 0, total, 1), total + 1)
    half_life = jnp.where(rate < 0, -math.log(2) / rate, jnp.where(jnp.isnan(rate), rate, jnp.inf))
    enough = count >= 2
    rate, half_life, r_squared = (jnp.where(enough, value, jnp.nan) for value in (rate, half_life, r_squared))
    return DecayFit(rate, half_life, r_squared, (jnp.full_like(last_used, first), last_used))
