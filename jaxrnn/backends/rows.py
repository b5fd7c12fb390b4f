"""Arrays and flags as kernels take them: one axis of sequences, of whole tiles."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn.kernels.grid import ACTIVE, RESET


class Rows:
    """All batch axes as one, filled up to whole tiles with copies of the last sequence, and back again."""

    def __init__(self, batch_shape: tuple[int, ...], tile: int):
        """`tile`: sequences of which there has to be a multiple."""
        self.batch_shape, self.count = batch_shape, math.prod(batch_shape)
        self.missing = -self.count % tile

    def merge(self, tree: PyTree, axis: int = 0, zeros: bool = False) -> PyTree:
        """Cotangents are filled up with zeros: what fills up has no share in any gradient."""

        def leaf(x):
            x = x.reshape(*x.shape[:axis], self.count, x.shape[-1])
            widths = [(0, 0)] * axis + [(0, self.missing), (0, 0)]
            return jnp.pad(x, widths, mode="constant" if zeros else "edge") if self.missing else x

        return jax.tree.map(leaf, tree)

    def part(self, tree: PyTree, axis: int = 0) -> PyTree:
        """Undoes `merge`."""

        def leaf(x):
            x = x[:, : self.count] if axis else x[: self.count]
            return x.reshape(*x.shape[:axis], *self.batch_shape, x.shape[-1])

        return jax.tree.map(leaf, tree)

    def flags(self, time: int, active, resets):
        """The flags of every step (time, rows, 1); None where each acts and no sequence begins afresh."""
        if active is None and resets is None:
            return None
        shape = (time, *self.batch_shape)

        def everywhere(flags, bit: int, otherwise: bool):
            if flags is None:
                return jnp.full(shape, bit if otherwise else 0)
            spread = flags.reshape(*flags.shape, *(1,) * (len(shape) - flags.ndim))
            return jnp.where(jnp.broadcast_to(spread, shape), bit, 0)

        bits = everywhere(active, ACTIVE, True) | everywhere(resets, RESET, False)
        return self.merge(bits.astype(jnp.int32)[..., None], 1)
