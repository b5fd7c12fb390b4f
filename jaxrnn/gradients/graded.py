"""Products of many matrices and their singular values, with a logarithmic scale for each row.

A long product has singular values that no floating-point matrix can hold together: at lag 1,000 the largest and the
smallest may be a thousand decades apart. So a product is kept as Q diag(e^d) T with Q orthogonal, d of any size and T
of unit rows. QR with columns sorted by size keeps T well-conditioned, as in determinant quantum Monte Carlo, and
one-sided Jacobi rotations give every singular value of diag(e^d) T to a relative accuracy that only the condition of
T limits, however far apart the scales are (Demmel & Veselic, 1992, https://doi.org/10.1137/0613074).
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_SWEEPS = 40  # far more than are ever needed: convergence is quadratic


class Graded(NamedTuple):
    """The matrix Q diag(e^d) T; rows of T have length 1, or are 0 where d is -inf."""

    orthogonal: Float[Array, "size size"]
    log_scales: Float[Array, " size"]
    rows: Float[Array, "size size"]


def identity(size: int, dtype) -> Graded:
    """The identity matrix."""
    return Graded(jnp.eye(size, dtype=dtype), jnp.zeros(size, dtype), jnp.eye(size, dtype=dtype))


def unit_rows(rows: Float[Array, "rows size"], log_scales: Float[Array, " rows"]) -> tuple[Array, Array]:
    """Rows of length 1 and the scales that make up for it; a zero row has the scale -inf."""
    peak = jnp.max(jnp.abs(rows), axis=-1)
    safe = jnp.where(peak == 0, 1, peak)
    rows = rows / safe[:, None]
    length = jnp.sqrt(jnp.sum(rows * rows, axis=-1))
    rows = rows / jnp.where(length == 0, 1, length)[:, None]
    return rows, jnp.where(peak == 0, -jnp.inf, log_scales + jnp.log(length * safe))


def qr_zeros_last(matrix: Float[Array, "size count"]) -> tuple[Array, Array]:
    """QR in which rows of zeros leave exact zeros at the end of R, in the place of rounding errors."""
    order = jnp.argsort(jnp.all(matrix == 0, axis=1))
    orthogonal, upper = jnp.linalg.qr(matrix[order])
    return orthogonal[jnp.argsort(order)], upper


def times_left(matrix: Float[Array, "size size"], graded: Graded) -> Graded:
    """A Q diag(e^d) T; what rows or columns of zeros in A take away is exactly 0, as where a relu is off."""
    unread = jnp.all(matrix == 0, axis=0)
    kept = _graded(jnp.where(unread[:, None], 0, graded.orthogonal), graded)
    return _graded(matrix @ kept.orthogonal, kept)


def _graded(product: Float[Array, "size size"], graded: Graded) -> Graded:
    """B diag(e^d) T for B in the place of Q: QR of its columns, the longest in e^d first, and the rows of R e^d T."""
    product = jnp.where(graded.log_scales == -jnp.inf, 0, product)  # nothing comes back from what was lost
    lengths = jnp.log(jnp.sqrt(jnp.sum(product * product, axis=0)))
    order = jnp.argsort(-(lengths + graded.log_scales))
    orthogonal, upper = qr_zeros_last(product[:, order])
    scales, rows = graded.log_scales[order], graded.rows[order]
    logs = jnp.where(upper == 0, -jnp.inf, jnp.log(jnp.abs(upper)) + scales)
    peaks = jnp.max(logs, axis=1)
    finite = jnp.where(peaks == -jnp.inf, 0, peaks)
    weights = jnp.sign(upper) * jnp.exp(logs - finite[:, None])
    rows, scales = unit_rows(weights @ rows, peaks)
    return Graded(orthogonal, scales, rows)


def _rounds(size: int) -> np.ndarray:
    """Every pair once, in rounds of disjoint pairs (the circle method); (size - 1, size / 2, 2) for an even size."""
    others = np.arange(1, size)
    rounds = []
    for turn in range(size - 1):
        ring = np.concatenate([[0], np.roll(others, turn)])
        rounds.append(np.stack([ring[: size // 2], ring[size // 2 :][::-1]], axis=-1))
    return np.array(rounds)


def log_singular_values(rows: Float[Array, "size size"], log_scales: Float[Array, " size"]) -> Float[Array, " size"]:
    """ln of the singular values of diag(e^d) T, largest first; -inf for an exact zero.

    One-sided Jacobi on the rows e^d_i T_i: pairs are rotated until all are orthogonal, the larger row of a pair
    taken as the first. With r = e^(d_q - d_p) <= 1 and g = T_p . T_q only r^2 enters, so nothing overflows:
        tau = -2 g / (1 - r^2 + sqrt((1 - r^2)^2 + 4 r^2 g^2)),   c = 1 / sqrt(1 + r^2 tau^2)
        T_p' ~ c (T_p - r^2 tau T_q),   T_q' ~ c (tau T_p + T_q)
    """
    size = rows.shape[0]
    if size == 1:
        return log_scales
    if size % 2:
        rows = jnp.pad(rows, ((0, 1), (0, 1)))
        log_scales = jnp.concatenate([log_scales, jnp.full(1, -jnp.inf, log_scales.dtype)])
    pairs = jnp.asarray(_rounds(size + size % 2))
    tolerance = math.sqrt(size) * jnp.finfo(rows.dtype).eps

    def rotate(state, pair):
        rows, scales, worst = state
        swap = scales[pair[:, 1]] > scales[pair[:, 0]]
        p, q = jnp.where(swap, pair[:, 1], pair[:, 0]), jnp.where(swap, pair[:, 0], pair[:, 1])
        first, second = rows[p], rows[q]
        g = jnp.sum(first * second, axis=-1)
        gap = scales[q] - scales[p]
        square = jnp.exp(2 * jnp.where(jnp.isnan(gap), 0, gap))  # both scales -inf: two zero rows
        lean = 1 - square + jnp.sqrt((1 - square) ** 2 + 4 * square * g * g)
        tau = jnp.where(g == 0, 0, -2 * g / jnp.where(lean == 0, 1, lean))
        c = 1 / jnp.sqrt(1 + square * tau * tau)
        new_first, scale_first = unit_rows(c[:, None] * (first - (square * tau)[:, None] * second), scales[p])
        new_second, scale_second = unit_rows(c[:, None] * (tau[:, None] * first + second), scales[q])
        rows = rows.at[p].set(new_first).at[q].set(new_second)
        scales = scales.at[p].set(scale_first).at[q].set(scale_second)
        return (rows, scales, jnp.maximum(worst, jnp.max(jnp.abs(g)))), None

    def sweep(state):
        rows, scales, _, count = state
        start = (rows, scales, jnp.zeros((), rows.dtype))
        (rows, scales, worst), _ = lax.scan(rotate, start, pairs)
        return rows, scales, worst, count + 1

    def unfinished(state):
        return (state[2] > tolerance) & (state[3] < _SWEEPS)

    start = (rows, log_scales, jnp.full((), jnp.inf, rows.dtype), jnp.zeros((), jnp.int32))
    _, scales, worst, _ = lax.while_loop(unfinished, sweep, start)
    scales = jnp.where(jnp.isnan(worst), jnp.nan, scales)
    return jnp.sort(scales, descending=True)[:size]
