"""What the kernels of every accelerator take and give for a gated cell."""

from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree


class Constants(NamedTuple):
    """What is the same at every step.

    `recurrent` (groups, gates, width, width), each matrix as h is multiplied by it, forward, or its adjoint, backward.
    `pointwise`: leaves (1, hidden) or (1, 1), or (batch, hidden) where each sequence has its own.
    """

    recurrent: Any
    pointwise: PyTree


def own(us: tuple, vs: tuple) -> tuple:
    """us with None for each gate whose adjoint is that of v."""
    return tuple(None if v is None else u for u, v in zip(us, vs, strict=False)) + us[len(vs) :]


def only(kept: PyTree, tree: PyTree) -> PyTree:
    """The tree with None wherever `kept` has it."""
    return jax.tree.map(lambda k, x: None if k is None else x, kept, tree, is_leaf=lambda k: k is None)
