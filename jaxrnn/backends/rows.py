"""Arrays and flags as kernels take them: one axis of sequences, of whole tiles."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn.kernels.grid import ACTIVE, RESET


class Rows:
    """All batch axes as one, filled up to whole tiles with copies of the last sequence, and back again.

    So is every head, with copies of its last unit. Zeros would be states that the cell may never see, and its
    derivative at one of them could be infinite.
    """

    def __init__(self, batch_shape: tuple[int, ...], tile: int, head: tuple[int, int] = (1, 1)):
        """`tile`: sequences of which there has to be a multiple; `head`: units of one, before and after filling up."""
        self.batch_shape, self.count = batch_shape, math.prod(batch_shape)
        self.missing, self.head = -self.count % tile, head

    def merge(self, tree: PyTree, axis: int = 0, zeros: bool = False) -> PyTree:
        """Cotangents are filled up with zeros: what fills up has no share in any gradient."""

        def leaf(x):
            x = x.reshape(*x.shape[:axis], self.count, x.shape[-1])
            return self._fill_heads(self._fill_rows(x, axis, zeros), zeros)

        return jax.tree.map(leaf, tree)

    def constant(self, x):
        """Of what all sequences share: an array (1, hidden) or, as it is, (1, 1)."""
        return x if x.shape == (1, 1) else self._fill_heads(x, zeros=False)

    def _fill_rows(self, x, axis: int, zeros: bool):
        widths = [(0, 0)] * axis + [(0, self.missing), (0, 0)]
        return jnp.pad(x, widths, mode="constant" if zeros else "edge") if self.missing else x

    def _fill_heads(self, x, zeros: bool):
        units, whole = self.head
        if units == whole:
            return x
        heads = x.reshape(*x.shape[:-1], -1, units)
        widths = [(0, 0)] * (heads.ndim - 1) + [(0, whole - units)]
        return jnp.pad(heads, widths, mode="constant" if zeros else "edge").reshape(*x.shape[:-1], -1)

    def own_units(self, x):
        """An array without what heads were filled up with."""
        units, whole = self.head
        if units == whole or x.shape == (1, 1):
            return x
        return x.reshape(*x.shape[:-1], -1, whole)[..., :units].reshape(*x.shape[:-1], -1)

    def part(self, tree: PyTree, axis: int = 0) -> PyTree:
        """Undoes `merge`."""

        def leaf(x):
            x = self.own_units(x[:, : self.count] if axis else x[: self.count])
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
        return self._fill_rows(bits.astype(jnp.int32).reshape(time, self.count, 1), 1, zeros=False)
