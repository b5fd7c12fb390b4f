"""What the trainer asks of whole trees of arrays: copies, norms, finiteness, the choice between two."""

import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from jaxrnn.numerics import carry_dtype, cast, select


def copy(tree: PyTree) -> PyTree:
    """Every array in a buffer of its own, so that donation of one deletes no other; typed keys too."""

    def leaf(x):
        if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.extended):
            # A typed key; its own copy() fails on one that a traced function closes over.
            return jax.random.wrap_key_data(leaf(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        x = jnp.asarray(x)
        return jnp.array(x, dtype=x.dtype, copy=True)  # the explicit dtype also ends a weak type

    return jax.tree.map(leaf, tree)


def widen(tree: PyTree) -> PyTree:
    """16-bit leaves in float32, whose squares neither overflow nor vanish as soon."""
    return jax.tree.map(lambda x: cast(x, carry_dtype(jnp.finfo(x.dtype).dtype)), tree)


def norm(tree: PyTree) -> Array:
    """The global norm; the largest entry is taken out of the squares, which could leave the range of the floats."""
    tree = widen(tree)
    with jax.numpy_dtype_promotion("standard"):
        largest = functools.reduce(jnp.maximum, [jnp.max(jnp.abs(x), initial=0) for x in jax.tree.leaves(tree)])
        scale = jnp.where(jnp.isfinite(largest) & (largest > 0), largest, jnp.ones_like(largest))
        return scale * optax.tree.norm(jax.tree.map(lambda x: x / scale.astype(jnp.finfo(x.dtype).dtype), tree))


def keep(condition, new: PyTree, old: PyTree) -> PyTree:
    """The new tree in the dtypes of the old where the condition holds, else the old one."""
    return select(condition, jax.tree.map(lambda n, o: n.astype(o.dtype), new, old), old)


def stays_finite(new: PyTree, old: PyTree):
    """Whether no entry that was finite has ceased to be; some optimizers start from infinities."""
    pairs = zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True)
    kept = [(jnp.isfinite(n) | ~jnp.isfinite(o)).all() for n, o in pairs if jnp.issubdtype(n.dtype, jnp.inexact)]
    return jnp.stack(kept).all() if kept else jnp.array(True)


def differ(a: PyTree, b: PyTree):
    """Whether any entry differs."""
    return jnp.stack([(x != y).any() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]).any()
