"""The surface of a loss: the cliff of one recurrent unit, slices of any loss, and curvature along directions."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import core, lax
from jaxtyping import Array, Float, PyTree

from jaxrnn.cell import is_size
from jaxrnn.gradients.scaled import inner

LossOf = Callable[[PyTree], Array]


def one_unit_state(
    weight: float | Float[Array, "..."],
    bias: float | Float[Array, "..."],
    start: float | Array = 0.5,
    steps: int = 50,
) -> Float[Array, "..."]:
    """x after `steps` steps of x <- w sigmoid(x) + b.

    Args:
        weight: w, of any shape.
        bias: b, of a shape that goes with it.
        start: x before the first step. Default: 0.5.
        steps: How many. Default: 50.

    Source: Pascanu, Mikolov & Bengio (2013, https://arxiv.org/abs/1211.5063), figure 6.

    Example:
        >>> print(f"{one_unit_state(jnp.float32(0.0), jnp.float32(0.25), steps=3):.2f}")
        0.25
    """
    weight, bias = jnp.asarray(weight), jnp.asarray(bias)
    x = jnp.broadcast_to(jnp.asarray(start, weight.dtype), jnp.broadcast_shapes(weight.shape, bias.shape))
    return lax.fori_loop(0, steps, lambda _, x: weight * jax.nn.sigmoid(x) + bias, x)


def one_unit_error(
    weight: float | Float[Array, "..."],
    bias: float | Float[Array, "..."],
    start: float | Array = 0.5,
    steps: int = 50,
    target: float = 0.7,
) -> Float[Array, "..."]:
    """E = (sigmoid(x) - target)^2 of `one_unit_state`, a surface with a cliff; of every pair of w and b given.

    Where the start lies on the border between two attractors a step in b or w throws the state from one to the other,
    and the gradient is as large as the border is repelling: multiplier^steps.

    Args:
        weight: As in `one_unit_state`.
        bias: As in `one_unit_state`.
        start: As in `one_unit_state`.
        steps: As in `one_unit_state`.
        target: What the last output is to be. Default: 0.7.

    Source: as `one_unit_state`.

    Example:
        >>> slope = jax.grad(one_unit_error, argnums=1)(jnp.float32(5.0), jnp.float32(-2.6123))  # at the cliff
        >>> bool(abs(slope) > 10)
        True
    """
    return (jax.nn.sigmoid(one_unit_state(weight, bias, start, steps)) - target) ** 2


class Slice(NamedTuple):
    """Losses over a plane, losses[i, j] at params + across[i] * first + up[j] * second direction."""

    across: Float[Array, " points"]
    up: Float[Array, " points"]
    losses: Float[Array, "points points"]


def loss_slice(loss: LossOf, params: PyTree, directions: tuple[PyTree, PyTree], extent: float, points: int) -> Slice:
    """A loss over the plane that two directions span around the parameters.

    Args:
        loss: Parameters to a scalar.
        params: The middle of the plane.
        directions: Two pytrees like the parameters, such as `gradient_direction` and `top_hessian_direction`.
        extent: How far to go to either side, in lengths of the directions.
        points: Values along each side; an odd number has the parameters themselves in the middle.

    Source: Goodfellow, Vinyals & Saxe (2015, https://arxiv.org/abs/1412.6544), along one direction; Li et al. (2018,
    https://arxiv.org/abs/1712.09913), over two.

    Raises:
        ValueError: `points` is below 2, or `extent` not above 0.

    Example:
        >>> plane = loss_slice(lambda p: jnp.sum(p**2), jnp.zeros(2), (jnp.eye(2)[0], jnp.eye(2)[1]), 1.0, 3)
        >>> plane.losses.tolist()
        [[2.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 2.0]]
    """
    if not is_size(points) or points < 2 or not extent > 0:
        raise ValueError(
            f"loss_slice: `points` must be a whole number of at least 2 and `extent` above 0, got {points} and "
            f"{extent}. Enlarge them."
        )
    steps = extent * jnp.linspace(-1, 1, points, dtype=jax.tree.leaves(params)[0].real.dtype)

    def at(place):
        a, b = place
        return loss(jax.tree.map(lambda p, x, y: p + (a * x + b * y).astype(p.dtype), params, *directions))

    grid = jnp.stack(jnp.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    return Slice(steps, steps, lax.map(at, (grid[:, 0], grid[:, 1])).reshape(points, points))


def gradient_direction(loss: LossOf, params: PyTree) -> PyTree:
    """The gradient at the parameters, of length 1.

    Raises:
        FloatingPointError: it is zero or not finite (not inside `jax.jit`, where it comes out as NaN).

    Example:
        >>> gradient_direction(lambda p: jnp.sum(p**2), jnp.array([3.0, 4.0])).round(2).tolist()[0] > 0.59
        True
    """
    return _unit("gradient_direction", _gradient(loss, params))


def filter_normalised(key, params: PyTree) -> PyTree:
    """A random direction whose every column is as long as the parameters' own: comparable between networks.

    Columns are those of the last axis, the units that weights lead to; what has one axis counts as one column.
    Source: Li et al. (2018, https://arxiv.org/abs/1712.09913).

    Example:
        >>> weights = jnp.array([[3.0, 0.0], [4.0, 0.0]])
        >>> drawn = filter_normalised(jax.random.key(0), weights)
        >>> [round(float(length), 3) for length in jnp.linalg.norm(drawn, axis=0)]
        [5.0, 0.0]
    """
    leaves, structure = jax.tree.flatten(params)
    found = []
    for number, leaf in enumerate(leaves):
        draw = jax.random.normal(jax.random.fold_in(key, number), leaf.shape, leaf.dtype)
        axes = tuple(range(max(leaf.ndim - 1, 1))) if leaf.ndim else ()
        own, drawn = (jnp.sqrt(jnp.sum(jnp.abs(x) ** 2, axis=axes, keepdims=True)) for x in (leaf, draw))
        found.append(draw * (own / jnp.where(drawn == 0, 1, drawn)).astype(leaf.dtype))
    return jax.tree.unflatten(structure, found)


def hessian_product(loss: LossOf, params: PyTree, direction: PyTree) -> PyTree:
    """H v, by reverse mode twice: every backend can do that, while forward mode needs Scan().

    Example:
        >>> hessian_product(lambda p: jnp.sum(p**3), jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0])).tolist()
        [6.0, 12.0]
    """
    return _gradient(lambda p: inner(_gradient(loss, p), direction), params)


def _gradient(loss: LossOf, params: PyTree) -> PyTree:
    """The direction uphill: of complex parameters the conjugate of what JAX returns."""
    return jax.tree.map(jnp.conj, jax.grad(loss)(params))


def curvature(loss: LossOf, params: PyTree, direction: PyTree) -> Float[Array, ""]:
    """v^T H v / v^T v, the second derivative of the loss along a direction of length 1.

    Near a cliff it grows with the gradient, and faster: of a linear unit d^2 x_t / dw^2 = t (t - 1) x_0 w^(t - 2).

    Args:
        loss: Parameters to a scalar.
        params: Where.
        direction: A pytree like the parameters, of any length but zero.

    Source: Pascanu, Mikolov & Bengio (2013, https://arxiv.org/abs/1211.5063), section 2.3.

    Raises:
        ValueError: `direction` is zero (not inside `jax.jit`, where the result is NaN).

    Example:
        >>> float(curvature(lambda p: 3 * p[0] ** 2 + p[1] ** 2, jnp.ones(2), jnp.array([2.0, 0.0])))
        6.0
    """
    length = inner(direction, direction)
    if not isinstance(length, core.Tracer) and length == 0:
        raise ValueError("curvature: `direction` must not be zero, got zeros. Give one along which to look.")
    return inner(direction, hessian_product(loss, params, direction)) / length


def top_hessian_direction(loss: LossOf, params: PyTree, key, iterations: int = 100) -> tuple[Array, PyTree]:
    """The eigenvalue of the Hessian largest in size, and its direction of length 1, by power iteration.

    Where two of opposite signs are equally large it does not settle. Twice the work of a gradient for each iteration.

    Args:
        loss: Parameters to a scalar.
        params: Where.
        key: For the first direction.
        iterations: Products with the Hessian; the error falls by the ratio of the two largest eigenvalues with each.
            Default: 100.

    Source: products with the Hessian by Pearlmutter (1994, https://doi.org/10.1162/neco.1994.6.1.147); power iteration.

    Raises:
        ValueError: `iterations` is below 1.

    Example:
        >>> value, direction = top_hessian_direction(
        ...     lambda p: 3 * p[0] ** 2 + p[1] ** 2, jnp.ones(2), jax.random.key(0)
        ... )
        >>> print(f"{value:.3f}")
        6.000
    """
    if iterations < 1:
        raise ValueError(f"top_hessian_direction: `iterations` must be at least 1, got {iterations}.")
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    start = _scaled_to_one(jax.tree.unflatten(structure, drawn))

    def iterate(_, direction):
        return _scaled_to_one(hessian_product(loss, params, direction))

    direction = lax.fori_loop(0, iterations, iterate, start)
    return inner(direction, hessian_product(loss, params, direction)), direction


def _scaled_to_one(tree: PyTree) -> PyTree:
    length = jnp.sqrt(inner(tree, tree))
    return jax.tree.map(lambda x: x / jnp.where(length == 0, 1, length).astype(x.dtype), tree)


def _unit(owner: str, tree: PyTree) -> PyTree:
    length = jnp.sqrt(inner(tree, tree))
    if not isinstance(length, core.Tracer) and not 0 < float(length) < float("inf"):
        raise FloatingPointError(f"{owner}: the gradient has length {float(length)}, so no direction. Move the params.")
    return jax.tree.map(lambda x: x / length.astype(x.dtype), tree)
