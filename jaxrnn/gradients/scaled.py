"""Vectors with an exponent of their own per sample, so that nothing underflows or overflows on the way.

A vector stands for `mantissa * 2**exponent`. Scaling by powers of two is exact: not one bit differs from what the
same arithmetic would give if floating point had no range.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from jaxrnn.numerics import real_dtype

_ZERO = -(2**30)  # the exponent of an exact zero, below all others
_STEP = 120  # the largest power of two applied at once, inside the range of float32


class Scaled(NamedTuple):
    """mantissa * 2**exponent; leaves (*batch, ...) and one exponent per sample."""

    mantissa: PyTree
    exponent: Int[Array, "*batch"]


def _power_of_two(exponent, dtype):
    """2**exponent exactly, for exponents of at most `_STEP`; zero far below."""
    power = jnp.ldexp(jnp.ones((), dtype), jnp.clip(exponent, -_STEP, _STEP))
    return jnp.where(exponent < -_STEP, jnp.zeros((), dtype), power)


def _multiply(tree: PyTree, factor) -> PyTree:
    def leaf(x):
        return x * factor.reshape(factor.shape + (1,) * (x.ndim - factor.ndim)).astype(x.dtype)

    return jax.tree.map(leaf, tree)


def _over_features(reduce, tree: PyTree, rank: int) -> list:
    return [reduce(x.reshape(*x.shape[:rank], math.prod(x.shape[rank:])), axis=-1) for x in jax.tree.leaves(tree)]


def _peak(tree: PyTree, rank: int) -> Float[Array, "*batch"]:
    return functools.reduce(jnp.maximum, _over_features(jnp.max, jax.tree.map(jnp.abs, tree), rank))


def normalise(vector: Scaled) -> Scaled:
    """The same vector with its largest entry between 1/2 and 1 (or nearer to it, if it was out of range).

    The power of two is a constant to differentiation: the vector is the same, whichever it is.
    """
    peak = _peak(lax.stop_gradient(vector.mantissa), vector.exponent.ndim)
    shift = jnp.clip(jnp.frexp(peak)[1], -_STEP, _STEP)
    mantissa = _multiply(vector.mantissa, _power_of_two(-shift, peak.dtype))
    return Scaled(mantissa, jnp.where(peak == 0, _ZERO, vector.exponent + shift))


def scaled(tree: PyTree, rank: int) -> Scaled:
    """A vector of ordinary numbers, leaves (*batch, ...) with `rank` batch axes."""
    shape = jax.tree.leaves(tree)[0].shape[:rank]
    return normalise(Scaled(tree, jnp.zeros(shape, jnp.int32)))


def add(a: Scaled, b: Scaled) -> Scaled:
    """a + b."""
    exponent = jnp.maximum(a.exponent, b.exponent)
    dtype = real_dtype(a.mantissa)
    left = _multiply(a.mantissa, _power_of_two(a.exponent - exponent, dtype))
    right = _multiply(b.mantissa, _power_of_two(b.exponent - exponent, dtype))
    return normalise(Scaled(jax.tree.map(jnp.add, left, right), exponent))


def align(vector: Scaled) -> Scaled:
    """The same vectors with one exponent, the largest; what is too small beside it becomes zero."""
    exponent = jnp.max(vector.exponent, initial=_ZERO)
    factor = _power_of_two(vector.exponent - exponent, real_dtype(vector.mantissa))
    return Scaled(_multiply(vector.mantissa, factor), exponent)


def log_norm(vector: Scaled) -> Float[Array, "*batch"]:
    """The natural logarithm of the Euclidean norm over all leaves; -inf for an exact zero."""
    total = square_norm(vector.mantissa, vector.exponent.ndim)
    logs = 0.5 * jnp.log(jnp.where(total == 0, 1, total)) + vector.exponent.astype(total.dtype) * math.log(2)
    return jnp.where(total == 0, -jnp.inf, logs)


def inner(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """The inner product over all leaves, real and imaginary parts as real entries."""
    parts = jax.tree.map(lambda x, y: jnp.sum(x.real * y.real + x.imag * y.imag), a, b)
    return functools.reduce(jnp.add, jax.tree.leaves(parts))


def square_norm(tree: PyTree, rank: int) -> Float[Array, "*batch"]:
    """The square of the Euclidean norm over all leaves (*batch, ...), `rank` batch axes."""
    squares = jax.tree.map(lambda x: jnp.square(x.real) + jnp.square(x.imag), tree)
    return functools.reduce(jnp.add, _over_features(jnp.sum, squares, rank))
