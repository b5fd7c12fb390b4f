"""Whether a cell's `update` treats every hidden unit by itself, read off its equations."""

import math

import jax
import jax.numpy as jnp

from jaxrnn.cell import GatedCell

_OPERATIONS = frozenset(
    "abs add add_any and atan2 cbrt ceil clamp convert_element_type copy cos cosh div eq erf erf_inv erfc exp exp2 "
    "expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min mul ne neg not or pow reduce_precision "
    "rem round rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan tanh xor".split()
)
_CALLS = frozenset("jit pjit closed_call core_call custom_jvp_call custom_vjp_call remat checkpoint".split())


def is_elementwise(cell: GatedCell, pointwise, carry, u, v) -> bool:
    """Whether no unit's new carry depends on another unit: by the equations of `update`, not by its values."""
    closed = jax.make_jaxpr(cell.update)(pointwise, carry, u, v)
    return not closed.consts and _all_elementwise(closed.jaxpr, cell.hidden_size)


def _all_elementwise(jaxpr, hidden: int) -> bool:
    return all(_one_elementwise(equation, hidden) for equation in jaxpr.eqns)


def _one_elementwise(equation, hidden: int) -> bool:
    name = equation.primitive.name
    if name in _CALLS:
        inner = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
        return _all_elementwise(getattr(inner, "jaxpr", inner), hidden)
    if name == "broadcast_in_dim":
        shape = jnp.shape(equation.invars[0].aval)
        last = equation.params["broadcast_dimensions"][-1:]
        return math.prod(shape) == 1 or (shape[-1] == hidden and last == (len(equation.params["shape"]) - 1,))
    return name in _OPERATIONS
