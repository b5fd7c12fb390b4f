"""Mean field theory of wide random recurrent networks: how fast gradients decay before anything is learned."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

Nonlinearity = Literal["tanh", "relu"]
_UNIT = np.linspace(0, 1, 401)  # the rule converges exponentially: the slopes have no pole nearer than pi i / 2


class MeanField(NamedTuple):
    """What a network of infinite width does at its fixed point.

    q: variance of the pre-activations. chi: factor by which the squared norm of an adjoint changes in one step.
    rate: ln sqrt(chi), nats per step of the root mean square of the adjoint. correlation_length: steps over which the
    squared norm changes by e, 1 / |ln chi|; inf on the critical line, below which gradients vanish and above which they
    explode.
    """

    q: float
    chi: float
    rate: float
    correlation_length: float


def mean_field(weight_scale: float, input_variance: float, activation: Nonlinearity = "tanh") -> MeanField:
    """The fixed point of h_t = phi(W h_{t-1} + x_t) with tied Gaussian W of deviation weight_scale / sqrt(N).

        q = sw^2 E phi(sqrt(q) z)^2 + s^2,    chi = sw^2 E phi'(sqrt(q) z)^2,    z ~ N(0, 1)

    The inputs' part of the pre-activations is noise of variance s^2, drawn anew at each step and for each unit; a
    static one correlates the steps, and strays by some percent.

    Args:
        weight_scale: sw, above 0.
        input_variance: s^2, 0 or more.
        activation: "tanh", or "relu" with chi = sw^2 / 2.

    Source: Chen, Pennington & Schoenholz (2018, https://arxiv.org/abs/1806.05394). Expectations by
    quadrature in double precision.

    Raises:
        ValueError: a number is out of its range, the activation is neither, or there is no fixed point: that of relu
            with weight_scale^2 of 2 or more grows without bound.

    Example:
        >>> found = mean_field(1.0, 0.25)
        >>> print(f"q = {found.q:.6f}, chi = {found.chi:.6f}, half-life {-math.log(2) / found.rate:.2f} steps")
        q = 0.534649, chi = 0.579884, half-life 2.54 steps
    """
    weight_scale, input_variance = _checked("mean_field", weight_scale, input_variance, activation)
    square = weight_scale**2
    if activation == "relu":
        if square >= 2:
            raise ValueError(
                f"mean_field: `weight_scale` must be below sqrt(2) for relu, got {weight_scale}: the variance has no "
                "fixed point. Choose a smaller one."
            )
        q, chi = input_variance / (1 - square / 2), square / 2
    else:
        q = _fixed_point(lambda q: square * _mean_square(q) + input_variance, input_variance)
        chi = square * _mean_square_slope(q)
    log_chi = math.log(chi) if chi else -math.inf
    return MeanField(q, chi, 0.5 * log_chi, math.inf if log_chi == 0 else 1 / abs(log_chi))


def critical_weight_scale(input_variance: float, activation: Nonlinearity = "tanh") -> float:
    """sw on the critical line, where chi = 1 and gradients neither vanish nor explode in mean square.

    Example:
        >>> print(f"{critical_weight_scale(0.25) ** 2:.6f}")
        2.401489
    """
    _, input_variance = _checked("critical_weight_scale", 1.0, input_variance, activation)
    if activation == "relu":
        return math.sqrt(2)
    if input_variance == 0:
        return 1.0
    # Along the line sw^2 = 1 / E phi'^2 is known for each q, and with it the s^2 that q belongs to, which grows with q.
    q = _fixed_point(lambda q: input_variance + _mean_square(q) / _mean_square_slope(q), input_variance)
    return 1 / math.sqrt(_mean_square_slope(q))


def _mean_square(q: float) -> float:
    """E tanh(a)^2, a ~ N(0, q); for large q by 1 - E tanh'(a), which is 0 far out, for small q without cancellation."""
    if q > 1:
        return 1 - _expectation(q, lambda a: 1 - np.tanh(a) ** 2)
    return _expectation(q, lambda a: np.tanh(a) ** 2)


def _mean_square_slope(q: float) -> float:
    """E tanh'(a)^2, a ~ N(0, q)."""
    return _expectation(q, lambda a: (1 - np.tanh(a) ** 2) ** 2)


def _expectation(q: float, of: Callable[[np.ndarray], np.ndarray]) -> float:
    """By the trapezoidal rule over the positive half of a, of an even function that is as good as 0 beyond 20."""
    if q == 0:
        return float(of(np.zeros(1))[0])
    a = min(12 * math.sqrt(q), 20.0) * _UNIT
    density = np.exp(-a * a / (2 * q)) * math.sqrt(2 / (math.pi * q))
    return float(np.trapezoid(of(a) * density, a))


def _fixed_point(variance: Callable[[float], float], least: float) -> float:
    """The stable solution of q = variance(q), by bisection between `least` and the largest value that tanh allows.

    variance is concave, so above the stable fixed point it lies below q, and between 0 and it above.
    """
    low, high = least, max(2 * least, 1.0)
    while variance(high) > high:
        high *= 2
    nothing = 0.0 if least else 1e-12  # without input q may be 0, from which rounding errors are to be told
    while high - low > 1e-14 * high and high > nothing:
        middle = (low + high) / 2
        low, high = (middle, high) if variance(middle) > middle else (low, middle)
    return 0.0 if high <= nothing else (low + high) / 2


def _checked(owner: str, weight_scale: float, input_variance: float, activation: str) -> tuple[float, float]:
    weight_scale, input_variance = float(weight_scale), float(input_variance)
    if not 0 < weight_scale < math.inf:
        raise ValueError(f"{owner}: `weight_scale` must be a finite number above 0, got {weight_scale}.")
    if not 0 <= input_variance < math.inf:
        raise ValueError(f"{owner}: `input_variance` must be a finite number of 0 or more, got {input_variance}.")
    if activation not in ("tanh", "relu"):
        raise ValueError(f"{owner}: `activation` must be 'tanh' or 'relu', got {activation!r}. Choose one of the two.")
    return weight_scale, input_variance
