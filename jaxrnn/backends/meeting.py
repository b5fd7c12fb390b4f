"""Which sequences and which units meet in a cell's `update` and in its derivative, read off their equations.

A kernel sees sequences tile by tile, and units group by group where none reads another. What the equations do to the
axis of sequences and to that of units is followed from the arguments to the results.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from jaxrnn.errors import UnsupportedBackend

# As of JAX 0.10.2 to 0.12.0; an operation that is not here is refused, not guessed at.
_ELEMENTWISE = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp "
    "convert_element_type copy cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow "
    "is_finite le lgamma log log1p log2 logistic lt max min mul ne neg nextafter not one_minus_square or "
    "polynomial pow reduce_precision rem round rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan "
    "tanh xor".split()
)
_REDUCTIONS = frozenset("argmax argmin reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum".split())
_ALONG_ONE_AXIS = frozenset("cumlogsumexp cummax cummin cumprod cumsum".split())
CALLS = frozenset("jit pjit closed_call custom_jvp_call custom_vjp_call".split())
# What a sum over sequences may go through and still be the sum of what each tile gives.
_LINEAR = frozenset(
    "add add_any broadcast_in_dim concatenate convert_element_type div dot_general jit mul neg pad pjit reduce_sum "
    "reshape select_n slice squeeze sub transpose".split()
)


class _Axes(NamedTuple):
    """Of an array: whether its first axis is that of sequences, its last that of units, and whether it is their sum.

    What is one number for all units counts as having them, unless it was made from them.
    """

    sequences: bool = False
    units: bool = True
    summed: bool = False


def check_sequences_apart(update: Callable, pointwise, carry, u, v) -> None:
    """UnsupportedBackend unless no sequence depends on another or on how many there are.

    Arguments (sequences, hidden), or shapes of such.

    Pointwise parameters with as many rows as there are sequences are one for each of them; others are shared.
    """
    arguments = pointwise, carry, u, v
    rows, width = jax.tree.leaves(carry)[0].shape
    _follow(update, *arguments)
    if _read(update, arguments) != _read(update, _resized(arguments, {rows: rows + 12, width: width})):
        raise UnsupportedBackend("its kernels take sequences tile by tile, and its update reads how many there are")


def are_units_apart(update: Callable, pointwise, carry, u, v) -> bool:
    """Whether moreover no unit depends on another or on their number, so that `update` runs on a group of them.

    Arguments are as wide as the group.
    """
    arguments = pointwise, carry, u, v
    rows, width = jax.tree.leaves(carry)[0].shape
    try:
        # Neither is 1 unit wide, which is broadcast by other equations than more are.
        some, more = (_resized(arguments, {rows: rows + n, width: n * (width + 1)}) for n in (1, 2))
        return _read(update, some) == _read(update, more) and _follow(update, *some)
    except (UnsupportedBackend, TypeError, ValueError):  # an update that names the whole width fails on a part of it
        return False


def _resized(arguments, sizes: dict[int, int]):
    def leaf(x):
        return jax.ShapeDtypeStruct(tuple(sizes.get(n, n) for n in x.shape), x.dtype)

    return jax.tree.map(leaf, arguments)


def _both(update: Callable) -> Callable:
    """The update and its derivative."""

    def both(pointwise, carry, u, v):
        after, pullback = jax.vjp(update, pointwise, carry, u, v)
        return pullback(after), after

    return both


def _read(update: Callable, arguments) -> list:
    """Operations and numbers in the equations, which differ where sizes enter them."""
    return _operations(jax.make_jaxpr(_both(update))(*arguments))


def _operations(closed) -> list:
    found = [float(const) for const in closed.consts if not jnp.ndim(const)]
    for equation in closed.jaxpr.eqns:
        numbers = [v.val for v in equation.invars if isinstance(v, Literal)]
        found += [equation.primitive.name, *map(str, numbers), str(equation.params.get("y"))]
        if equation.primitive.name in CALLS:
            found += _operations(equation.params.get("jaxpr") or equation.params["call_jaxpr"])
    return found


def _follow(update: Callable, pointwise, carry, u, v) -> bool:
    """Whether units stay apart, in the new carry and in all cotangents."""
    rows = jax.tree.leaves(carry)[0].shape[0]
    width = jax.tree.leaves(carry)[0].shape[-1]

    closed, (cotangents, _) = jax.make_jaxpr(_both(update), return_shape=True)(pointwise, carry, u, v)
    axes = [
        _Axes(len(x.shape) == 2 and x.shape[0] == rows, x.size == 1 or x.shape[-1:] == (width,))
        for x in closed.in_avals
    ]
    results = _evaluate(closed, axes, rows)
    shared = len(jax.tree.leaves(cotangents[0]))
    if any(found.summed for found in results[shared:]):
        raise UnsupportedBackend("its kernels take sequences tile by tile, and a sum over them enters the next state")
    wide = [found for found, out in zip(results, closed.out_avals, strict=True) if out.shape[-1:] == (width,)]
    return all(found.units for found in wide)


def _evaluate(closed, arguments: list[_Axes], rows: int) -> list[_Axes]:
    if any(jnp.ndim(const) for const in closed.consts):
        raise UnsupportedBackend(
            "its kernels hold no constant arrays, and its update reads one; make it a pointwise parameter"
        )
    jaxpr = closed.jaxpr
    known: dict[Any, _Axes] = dict.fromkeys(jaxpr.constvars, _Axes())
    known |= dict(zip(jaxpr.invars, arguments, strict=True))

    def axes(variable) -> _Axes:
        return _Axes() if isinstance(variable, Literal) else known[variable]

    for equation in jaxpr.eqns:
        inputs = [axes(v) for v in equation.invars]
        name = equation.primitive.name
        if name in CALLS:
            inner = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
            found = _evaluate(inner, inputs, rows)
        else:
            found = [_one(equation, inputs, rows)] * len(equation.outvars)
        if any(x.summed for x in inputs) and (name not in _LINEAR or any(x.sequences for x in found)):
            raise _meets(name)
        known.update(zip(equation.outvars, found, strict=True))
    return [axes(v) for v in jaxpr.outvars]


def _meets(name: str) -> UnsupportedBackend:
    return UnsupportedBackend(
        f"its kernels take sequences tile by tile, and they may meet in the `{name}` of its update or of its gradient"
    )


def _one(equation, inputs: list[_Axes], rows: int) -> _Axes:
    name, params = equation.primitive.name, equation.params
    shapes = [v.aval.shape for v in equation.invars]
    shape = equation.outvars[0].aval.shape
    sequences, summed = any(x.sequences for x in inputs), any(x.summed for x in inputs)
    if name in _ELEMENTWISE:
        return _Axes(sequences, all(x.units for x in inputs), summed)
    if name == "broadcast_in_dim":
        dimensions = params["broadcast_dimensions"]
        if inputs[0].sequences and dimensions[0] != 0:
            raise _meets(name)
        last = dimensions[-1:] == (len(shape) - 1,) and shapes[0][-1:] == shape[-1:]
        units = inputs[0].units and (last or math.prod(shapes[0]) == 1)
        return _Axes(sequences or bool(shape) and shape[0] == rows, units, summed)
    if name in _REDUCTIONS:
        kept = len(shapes[0]) - 1 not in params["axes"]
        if sequences and 0 in params["axes"]:
            if name != "reduce_sum":
                raise _meets(name)
            return _Axes(False, inputs[0].units and kept, True)
        return _Axes(sequences, inputs[0].units and kept, summed)
    reshaped = name in ("reshape", "squeeze", "expand_dims")
    units = reshaped and inputs[0].units and shape[-1:] == shapes[0][-1:]
    if not sequences:
        return _Axes(False, units, summed)
    if shape[:1] == (rows,) and inputs[0].sequences and not any(x.sequences for x in inputs[1:]):
        if name == "slice" and params["start_indices"][0] == 0 and (params["strides"] or (1,))[0] == 1:
            return _Axes(True, False)
        contracted = params["dimension_numbers"] if name == "dot_general" else None
        if contracted and 0 not in contracted[0][0] and not contracted[1][0]:
            return _Axes(True, False)
        if name in _ALONG_ONE_AXIS and params["axis"] != 0:
            return _Axes(True, False)
        if reshaped:
            return _Axes(True, units)
    if name in ("concatenate", "split") and params.get("dimension", params.get("axis")) != 0:
        return _Axes(True, False)
    raise _meets(name)
