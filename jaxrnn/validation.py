"""What `unroll` asks of its arguments. Each message names the argument, what was got and the cure."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import PyTree

from jaxrnn.numerics import carry_dtype


def describe(tree: PyTree) -> str:
    """Dtypes and shapes of a tree, for messages."""

    def leaf(x):
        return f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else repr(x)

    return str(jax.tree.map(leaf, tree)).replace("'", "")


def check_inputs(xs: PyTree) -> tuple[int, ...]:
    """The batch shape of xs, leaves (time, *batch, features) of one floating dtype."""
    leaves = jax.tree.leaves(xs)
    if not leaves:
        raise ValueError("`xs` holds no arrays. Pass an array (time, *batch, features), or a pytree of such.")
    for leaf in leaves:
        if leaf.ndim < 2:
            raise ValueError(
                f"`xs` must be (time, *batch, features), got shape {leaf.shape}. "
                "Add the missing axis, for example xs[..., None] for one feature."
            )
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"`xs` must be real floating point, got {leaf.dtype}. "
                "Convert it, for example xs.astype(jnp.float32), or jax.nn.one_hot for indices."
            )
        if leaf.dtype != leaves[0].dtype:
            raise TypeError(
                f"all of `xs` must have one dtype, got {leaves[0].dtype} and {leaf.dtype}. Cast one of them."
            )
        if leaf.shape[:-1] != leaves[0].shape[:-1]:
            raise ValueError(
                "all of `xs` must share (time, *batch), "
                f"got shapes {leaves[0].shape} and {leaf.shape}. Broadcast the smaller one."
            )
    return leaves[0].shape[1:-1]


def check_params(name: str, params: PyTree, dtype) -> None:
    """Floating parameters must come in the dtype of the inputs: nothing is promoted silently."""
    for leaf in jax.tree.leaves(params):
        if not hasattr(leaf, "dtype"):
            raise TypeError(
                f"`params` of {name} must hold arrays, got {leaf!r}. Convert it, for example "
                "jax.tree.map(jnp.asarray, params)."
            )
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and jnp.finfo(leaf.dtype).dtype != dtype:
            raise TypeError(
                f"`params` of {name} hold {leaf.dtype} while `xs` is {dtype}. Cast one of them, "
                f"for example jax.tree.map(lambda p: p.astype(xs.dtype), params)."
            )


@functools.lru_cache(maxsize=1024)
def _misfit(cell, structure, leaves: tuple[tuple[tuple[int, ...], np.dtype], ...], batch_shape, dtype) -> str | None:
    """What one step on such shapes says; None if it runs. Cached, so that a call that was made before is not traced."""
    params, xs = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])

    def step(params, xs):
        return cell.step(params, cell.init_carry(batch_shape, carry_dtype(dtype)), cell.project(params, xs))

    try:
        jax.eval_shape(step, params, xs)
    except (TypeError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return _unlike_init(cell, params, xs, dtype)


def _unlike_init(cell, params, xs, dtype) -> str | None:
    """What differs from the parameters that `init` makes: a step can run on wrong ones, where they broadcast.

    None where that cannot be told: `xs` holds more than features, or `params` hold more than `init` makes, such as a
    memory that an attention reads.
    """
    if not isinstance(xs, jax.ShapeDtypeStruct):
        return None
    try:
        expected = jax.eval_shape(lambda: cell.init(jax.random.key(0), xs.shape[-1], dtype))
    except (TypeError, ValueError, AttributeError, ArithmeticError):
        return None
    if jax.tree.structure(params) != jax.tree.structure(expected):
        return None
    try:
        chex.assert_trees_all_equal_shapes_and_dtypes(params, expected)
    except AssertionError as error:
        differ = " ".join(str(error).split()).partition("differ ")[2]
        return f"given and init's differ {differ or error}".rstrip(".")
    return None


def check_fit(cell, params: PyTree, xs: PyTree) -> None:
    """Runs one step on shapes alone and says what does not fit."""
    leaves = jax.tree.leaves(xs)
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)
    shapes, structure = jax.tree.flatten((params, one))
    reason = _misfit(cell, structure, tuple((x.shape, x.dtype) for x in shapes), leaves[0].shape[1:-1], leaves[0].dtype)
    if reason is not None:
        raise ValueError(
            f"`xs` {describe(xs)} does not fit `params` of {type(cell).__name__}, {describe(params)} ({reason}). "
            "Build them with cell.init(key, xs.shape[-1], xs.dtype)."
        )


def check_carry(cell, carry: PyTree, batch_shape: tuple[int, ...], dtype) -> None:
    """A given carry must be the cell's own, as `init_carry` of this batch would make it."""
    expected = jax.eval_shape(lambda: cell.init_carry(batch_shape, carry_dtype(dtype)))
    try:
        chex.assert_trees_all_equal_shapes_and_dtypes(carry, expected)
    except (AssertionError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"`carry` of {type(cell).__name__} must be {describe(expected)} for `xs` with batch shape "
            f"{batch_shape} and dtype {dtype}, got {describe(carry)}. "
            f"Build it with cell.init_carry({batch_shape}, jnp.{carry_dtype(dtype)})."
        ) from error


def check_flags(name: str, flags, time: int, batch_shape: tuple[int, ...]) -> None:
    """`mask` and `resets` are boolean (time, *batch)."""
    if flags is None:
        return
    if flags.dtype != bool:
        raise TypeError(f"`{name}` must be boolean, got {flags.dtype}. Convert it, for example {name} != 0.")
    if flags.shape != (time, *batch_shape):
        raise ValueError(
            f"`{name}` must have shape (time, *batch) = {(time, *batch_shape)}, got {flags.shape}. "
            f"Broadcast it, for example jnp.broadcast_to({name}, {(time, *batch_shape)})."
        )


def check_lengths(lengths, time: int, batch_shape: tuple[int, ...]) -> None:
    """`lengths` are whole numbers (*batch,) from 0 to time; values are checked where they are concrete."""
    if lengths is None:
        return
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(
            f"`lengths` must be integers, got {lengths.dtype}. Convert them, for example lengths.astype(int)."
        )
    if lengths.shape != batch_shape:
        raise ValueError(
            f"`lengths` must have the batch shape {batch_shape} of `xs`, got {lengths.shape}. "
            "Give one length for each sequence."
        )
    if not isinstance(lengths, core.Tracer) and lengths.size:
        values = np.asarray(lengths)  # of an array closed over inside jax.jit a JAX minimum would be traced
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > time:
            raise ValueError(
                f"`lengths` must lie between 0 and the {time} steps of `xs`, got {low} to {high}. "
                "Clip them, or pad xs to the longest sequence."
            )
