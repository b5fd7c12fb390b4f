"""How many steps a chunk has, and whether its gates are kept: by the sizes of a problem, as measured on CPUs and a GPU.

A CPU wants chunks that stay in its cache. A GPU waits for launches alone: chunks are as long as memory allows, nothing
is kept that one product brings back, and several steps make a turn of the loop.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxrnn.cell import Cell, GatedCell, LinearCell


class _Bounds(NamedTuple):
    """Of a chunk: numbers in one array of all its steps, which should stay in the cache, and steps."""

    numbers: int
    shortest: int
    longest: int


# Arrays of gated cells hold all gates; below 16 steps their products get too small.
_CHUNK = _Bounds(2**18, 16, 128)
_LINEAR = _Bounds(2**18, 16, 4096)
_ON_GPUS = _Bounds(2**27, 128, 2**30)  # half a gigabyte in one array
_TURN_ON_GPUS = 8  # steps; launches of more run out of time to save, and compiling takes longer
# Numbers in one array of all steps up to which one chunk, with its gates kept, is the fastest. A train step takes about
# 20 bytes for each, of linear cells 40; above 32 MiB the C library returns memory to the system after every call, and
# pages fault.
_WHOLE, _WHOLE_LINEAR = 2**25 // 20, 2**25 // 40
_PLAIN_WIDTH = 4  # gates that a plain cell is taken to have
# Rebuilding a number takes 2 (features + hidden) operations, keeping it a write and a read of memory.
_UNITS_WORTH_KEEPING = 256
_MEMORY_COMES_FIRST = 512  # steps from which on nothing but carries is kept
# Up to so many features and units, and from so many sequences on, multiplying x by W step by step costs less than
# writing u; on a CPU, where one more product a step is cheap, and without a weight gradient, which needs whole chunks.
_FEW_FEATURES, _FEW_UNITS, _SOME_SEQUENCES = 32, 128, 8


def with_gradient(cell: Cell, xs: PyTree, time: int) -> tuple[int, bool]:
    """(steps per chunk, whether gates are kept) of a run over `time` steps that is differentiated."""
    numbers = _numbers(cell, xs)
    if _on_gpu():
        return _chunk_length(time, _ON_GPUS, numbers), False
    if isinstance(cell, LinearCell):
        bounds, whole, keep = _LINEAR, time * numbers <= _WHOLE_LINEAR, False
    else:
        short = time < _MEMORY_COMES_FIRST
        bounds, whole = _CHUNK, short and time * numbers <= _WHOLE
        keep = whole or short and _units(cell) >= _UNITS_WORTH_KEEPING
    return max(time, 1) if whole else _chunk_length(time, bounds, numbers), keep


def without_gradient(cell: Cell, params: PyTree, xs: PyTree, time: int) -> int:
    """Steps per chunk of a run that is not differentiated and keeps nothing: longer chunks pay, or single steps do."""
    if _on_gpu():
        return with_gradient(cell, xs, time)[0]
    if jax.default_backend() == "cpu" and _is_projected_in_the_loop(cell, params, xs):
        return 1
    return max(time, 1) if time * _numbers(cell, xs) <= _WHOLE else with_gradient(cell, xs, time)[0]


def steps_a_turn() -> int:
    """Steps that the loops of a chunk take in one turn."""
    return _TURN_ON_GPUS if _on_gpu() else 1


def _on_gpu() -> bool:
    return jax.default_backend() == "gpu"


def _is_projected_in_the_loop(cell: Cell, params: PyTree, xs: PyTree) -> bool:
    features, units = sum(x.shape[-1] for x in jax.tree.leaves(xs)), _units(cell)
    few = features <= _FEW_FEATURES and units <= _FEW_UNITS and _sequences(xs) >= _SOME_SEQUENCES
    wide = jnp.finfo(jax.tree.leaves(xs)[0].dtype).bits >= 32  # narrow weights are widened, once a chunk
    # A cell that projects by more than one matrix, or reads out by a wide one, wants its products over whole chunks.
    allowed = _width(cell) * units * (units + _FEW_FEATURES + 2)
    small = sum(w.size for w in jax.tree.leaves(params)) <= allowed
    return few and small and wide


def _units(cell: Cell) -> int:
    if isinstance(cell, GatedCell):
        return cell.hidden_size
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: cell.init_carry((), jnp.float32))))


def _width(cell: Cell) -> int:
    return cell.gates if isinstance(cell, GatedCell) else 1 if isinstance(cell, LinearCell) else _PLAIN_WIDTH


def _sequences(xs: PyTree) -> int:
    return math.prod(jax.tree.leaves(xs)[0].shape[1:-1])


def _numbers(cell: Cell, xs: PyTree) -> int:
    """In what a step makes of a whole batch by products."""
    return _sequences(xs) * _width(cell) * _units(cell)


def _chunk_length(time: int, bounds: _Bounds, numbers: int) -> int:
    """As many steps as fit, within bounds; next to that a divisor, so that no chunk has to be filled up."""
    target = min(max(bounds.numbers // max(numbers, 1), bounds.shortest), bounds.longest)
    if time <= target:
        return max(time, 1)
    shorter = [length for length in range(target, target // 2, -1) if time % length == 0]
    longer = [length for length in range(target, min(2 * target, bounds.longest) + 1) if time % length == 0]
    return next(iter(shorter + longer), target)
