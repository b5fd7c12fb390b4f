"""Dtypes, products and selections with the rules that every floor of the kit shares.

The carry is float32 for 16-bit inputs, else the inputs' dtype (its complex counterpart in complex
cells), and products of 16-bit operands accumulate in float32. Nothing is promoted silently.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact, Int32, Integer, PyTree


def carry_dtype(dtype) -> jnp.dtype:
    """The real dtype of a carry for inputs of `dtype`: float32 for 16-bit inputs, else `dtype`."""
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


def complex_dtype(dtype) -> jnp.dtype:
    """The complex counterpart of a real dtype: complex64 for float32, complex128 for float64."""
    return jnp.dtype(jnp.complex128 if jnp.finfo(dtype).bits == 64 else jnp.complex64)


def real_dtype(tree: PyTree) -> jnp.dtype:
    """The real dtype behind the first leaf of a tree of real or complex arrays."""
    return jnp.finfo(jax.tree.leaves(tree)[0].dtype).dtype


def cast(tree: PyTree, dtype) -> PyTree:
    """The tree with real leaves in `dtype` and complex leaves in its complex counterpart.

    Integer, boolean and key leaves are left as they are.
    """

    def leaf(x):
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            return x.astype(complex_dtype(dtype))
        return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(leaf, tree)


def cast_like(tree: PyTree, like: PyTree) -> PyTree:
    """The tree with each leaf in the dtype of its twin in `like`."""
    return jax.tree.map(lambda x, twin: x.astype(twin.dtype), tree, like)


def matmul(x: Inexact[Array, "..."], weight: Inexact[Array, "... i o"], precision=None) -> Inexact[Array, "..."]:
    """`x @ weight` with x taken in the weight's dtype and the sum kept in at least float32.

    On a CPU leading axes are folded into one: XLA makes the product's gradients up to twice as fast for matrices.
    Elsewhere they are kept, since folding a batch axis that is sharded would gather it.
    """
    x = x.astype(weight.dtype)
    if weight.ndim == 2 and x.ndim > 2 and jax.default_backend() == "cpu":
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        return matmul(rows, weight, precision).reshape(*x.shape[:-1], weight.shape[-1])
    return jnp.matmul(x, weight, precision=precision, preferred_element_type=carry_dtype(weight.dtype))


def affine(xs, weight, bias):
    """`xs @ weight + bias` with the sum kept in at least float32."""
    total = matmul(xs, weight)
    return total + bias.astype(total.dtype)


def bernoulli(key, probability: float, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """True with this probability; the same draws whether 64 bits are on or off, which JAX's own are not."""
    return jax.random.bernoulli(key, jnp.float32(probability), shape)


def as_classes(labels: Integer[Array, "*shape"], count: int) -> tuple[Int32[Array, "*shape"], Bool[Array, "*shape"]]:
    """Labels in int32, 0 where they are none of 0 ... count - 1, and where they are one; of any dtype, 8 bits too."""
    known = (labels >= 0) & (labels <= min(count - 1, jnp.iinfo(labels.dtype).max))
    return jnp.where(known, labels, 0).astype(jnp.int32), known


def select(mask, on_true: PyTree, on_false: PyTree) -> PyTree:
    """Leaf by leaf `where(mask, on_true, on_false)`, the mask spread over trailing axes.

    A mask of None stands for True everywhere and costs nothing.
    """
    if mask is None:
        return on_true

    def leaf(a, b):
        spread = mask.reshape(mask.shape + (1,) * (max(jnp.ndim(a), jnp.ndim(b)) - mask.ndim))
        return jnp.where(spread, a, b)

    return jax.tree.map(leaf, on_true, on_false)


def zero_unless(mask, tree: PyTree) -> PyTree:
    """The tree where the mask holds, zeros elsewhere; blocks NaN in value and in gradient."""
    if mask is None:
        return tree
    return select(mask, tree, jax.tree.map(lambda x: jnp.zeros((), x.dtype), tree))


def zero_where(mask, tree: PyTree) -> PyTree:
    """The tree where the mask does not hold, zeros elsewhere; None stands for False everywhere."""
    if mask is None:
        return tree
    return select(mask, jax.tree.map(lambda x: jnp.zeros((), x.dtype), tree), tree)


def plus(total: PyTree, share: PyTree) -> PyTree:
    """total + share, where None in `share` stands for zeros."""
    if share is None:
        return total
    return jax.tree.map(lambda d, t: t if d is None else t + d, share, total, is_leaf=lambda d: d is None)
