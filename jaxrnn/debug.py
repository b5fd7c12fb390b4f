"""A run that watches itself: the first step at which a value turns infinite or NaN, and which value."""

import functools
import re
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from jaxrnn import validation
from jaxrnn.backends.base import Backend, Steps, finish, fresh_carry, project, restart
from jaxrnn.cell import Cell
from jaxrnn.numerics import select
from jaxrnn.unroll import unroll

_NEVER = -1


@dataclass(frozen=True)
class _Watched(Backend):
    """A plain scan with a Chex assertion on every value of every step."""

    def refuses(self, cell: Cell, xs: PyTree) -> str | None:
        """Never."""
        return None

    def run(self, cell: Cell, params, carry, steps: Steps, reverse: bool):
        """See Backend."""
        fresh, name = fresh_carry(cell, steps), type(cell).__name__

        def step(carry, inputs):
            t, u, active, reset = inputs
            _assert_finite(f"projection of the inputs to {name}", u, t, active)
            before = restart(fresh, reset, carry)
            after, y = cell.step(params, before, u)
            _assert_finite(f"carry of {name}", after, t, active)
            _assert_finite(f"output of {name}", y, t, active)
            return select(active, after, before), finish(y, active, steps.dtype)

        inputs = jnp.arange(steps.time), project(cell, params, steps), steps.acting, steps.resets
        return lax.scan(step, carry, inputs, reverse=reverse)


def _assert_finite(what: str, tree: PyTree, t, active) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            bad = ~select(active, jnp.isfinite(leaf), jnp.array(True))
            first = jnp.where(bad.any(), t, _NEVER)
            label = ".".join([what, *filter(None, [jax.tree_util.keystr(path, simple=True, separator=".")])])
            chex.assert_trees_all_equal({label: first}, {label: jnp.full_like(first, _NEVER)})


def check_finite(
    cell, params: PyTree, xs: PyTree, carry: PyTree = None, *, lengths=None, mask=None, resets=None, reverse=False
):
    """`unroll` in a debug mode: raises at the first step at which a value turns infinite or NaN.

    Arguments and results are those of `jaxrnn.unroll`, less `backend`: the run is a plain scan in which Chex asserts
    that every projection, carry and output of an acting step is finite (`chex.chexify`). Gradients are not
    watched: where these explode while all values are finite, `jaxrnn.gradients.adjoint_norms` shows it. It is slow,
    meant for one batch that has gone wrong, and cannot stand inside `jax.jit`. Of a Stack or Bidirectional the cells
    are watched in the order in which they run. Chex warns at the exit of the program of assertions that were not
    inspected: these were.

    Raises:
        FloatingPointError: names the value and the step (of `xs`, from 0) at which the run met it first; or, if that
            may be why, a parameter or an entry of the starting carry that is NaN.

    Example:
        >>> from jaxrnn import Elman
        >>> cell = Elman(2, "identity")
        >>> params = cell.init(jax.random.key(0), input_size=1)
        >>> steep = params._replace(recurrent=jnp.full((2, 2), 1e15, jnp.float32))
        >>> try:
        ...     check_finite(cell, steep, jnp.ones((9, 1, 1), jnp.float32))
        ... except FloatingPointError as error:
        ...     print(str(error).partition(". ")[0])
        check_finite: the carry of Elman.h is not finite, first at step 3 of 9
    """
    batch_shape, time = validation.check_inputs(jax.tree.map(jnp.asarray, xs)), jax.tree.leaves(xs)[0].shape[0]
    validation.check_lengths(None if lengths is None else jnp.asarray(lengths), time, batch_shape)
    try:
        return _watched(cell, bool(reverse))(params, xs, carry, lengths, mask, resets)
    except AssertionError as error:
        _blame_what_came_in(params, carry, error)
        text = r"(?P<quote>['\"])(?P<what>(?:projection|carry|output) of .+?)(?P=quote),\)'.*?(?P<step>\d+) != "
        found = re.search(text, str(error), re.DOTALL)
        if found is None:
            raise
        raise FloatingPointError(
            f"check_finite: the {found['what']} is not finite, first at step {found['step']} of {time}. The "
            "projections, carries and outputs before it in the run are: look at the inputs of that step and at the "
            "size of the weights."
        ) from error


def _blame_what_came_in(params, carry, error: AssertionError) -> None:
    """Names a NaN that was there before the first step, now that it is known to have done harm."""
    for name, tree in (("params", params), ("carry", carry)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if jnp.issubdtype(leaf.dtype, jnp.inexact) and jnp.isnan(leaf).any():
                raise FloatingPointError(
                    f"check_finite: {name}{jax.tree_util.keystr(path)} is NaN before the first step. Look at what made "
                    "it: an update, an earlier run, or a file."
                ) from error


@functools.lru_cache(maxsize=64)
def _watched(cell, reverse: bool):
    @jax.jit
    def run(params, xs, carry, lengths, mask, resets):
        how = {"lengths": lengths, "mask": mask, "resets": resets, "reverse": reverse}
        return unroll(cell, params, xs, carry, **how, backend=_Watched())

    return chex.chexify(run, async_check=False)
