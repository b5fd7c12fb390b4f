"""A run with all that the laboratory asks for: projections, and the state before and after every step."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import core, lax
from jaxtyping import Array, Bool, PyTree

from jaxrnn import validation
from jaxrnn.backends.base import Steps, project
from jaxrnn.cell import Cell
from jaxrnn.network import Network
from jaxrnn.numerics import carry_dtype, cast
from jaxrnn.sequence import Stack
from jaxrnn.stochastic.regularized import Regularized


class Trajectory(NamedTuple):
    """Leaves are (time, *batch, ...); `befores` and `carries` are the states before and after each step."""

    us: PyTree
    befores: PyTree
    carries: PyTree


@dataclass(frozen=True)
class Joint(Cell):
    """A Stack as one recurrence, whose state is that of all its layers and whose step goes up through them.

    Parameters and carries are those of the Stack, tuples layer by layer.
    """

    stack: Stack

    @property
    def layers(self) -> tuple[Cell, ...]:
        """The layers, each of them a recurrence."""
        return tuple(recurrence("Joint", cell) for cell in self.stack.cells)

    @property
    def output_size(self) -> int:
        """That of the last layer."""
        return self.stack.output_size

    def init(self, key, input_size: int, dtype=jnp.float32) -> tuple:
        """Parameters, layer by layer."""
        return self.stack.init(key, input_size, dtype)

    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> tuple:
        """Carries, layer by layer."""
        return self.stack.init_carry(batch_shape, dtype)

    def project(self, params, xs):
        """The inputs as they are: every layer projects what it reads."""
        return xs

    def widen(self, params, dtype):
        """As stored: every layer widens its own."""
        return params

    def advance(self, params, carry, u) -> tuple:
        """The new carries, from the lowest layer to the highest."""
        dtype = _dtype_of(u)
        found = []
        for cell, weights, state in zip(self.layers, params, carry, strict=True):
            projected = cast(cell.project(weights, u), dtype)
            new, y = cell.step(weights, state, projected)
            u = self._above(u, y)
            found.append(new)
        return tuple(found)

    def output(self, params, carry, u):
        """The last layer's output, from the new carries."""
        dtype = _dtype_of(u)
        for cell, weights, state in zip(self.layers, params, carry, strict=True):
            projected = cast(cell.project(weights, u), dtype)
            u = self._above(u, cell.output(cast(weights, dtype), state, projected))
        return u

    def _above(self, x, y):
        return x + y if self.stack.residual and jnp.shape(x) == jnp.shape(y) else y


def _dtype_of(tree: PyTree):
    return jax.tree.leaves(tree)[0].dtype


def recurrence(owner: str, cell: Any) -> Cell:
    """A Cell as it is, a Stack as one recurrence.

    Raises:
        TypeError: it is neither; a Bidirectional has no state that runs from step to step.
    """
    if isinstance(cell, Cell):
        return cell
    if isinstance(cell, Stack):
        return Joint(cell)
    if isinstance(cell, Regularized):
        hint = "Measure its `cell`, as it is without noise."
    else:
        hint = "Measure its parts one by one." if isinstance(cell, Network) else "Pass a Cell or a Stack."
    raise TypeError(f"{owner}: `cell` must be a Cell or a Stack, got {cell!r}. {hint}")


def check_some_steps(owner: str, xs: PyTree) -> None:
    """Raises ValueError for a sequence without steps, along which nothing is carried."""
    if jax.tree.leaves(xs)[0].shape[0] == 0:
        raise ValueError(f"{owner}: `xs` must have at least one step, got none. Pass a longer sequence.")


