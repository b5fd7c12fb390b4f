"""What a curve of gradient norms says, in plain words."""

import math

import numpy as np

from jaxrnn.gradients.decay import DecayFit

SINGLE_RATE = 0.5  # R^2 of the exponential from which its half-life is told
CARRIES, FAINTLY = 0.1, 1e-3  # of the gradient at lag 0 must be left for a cell to be said to carry that far
MEANING = "A cell carries where a tenth or more is left, faintly where a thousandth is."


def describe_decay(label: str, log_norms: np.ndarray, fit: DecayFit) -> str:
    """One sentence on one curve: a cell carries where a tenth of the norm is left, faintly where a thousandth is.

    Args:
        label: Name of the cell.
        log_norms: ln ||dL/ds_t|| (time,), the last entry at lag 0, of a loss on the last output.
        fit: `decay_fit` of it.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxrnn.gradients import decay_fit
        >>> curve = jnp.log(0.7311) * jnp.arange(101.0)[::-1]
        >>> describe_decay("LSTM, forget bias 1", np.asarray(curve), decay_fit(curve))
        'LSTM, forget bias 1: half-life 2.2 steps; after 100 steps 10^-13.6 is left: it does not carry 100 steps.'
    """
    by_lag, steps = log_norms[::-1], len(log_norms) - 1
    alive = np.flatnonzero(by_lag > -math.inf)
    if np.isnan(by_lag).any():
        return f"{label}: not a number."
    if not alive.size or alive[-1] < steps:
        since = alive[-1] + 1 if alive.size else 0
        return f"{label}: exactly 0 from lag {since} on: it does not carry {steps} steps."
    left = float(by_lag[-1] - by_lag[alive[0]]) / math.log(10)
    rate, span = float(fit.rate), f"{steps} steps" if steps != 1 else "1 step"
    if left < math.log10(FAINTLY):
        verdict = f"it does not carry {span}"
    else:
        verdict = f"it carries {span}" if left >= math.log10(CARRIES) else f"it carries {span} faintly"
    amount = f"10^{left:.1f}" if abs(left) >= 1 else f"{10**left:.2f}"
    amount = f"after {span} {amount} is left"
    if bool(fit.is_power_law) and rate < 0 and float(fit.r_squared) < 0.98:
        return f"{label}: falls like lag^{float(fit.power):.1f}, a power law; {amount}: {verdict}."
    if left > 1 and rate > 0:
        return f"{label}: doubles every {_steps(math.log(2) / rate)}, 10^{left:.1f} after {span}: it explodes."
    if abs(left) < 0.05:
        return f"{label}: keeps its size; {amount}: {verdict}."
    if left > 0:
        return f"{label}: grows, to {10**left:.2f} of its size after {span}: {verdict}."
    if rate < 0 and float(fit.r_squared) >= SINGLE_RATE:
        return f"{label}: half-life {_steps(float(fit.half_life))}; {amount}: {verdict}."
    return f"{label}: no single rate; {amount}: {verdict}."


def _steps(value: float) -> str:
    return f"{value:.{1 if value < 99.95 else 0}f} steps"
