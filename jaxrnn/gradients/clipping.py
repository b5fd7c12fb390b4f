"""What clipping does to a gradient: how much it shortens it, turns it, and weighs the steps of a sequence anew."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxrnn.gradients.contributions import Contributions
from jaxrnn.gradients.scaled import Scaled, inner, scaled, square_norm
from jaxrnn.numerics import carry_dtype, cast


class Clipping(NamedTuple):
    """One gradient before and after clipping; norms are Euclidean over all leaves together."""

    norm_before: Float[Array, ""]
    norm_after: Float[Array, ""]
    coefficient: Float[Array, ""]
    fraction_clipped: Float[Array, ""]
    cosine: Float[Array, ""]


class ClipShares(NamedTuple):
    """What each step of a sequence contributes to the gradient, before and after clipping; each sums to 1."""

    before: Float[Array, " time"]
    after: Float[Array, " time"]


def clipping(gradient: PyTree, clip: optax.GradientTransformation, params: PyTree = None) -> Clipping:
    """Compares a gradient g with what `clip` makes of it, g'.

        norm_before = ||g||,    norm_after = ||g'||,    coefficient = ||g'|| / ||g||
        fraction_clipped = the fraction of entries that differ,    cosine = <g, g'> / (||g|| ||g'||)

    For `optax.clip_by_global_norm(c)` the coefficient is min(1, c / ||g||) and the cosine 1: the direction is kept.
    `optax.clip(c)` bounds each entry by itself, and the cosine falls below 1. Neither divides by the squared norm, as
    is sometimes seen: that would leave c / ||g||, less of a gradient the larger it is.

    Args:
        gradient: A pytree of real or complex arrays, of which one is not empty. Not yet clipped.
        clip: Optax's clipping, from its initial state. It is handed 16-bit gradients in float32, as by a `Trainer`.
        params: The parameters, for a `clip` that reads them, such as `optax.adaptive_grad_clip`. Default: none.

    Returns:
        Scalars, real, in at least float32. A gradient of zero is not clipped: coefficient 1, cosine 1. Where ||g|| is
        not finite, coefficient, fraction and cosine are NaN and the norms are what they are. Where all of g is clipped
        away the cosine is NaN. Entries that are zero before and after are not clipped. Over many gradients, under
        `jax.vmap`, the share of updates that were clipped is the mean of `fraction_clipped > 0`, which is not the mean
        of `fraction_clipped`.

    Source: by norm, Pascanu, Mikolov & Bengio (2013, https://arxiv.org/abs/1211.5063), algorithm 1.

    Raises:
        ValueError: `gradient` holds no entry; or it is complex and `clip` knows no such, as `optax.clip`.
        TypeError: `gradient` is not floating point, or `clip` is not of Optax.

    Example:
        >>> gradient = {"weight": jnp.array([3.0, 4.0]), "bias": jnp.array(0.0)}
        >>> by_norm = clipping(gradient, optax.clip_by_global_norm(1.0))
        >>> print(f"{by_norm.norm_before:.3f} {by_norm.coefficient:.3f} {by_norm.cosine:.3f}")
        5.000 0.200 1.000
        >>> by_value = clipping(gradient, optax.clip(1.0))
        >>> print(f"{by_value.norm_after:.3f} {by_value.fraction_clipped:.3f} {by_value.cosine:.3f}")
        1.414 0.667 0.990
    """
    before, after = _both("clipping", gradient, clip, params)
    long, short = scaled(before, 0), scaled(after, 0)
    norm_before, dtype = _norm(long), _norm(long).dtype
    changed = sum(jnp.sum(a != b, dtype=dtype) for a, b in zip(before, after, strict=True))
    lengths = _length(long), _length(short)
    coefficient = jnp.ldexp(lengths[1] / lengths[0], short.exponent - long.exponent)
    cosine = inner(long.mantissa, short.mantissa) / (lengths[0] * lengths[1])

    def known(value, at_zero: int):
        return jnp.where(jnp.isfinite(norm_before), jnp.where(norm_before == 0, at_zero, value), jnp.nan).astype(dtype)

    return Clipping(
        norm_before=norm_before,
        norm_after=_norm(short),
        coefficient=known(coefficient, 1),
        fraction_clipped=known(changed / sum(leaf.size for leaf in before), 0),
        cosine=known(jnp.clip(cosine, -1, 1), 1),
    )


def clip_shares(
    contributions: Contributions | PyTree, clip: optax.GradientTransformation, params: PyTree = None
) -> ClipShares:
    """How clipping changes what each step's contribution g_t weighs in the gradient g = sum_t g_t.

        before_t = <g_t, g> / ||g||^2,    after_t = <q * g_t, g'> / ||g'||^2,    q = g' / g entry by entry

    An entry that is clipped is clipped alike in every contribution to it, so that the contributions still sum to g'.
    Clipping by norm changes no share. Clipping by value takes from the steps that fill the largest entries. A share is
    negative for a step that points away from the sum.

    Args:
        contributions: What each step adds to the gradient of the parameters, from `jaxrnn.gradients.contributions`, or
            a pytree of arrays (time, ...). Divide the loss as you do in training: clipping by value goes by size.
        clip: As in `clipping`.
        params: As in `clipping`.

    Returns:
        Shares (time,) in the order of the steps; NaN where the gradient is zero or not finite.

    Raises:
        ValueError: `contributions` holds no entry, or its leaves differ in their first axis.
        TypeError: `contributions` is not floating point, or `clip` is not of Optax.

    Example:
        >>> contributions = jnp.array([[0.0, 1.0], [8.0, 0.0]])  # the second of two steps fills the large entry
        >>> shares = clip_shares(contributions, optax.clip(1.0))
        >>> print([f"{share:.3f}" for share in shares.before], [f"{share:.3f}" for share in shares.after])
        ['0.015', '0.985'] ['0.500', '0.500']
    """
    if isinstance(contributions, Contributions):
        contributions = _in_full(contributions)
    times = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(contributions)}
    if len(times) > 1 or () in times:
        raise ValueError(
            f"clip_shares: `contributions` must hold arrays (time, ...) of the same time, got {sorted(times)} as first "
            "axes. Give the contribution of each step, one after the other along a first axis."
        )
    contributions = jax.tree.map(jnp.asarray, contributions)
    before, after = _both("clip_shares", jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), contributions), clip, params)
    steps = _alike(contributions)
    kept = [jnp.where(a == 0, 1, b / jnp.where(a == 0, 1, a)) for a, b in zip(before, after, strict=True)]

    def shares(steps, total) -> Float[Array, " time"]:
        unit = scaled(total, 0)
        products = jax.vmap(lambda step: inner(step, unit.mantissa))(steps)
        return jnp.ldexp(products / _length(unit) ** 2, -unit.exponent)

    return ClipShares(shares(steps, before), shares([q * step for q, step in zip(kept, steps, strict=True)], after))


def _in_full(found: Contributions) -> PyTree:
    """Contributions as ordinary numbers (time, ...), those too small for the dtype as zeros."""
    sizes = jnp.exp(found.log_norms)
    return jax.tree.map(lambda x: sizes.reshape(-1, *(1,) * (x.ndim - 1)).astype(x.dtype) * x, found.directions)


def _both(owner: str, gradient: PyTree, clip: optax.GradientTransformation, params: PyTree) -> tuple[list, list]:
    """The leaves of the gradient before and after clipping, all of one dtype."""
    if not isinstance(clip, optax.GradientTransformation):
        raise TypeError(
            f"{owner}: `clip` must be a transformation of Optax, got {clip!r}. For a norm of at most c pass "
            "optax.clip_by_global_norm(c)."
        )
    gradient = jax.tree.map(jnp.asarray, gradient)
    for leaf in jax.tree.leaves(gradient):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise TypeError(
                f"{owner}: the gradient must be floating point, got {leaf.dtype}. Give what jax.grad gives."
            )
    if not sum(leaf.size for leaf in jax.tree.leaves(gradient)):
        raise ValueError(f"{owner}: the gradient holds no entry. Give what jax.grad gives.")
    wide = jax.tree.map(lambda leaf: cast(leaf, carry_dtype(jnp.finfo(leaf.dtype).dtype)), gradient)
    with jax.numpy_dtype_promotion("standard"):  # Optax is written for it
        clipped, _ = clip.update(wide, clip.init(wide if params is None else params), params)
    return _alike(wide), _alike(clipped)


def _alike(tree: PyTree) -> list:
    """The leaves that are not empty, in the widest real dtype among them, at least float32."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.size]
    dtypes = {carry_dtype(jnp.finfo(leaf.dtype).dtype) for leaf in leaves}
    return cast(leaves, max(dtypes, key=lambda dtype: dtype.itemsize))


def _length(vector: Scaled) -> Float[Array, ""]:
    """The norm of the mantissa, which neither underflows nor overflows."""
    return jnp.sqrt(square_norm(vector.mantissa, 0))


def _norm(vector: Scaled) -> Float[Array, ""]:
    return jnp.ldexp(_length(vector), vector.exponent)