def checked_inputs(cell: Cell, params: PyTree, xs: PyTree) -> tuple[PyTree, tuple[int, ...]]:
    """The inputs as arrays and their batch shape, after the checks that `unroll` makes."""
    xs = jax.tree.map(jnp.asarray, xs)
    batch_shape = validation.check_inputs(xs)
    validation.check_params(type(cell).__name__, params, _dtype_of(xs))
    validation.check_fit(cell, params, xs)
    kinds = {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(lambda: cell.init_carry((), _dtype_of(xs))))}
    if not all(jnp.issubdtype(kind, jnp.inexact) for kind in kinds):
        raise TypeError(
            f"{type(cell).__name__}: a carry that gradients travel through must hold real or complex floating-point "
            f"numbers alone, got {', '.join(sorted(map(str, kinds)))}. Count in floating point, or in an input."
        )
    return xs, batch_shape


@functools.partial(jax.jit, static_argnums=0)
def run(cell: Cell, params: PyTree, xs: PyTree) -> tuple[Trajectory, PyTree]:
    """The trajectory from `init_carry`, and the outputs in the dtype of the inputs."""
    steps = Steps(xs)
    us = project(cell, params, steps)

    def step(carry, u):
        new, y = cell.step(params, carry, u)
        return new, (carry, new, y)

    start = cell.init_carry(jax.tree.leaves(xs)[0].shape[1:-1], carry_dtype(steps.dtype))
    _, (befores, carries, ys) = lax.scan(step, start, us)
    return Trajectory(us, befores, carries), cast(ys, steps.dtype)


def refuse_nan(owner: str, measured: PyTree, trajectories: Trajectory | Sequence[Trajectory]) -> None:
    """Raises where a measurement is NaN or inf, or follows from a run that is not finite; tells its first such step.

    A derivative at a state that is not finite can come out as an innocent number: that of relu at NaN is 0. Traced
    values pass: inside a compiled function nothing can be raised.

    Raises:
        FloatingPointError: there is one.
    """
    if any(isinstance(leaf, core.Tracer) for leaf in jax.tree.leaves((measured, trajectories))):
        return
    layers = [trajectories] if isinstance(trajectories, Trajectory) else trajectories
    named = [part for layer in layers for part in (("projections of `xs`", layer.us), ("states", layer.carries))]
    for name, tree in named:
        bad = [~np.isfinite(leaf) for leaf in map(np.asarray, jax.tree.leaves(tree))]
        first = min((int(np.argmax(b.reshape(b.shape[0], -1).any(axis=1))) for b in bad if b.any()), default=None)
        if first is not None:
            raise FloatingPointError(
                f"{owner}: the {name} are not finite from step {first} on, and so is not what follows from them. "
                "Mend the inputs, make the recurrence smaller, or shorten the sequence."
            )
    if not all((np.asarray(leaf) < np.inf).all() for leaf in jax.tree.leaves(measured)):
        raise FloatingPointError(
            f"{owner}: the derivative of a step, or of `loss`, is infinite or not a number though every state is "
            "finite. Look for a function at a point where it has no derivative, such as sqrt or a norm at zero."
        )


def or_nan(measured: PyTree, trajectory: Trajectory, rank: int, lead: int) -> PyTree:
    """NaN in the place of what was measured of a sample whose run is not finite, `lead` axes before those of the batch.

    For compiled functions, inside which nothing can be raised.
    """
    finite = is_finite(trajectory, rank)

    def leaf(x):
        return jnp.where(finite.reshape((1,) * lead + finite.shape + (1,) * (x.ndim - lead - rank)), x, jnp.nan)

    return jax.tree.map(leaf, measured)


def is_finite(trajectory: Trajectory, rank: int) -> Bool[Array, "*batch"]:
    """For each sample, whether its whole run is finite."""
    leaves = [leaf for leaf in jax.tree.leaves((trajectory.us, trajectory.carries)) if leaf.ndim > rank]
    axes = [(0, *range(1 + rank, leaf.ndim)) for leaf in leaves]
    each = [jnp.all(jnp.isfinite(leaf), axis=axis) for leaf, axis in zip(leaves, axes, strict=True)]
    return functools.reduce(jnp.logical_and, each)
