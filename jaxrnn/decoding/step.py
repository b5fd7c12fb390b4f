"""The step that every decoder runs: `step(carry, token) -> (carry, logits)`, for one sequence.

`token` is an int32 scalar, `logits` are (vocabulary,), and the carry is any pytree of arrays. Weights, and a memory
that an attention reads, ride in a `jax.tree_util.Partial`: its arrays are arguments of the compiled decoder, so that
the same function with other weights compiles nothing. A plain function is taken as it is: arrays that it closes over
are compiled in, and a new function, such as a lambda written in a loop, is compiled each time.
"""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import core
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Int32, PyTree

from jaxrnn.cell import is_size
from jaxrnn.numerics import carry_dtype

Step = Callable[[Any, Any], tuple[Any, Any]]
NO_TOKEN = -1  # stands where the logits were no distribution, so that nothing could be chosen


def as_step(name: str, step: Step) -> Partial:
    """The step as a pytree of its arrays."""
    if not callable(step):
        raise TypeError(
            f"{name}: `step` must be called as step(carry, token), got {type(step).__name__}. "
            "Give a function, or jax.tree_util.Partial(function, weights)."
        )
    partial = step if isinstance(step, Partial) else Partial(step)
    check_arrays(name, "step", partial)
    return partial


def check_arrays(name: str, argument: str, tree: PyTree) -> None:
    """Raises TypeError unless all leaves are arrays or numbers."""
    for leaf in jax.tree.leaves(tree):
        if not hasattr(leaf, "dtype") and not isinstance(leaf, int | float | complex):
            raise TypeError(
                f"{name}: `{argument}` must hold arrays alone, got {leaf!r} in it. What is no array belongs into the "
                "function, for example by functools.partial(function, cell) inside jax.tree_util.Partial."
            )


def as_token(name: str, first) -> Int32[Array, ""]:
    """The first token as an int32 scalar."""
    token = jnp.asarray(first)
    if not jnp.issubdtype(token.dtype, jnp.integer):
        raise TypeError(f"{name}: `first` must be a whole number, got {token.dtype}. Give the number of a token.")
    if token.shape != ():
        raise ValueError(
            f"{name}: `first` must be one token, got shape {token.shape}. For a batch put {name} into jax.vmap."
        )
    if not isinstance(token, core.Tracer) and int(token) < 0:
        raise ValueError(
            f"{name}: `first` must be a token, got {int(token)}. Give 0 or above; {NO_TOKEN} in what was decoded "
            "says that the logits were no distribution."
        )
    return token.astype(jnp.int32)


def as_end(name: str, end) -> int:
    """The token that ends as what the compiler knows."""
    try:
        return operator.index(end)
    except TypeError as error:
        raise TypeError(
            f"{name}: `end` must be a whole number that is not traced, got {end!r}. Give the number of the token."
        ) from error


def check_size(name: str, argument: str, value) -> None:
    """Raises ValueError unless the value is a whole number of at least 1."""
    if not is_size(value):
        raise ValueError(f"{name}: `{argument}` must be a whole number of at least 1, got {value!r}. Give such one.")


def check_step(name: str, step: Partial, carry: PyTree, first: Int32[Array, ""]) -> jax.ShapeDtypeStruct:
    """Shape and `wide` dtype of the logits; raises where one step, run on shapes alone, breaks the contract."""
    result = jax.eval_shape(step, carry, first)
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(f"{name}: `step` must return (carry, logits), got {type(result).__name__}. Return both.")
    after, logits = result
    if getattr(logits, "ndim", None) != 1 or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(
            f"{name}: `step` must return logits (vocabulary,) of real numbers, got {_told(logits)}. "
            f"It runs ONE sequence; for a batch put {name} into jax.vmap."
        )
    if logits.shape[0] == 0:
        raise ValueError(f"{name}: `step` returns logits of no token. Give a vocabulary of at least one.")
    before, now = (jax.tree_util.tree_flatten_with_path(tree) for tree in (carry, after))
    if before[1] != now[1]:
        raise ValueError(
            f"{name}: `step` must return a carry built like `carry`, {before[1]}, got {now[1]}. Return the same tree."
        )
    for (path, old), (_, new) in zip(before[0], now[0], strict=True):
        if _told(old) != _told(new):
            raise ValueError(
                f"{name}: `step` must return a carry like `carry`; {jax.tree_util.keystr(path) or 'it'} was "
                f"{_told(old)} and comes back as {_told(new)}. Start from the carry that the step makes, or cast it."
            )
    return jax.ShapeDtypeStruct(logits.shape, carry_dtype(logits.dtype))


def _told(leaf) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else repr(leaf)


def check_end(name: str, end: int | None, tokens: int) -> None:
    """Raises ValueError unless `end` is a token of the vocabulary, or None."""
    if end is not None and not 0 <= end < tokens:
        raise ValueError(
            f"{name}: `end` must be a token of the vocabulary, 0 to {tokens - 1}, got {end}. "
            "Give the number of the token that ends a sentence."
        )


def wide(logits: Float[Array, "*batch vocabulary"]) -> Float[Array, "*batch vocabulary"]:
    """The logits in float32 at least."""
    return logits.astype(carry_dtype(logits.dtype))


def is_distribution(logits: Float[Array, "*batch vocabulary"]) -> Bool[Array, "*batch"]:
    """Whether a softmax of the logits exists: none is NaN or infinity, and one at least is above -infinity."""
    return jnp.isfinite(jax.nn.logsumexp(logits, axis=-1))
