"""The Jacobian of one step, J_t = ds_t/ds_{t-1}, of any cell, as a matrix or as what it does to vectors."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn.cell import Cell
from jaxrnn.gradients.trajectory import checked_inputs, or_nan, recurrence, refuse_nan, run
from jaxrnn.numerics import real_dtype

VectorStep = Callable[[Array, PyTree], Array]


def to_vector(state: PyTree) -> Float[Array, " size"]:
    """A state without batch axes as one real vector, complex leaves as their real and imaginary parts."""

    def parts(leaf):
        return [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]

    return jnp.concatenate([part.reshape(-1) for leaf in jax.tree.leaves(state) for part in parts(leaf)])


def from_vector(vector: Float[Array, " size"], like: PyTree) -> PyTree:
    """Undoes `to_vector`; `like` has the shapes and dtypes of the state."""
    leaves, structure = jax.tree.flatten(like)
    found, at = [], 0
    for leaf in leaves:
        size = math.prod(leaf.shape)
        part = vector[at : at + size].reshape(leaf.shape)
        at += size
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            part = lax.complex(part, vector[at : at + size].reshape(leaf.shape))
            at += size
        found.append(part)
    return jax.tree.unflatten(structure, found)


def vector_step(cell: Cell, params: PyTree, like: PyTree) -> VectorStep:
    """One step as a function of real vectors, (s, u) -> s'."""
    wide = cell.widen(params, real_dtype(like))
    return lambda vector, u: to_vector(cell.advance(wide, from_vector(vector, like), u))


def over_batch(function: Callable, rank: int) -> Callable:
    """A function of sequences without batch axes, mapped over `rank` batch axes behind time; they come out first."""
    for _ in range(rank):
        function = jax.vmap(function, in_axes=1)
    return function


def without_batch(tree: PyTree, rank: int) -> PyTree:
    """Shapes and dtypes of one state of leaves (time, *batch, ...)."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1 + rank :], x.dtype), tree)


def step_jacobians(cell, params: PyTree, xs: PyTree) -> Float[Array, "time *batch state state"]:
    """J_t = ds_t/ds_{t-1} for every step and sample, J_t[i, j] = ds_t[i] / ds_{t-1}[j].

    The state s is the whole carry as one real vector: for the LSTM (h, c), for complex states real and imaginary
    parts, for a Stack all its layers from the lowest up. Memory O(time * batch * state^2).

    Args:
        cell: Any Cell, or a Stack.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such. The sequence starts from `init_carry`.

    Raises:
        TypeError: `cell` is neither Cell nor Stack, or `xs` is not floating point.
        ValueError: shapes do not fit.
        FloatingPointError: a Jacobian holds NaN (not inside `jax.jit`).

    Example:
        >>> from jaxrnn import LSTM
        >>> cell = LSTM(3)
        >>> step_jacobians(cell, cell.init(jax.random.key(0), 2), jnp.ones((5, 4, 2), jnp.float32)).shape
        (5, 4, 6, 6)
    """
    cell = recurrence("step_jacobians", cell)
    xs, batch_shape = checked_inputs(cell, params, xs)
    trajectory, _ = run(cell, params, xs)
    jacobians = _jacobians(cell, len(batch_shape), params, trajectory)
    refuse_nan("step_jacobians", jacobians, trajectory)
    return or_nan(jacobians, trajectory, len(batch_shape), 1)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _jacobians(cell: Cell, rank: int, params, trajectory):
    step = vector_step(cell, params, without_batch(trajectory.befores, rank))

    def one(befores, us):
        def at(_, inputs):
            before, u = inputs
            return None, jax.jacrev(step)(to_vector(before), u)

        return lax.scan(at, None, (befores, us))[1]

    found = over_batch(one, rank)(trajectory.befores, trajectory.us)
    return jnp.moveaxis(found, rank, 0)
