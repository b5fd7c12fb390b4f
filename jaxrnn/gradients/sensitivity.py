"""How much the parameters move the states, beside how large the states are: the curse of memory."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn.cell import Cell
from jaxrnn.gradients.jacobian import over_batch, to_vector, vector_step, without_batch
from jaxrnn.gradients.trajectory import check_some_steps, checked_inputs, or_nan, recurrence, refuse_nan, run
from jaxrnn.numerics import cast, cast_like, real_dtype


class Sensitivity(NamedTuple):
    """Squares for each step and sample, (time, *batch), to be averaged over samples as they are.

    state: ||s_t||^2. parameters: ||ds_t/dtheta||_F^2, of all parameters together.
    """

    state: Float[Array, "time *batch"]
    parameters: Float[Array, "time *batch"]


def sensitivity(cell, params: PyTree, xs: PyTree) -> Sensitivity:
    """The squared norm of the total derivative ds_t/dtheta, beside that of the state itself, step by step.

        ds_t/dtheta = d+s_t/dtheta + J_t ds_{t-1}/dtheta

    As memory grows longer states stay of a size where their sensitivity explodes, though gradients by the state
    decay: of h_t = l h_{t-1} + x_t with white x, E h^2 = 1 / (1 - l^2) and E (dh/dl)^2 = (1 + l^2) / (1 - l^2)^3.

    By forward accumulation, exact at all steps at once: memory O(batch * state * parameters), for small cells.

    Args:
        cell: Any Cell, or a Stack.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such. The sequence starts from `init_carry`.

    Source: Zucchet & Orvieto (2024, https://arxiv.org/abs/2405.21064).

    Raises:
        TypeError, ValueError, FloatingPointError: as `step_jacobians`.

    Example:
        >>> from jaxrnn import GRU
        >>> cell = GRU(3)
        >>> found = sensitivity(cell, cell.init(jax.random.key(0), 2), jnp.ones((6, 4, 2), jnp.float32))
        >>> found.parameters.shape
        (6, 4)
    """
    cell = recurrence("sensitivity", cell)
    xs, batch_shape = checked_inputs(cell, params, xs)
    check_some_steps("sensitivity", xs)
    trajectory, _ = run(cell, params, xs)
    found = _squares(cell, len(batch_shape), params, xs, trajectory)
    refuse_nan("sensitivity", found, trajectory)
    return or_nan(found, trajectory, len(batch_shape), 1)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _squares(cell: Cell, rank: int, params, xs, trajectory) -> Sensitivity:
    like = without_batch(trajectory.befores, rank)
    dtype = real_dtype(like)
    leaves, structure = jax.tree.flatten(params)
    sizes = [to_vector(leaf).size for leaf in leaves]

    def of_vector(vector) -> PyTree:
        parts = jnp.split(vector, [sum(sizes[: n + 1]) for n in range(len(sizes) - 1)])
        real = zip(parts, leaves, strict=True)
        return structure.unflatten([_like(part, leaf) for part, leaf in real])

    def one(xs, befores):
        def step(theta, state, x):
            wide = of_vector(theta)
            narrow = cast_like(wide, params)
            return vector_step(cell, narrow, like)(state, cast(cell.project(narrow, x), dtype))

        theta = jnp.concatenate([to_vector(leaf).astype(dtype) for leaf in leaves])

        def move(derivative, inputs):
            x, before = inputs
            state = to_vector(before)
            by_theta = jax.jacrev(step)(theta, state, x)
            _, along = jax.linearize(lambda s: step(theta, s, x), state)
            derivative = by_theta + jax.vmap(along, 1, 1)(derivative)
            new = step(theta, state, x)
            return derivative, (jnp.sum(new * new), jnp.sum(derivative * derivative))

        start = to_vector(jax.tree.map(lambda x: x[0], befores))
        nothing = jnp.zeros((start.size, theta.size), dtype)
        return lax.scan(move, nothing, (xs, befores))[1]

    found = over_batch(one, rank)(xs, trajectory.befores)
    return Sensitivity(*(jnp.moveaxis(x, rank, 0) for x in found))


def _like(vector, leaf):
    """A vector of real numbers in the shape of a parameter, complex ones from their real and imaginary parts."""
    if jnp.iscomplexobj(leaf):
        real, imaginary = jnp.split(vector, 2)
        return lax.complex(real, imaginary).reshape(leaf.shape)
    return vector.reshape(leaf.shape)
