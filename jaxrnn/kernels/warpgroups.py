"""How a kernel for NVIDIA GPUs walks over a sequence: a thread block holds one head for a few sequences.

A warpgroup, four warps that share a matrix unit's product, holds 64 units. Its arrays lie (units, sequences) in the
registers, since a product has 64 rows at least and the sequences of a block are few.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import PyTree

from jaxrnn.kernels.mosaic import launch, load
from jaxrnn.kernels.plan import SEQUENCES, UNITS

# Registers lie so that two neighbouring units are one access of memory, whose last axis is that of units.
_LAYOUT = plgpu.Layout.WGMMA_TRANSPOSED
FLAGS = max(SEQUENCES)  # of one warpgroup in shared memory: what is copied there begins at multiples of 128 bytes


def _shared(shape: tuple[int, ...], dtype) -> Any:
    """Shared memory in the pattern that spreads neighbours in either axis over its banks."""
    lane = plgpu.TilingTransform((8, 128 // jnp.dtype(dtype).itemsize))
    return plgpu.SMEM(shape, dtype, transforms=(lane, plgpu.SwizzleTransform(128)))


class Block(NamedTuple):
    """The work of one thread block: `width` units, a multiple of UNITS, and `batch_tile` sequences."""

    width: int
    batch_tile: int

    @property
    def warpgroups(self) -> int:
        """Of the block, each with UNITS units."""
        return self.width // UNITS

    def matrices(self, count: int) -> Any:
        """Shared memory for matrices of the block, in parts (UNITS, UNITS); see `parts`."""
        return _shared((count * self.warpgroups**2, UNITS, UNITS), jnp.bfloat16)

    def arrays(self, count: int, dtype=jnp.bfloat16) -> Any:
        """Shared memory for arrays (batch_tile, width) of two steps, in parts for each warpgroup."""
        return _shared((2, count, self.warpgroups, self.batch_tile, UNITS), dtype)

    def streams(self, trees: PyTree, ahead: int) -> dict[str, Any]:
        """Memory and barriers for what stands at a step in such arrays, `ahead` steps of it; see `Place.fetch`."""
        flags, *arrays = trees
        count, flagged = len(jax.tree.leaves(arrays)), flags is not None
        return {
            "arriving": _shared((ahead, count, self.warpgroups, self.batch_tile, UNITS), jnp.float32),
            "flags_arriving": plgpu.SMEM((ahead if flagged else 1, self.warpgroups, FLAGS), jnp.int32),
            "arrived": plgpu.Barrier(num_arrivals=count + flagged, num_barriers=ahead * self.warpgroups),
        }

    def barrier(self) -> Any:
        """At which all warpgroups meet."""
        return plgpu.Barrier(num_arrivals=self.warpgroups)

    def parts(self, matrices):
        """Matrices (groups, gates, width, width) as x is multiplied by them, transposed and cut up for `products`."""
        groups, gates = matrices.shape[:2]
        cut = matrices.swapaxes(-1, -2).reshape(groups, gates, self.warpgroups, UNITS, self.warpgroups, UNITS)
        return cut.swapaxes(3, 4).reshape(groups, -1, UNITS, UNITS)

    def call(self, kernel: Callable, inputs: PyTree, outputs: PyTree, scratch: dict[str, Any], interpret: bool):
        """What `kernel(place, inputs, outputs, **scratch)` writes, for every head and tile of sequences.

        `inputs` as arrays, `outputs` as shapes; the kernel sees references. All end in (batch, hidden).
        """
        leaves, tree = jax.tree.flatten(inputs)
        shapes, out_tree = jax.tree.flatten(outputs)
        batch, hidden = shapes[0].shape[-2:]

        def body(*refs, **scratch):
            group, tile, index = (lax.axis_index(name) for name in ("group", "tile", "warpgroup"))
            unit = group * self.width + index * UNITS
            place = Place(self, group, index, unit, tile * self.batch_tile)
            ins, outs = refs[: len(leaves)], refs[len(leaves) :]
            kernel(place, jax.tree.unflatten(tree, ins), jax.tree.unflatten(out_tree, outs), **scratch)

        run = plgpu.kernel(
            body,
            out_type=shapes,
            scratch_types=scratch,
            grid=(hidden // self.width, batch // self.batch_tile),
            grid_names=("group", "tile"),
            num_threads=self.warpgroups,
            thread_name="warpgroup",
            compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
        )
        return jax.tree.unflatten(out_tree, launch(run, leaves, interpret))


class Streams(NamedTuple):
    """Arrays whose steps are fetched one after the other, and the shared memory that `Block.streams` describes."""

    refs: tuple
    arriving: Any
    flags_arriving: Any
    arrived: Any


class Place(NamedTuple):
    """Where a warpgroup stands: its block's head, its number in the block, its first unit and sequence."""

    block: Block
    group: Any
    index: Any
    unit: Any
    sequence: Any

    def _part(self, ref, *at):
        return ref.at[(*at, pl.ds(self.sequence, self.block.batch_tile), pl.ds(self.unit, UNITS))]

    def read(self, refs: PyTree, *at) -> PyTree:
        """Of arrays (batch, hidden), or what stands there of longer ones, this warpgroup's part."""
        return jax.tree.map(lambda ref: load(self._part(ref, *at).transpose((1, 0)), _LAYOUT), refs)

    def write(self, refs: PyTree, values: PyTree, *at) -> None:
        """The reverse of `read`."""

        def one(ref, value):
            self._part(ref, *at).transpose((1, 0))[...] = value

        jax.tree.map(one, refs, values)

    def constants(self, refs: PyTree) -> PyTree:
        """Of arrays (1, hidden) that all sequences share, and of (batch, hidden), as full arrays."""

        def one(ref):
            if ref.shape[0] != 1:
                return self.read(ref)
            part = load(ref.at[0, pl.ds(self.unit, UNITS)], _LAYOUT.reduce(1))
            return lax.broadcast_in_dim(part, (UNITS, self.block.batch_tile), (0,))

        return jax.tree.map(one, refs)

    def fetch(self, streams: "Streams", t, slot) -> None:
        """Starts to bring what stands at step t to shared memory: (flags (time, batch) or None, trees of arrays)."""
        flags, *arrays = streams.refs
        barrier = streams.arrived.at[slot * self.block.warpgroups + self.index]
        for number, ref in enumerate(jax.tree.leaves(arrays)):
            plgpu.copy_gmem_to_smem(self._part(ref, t), streams.arriving.at[slot, number, self.index], barrier)
        if flags is not None:
            target = streams.flags_arriving.at[slot, self.index, pl.ds(0, self.block.batch_tile)]
            part = flags.at[t, pl.ds(self.sequence, self.block.batch_tile)]
            plgpu.copy_gmem_to_smem(part, target, barrier)

    def receive(self, streams: "Streams", slot) -> tuple:
        """What `fetch` brought, flags as a full array; once all have met, the slot is free."""
        plgpu.barrier_wait(streams.arrived.at[slot * self.block.warpgroups + self.index])
        flags, *arrays = streams.refs
        leaves, tree = jax.tree.flatten(arrays)
        parts = [streams.arriving.at[slot, number, self.index] for number in range(len(leaves))]
        found = jax.tree.unflatten(tree, [load(part.transpose((1, 0)), _LAYOUT) for part in parts])
        if flags is None:
            return None, *found
        part = streams.flags_arriving.at[slot, self.index, pl.ds(0, self.block.batch_tile)]
        bits = load(part, _LAYOUT.reduce(0))
        return lax.broadcast_in_dim(bits, (UNITS, self.block.batch_tile), (1,)), *found

    def hold(self, ref, matrices, barrier) -> None:
        """Brings the matrices of this head, cut up by `Block.parts`, to shared memory."""

        @pl.when(self.index == 0)
        def _():
            plgpu.copy_gmem_to_smem(ref.at[self.group], matrices, barrier)

        plgpu.barrier_wait(barrier)

    def put(self, shared, values: PyTree) -> None:
        """This warpgroup's part of arrays of a step, in shared memory; visible to all after `meet`."""
        for number, value in enumerate(jax.tree.leaves(values)):
            shared.at[number, self.index].transpose((1, 0))[...] = value.astype(shared.dtype)

    def meet(self, barrier) -> None:
        """Waits until all warpgroups have put their parts."""
        plgpu.commit_smem()
        if self.block.warpgroups > 1:
            plgpu.barrier_arrive(barrier)
            plgpu.barrier_wait(barrier)

    def products(self, terms: list[list[tuple[int, Any]]], matrices) -> tuple:
        """Sums of products matrix @ operand, float32, one for each list of (number of a matrix, operand)."""
        wide = range(self.block.warpgroups)

        def multiply(*sums):
            for total, pairs in zip(sums, terms, strict=True):
                for gate, operand in pairs:
                    row = (gate * self.block.warpgroups + self.index) * self.block.warpgroups
                    for k in wide:
                        plgpu.wgmma(total, matrices.at[row + k], operand.at[k].transpose((1, 0)))
            plgpu.wgmma_wait(0)
            return tuple(total[...] for total in sums)

        shape = plgpu.ACC((UNITS, self.block.batch_tile), jnp.float32)  # pyright: ignore[reportPrivateImportUsage]
        return tuple(laid_out(x) for x in pl.run_scoped(multiply, *[shape] * len(terms)))

    def send(self, shared, refs: PyTree, t) -> None:
        """Copies this warpgroup's part of what was put to arrays (time, batch, hidden); see `wait_sent`."""
        leaves = jax.tree.leaves(refs)
        for number, ref in enumerate(leaves):
            last = number == len(leaves) - 1
            plgpu.copy_smem_to_gmem(shared.at[number, self.index], self._part(ref, t), commit_group=last)


def wait_sent(pending: int) -> None:
    """Until no more than `pending` of the last `send`s are still reading shared memory; 0: until all have arrived."""
    plgpu.wait_smem_to_gmem(pending, wait_read_only=pending > 0)


def laid_out(tree: PyTree) -> PyTree:
    """Arrays as the registers of a warpgroup hold them."""
    return jax.tree.map(lambda x: plgpu.layout_cast(x, _LAYOUT), tree)
