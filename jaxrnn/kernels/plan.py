"""How a kernel for a gated cell cuts its work into tiles, chosen by what the memory of a chip holds."""

import itertools
from typing import NamedTuple

from jaxrnn.errors import UnsupportedBackend
from jaxrnn.kernels.chips import Chip
from jaxrnn.kernels.grid import LANES, SUBLANES, round_up

# Values of one step that the compiler keeps beside what `memory` counts otherwise, in arrays (rows, width): about 2.5
# for each product and projection and 1 more, and 6 more for float32 in highest precision; see ROOMY for the rest.
SPARE_TILES_FLOAT32 = 6
# The part of the memory that all but the smallest tiles are planned for: the compiler is now and then 0.5% above.
ROOMY = 0.97
# Steps of a chunk. Beginning one costs about as much as a short step, so a few at least, before more rows are tried.
CHUNKS, SHORT_CHUNKS = (32, 16, 8, 4), (2, 1)

UNITS = 64  # of a warpgroup of a GPU: rows of its smallest product
SEQUENCES = (16, 32)  # of a block: from the smallest product's columns to as many flags as are copied at once
AHEAD = (4, 3, 2, 1)  # steps that a block fetches before their use; more than a few hide no more of memory's latency
_SMALL = 4096  # bytes of a block's shared memory for flags, barriers and alignment


class Problem(NamedTuple):
    """What the memory of a kernel depends on.

    `time`, `batch`: of the sequences. `width`: units that meet in a step. `gates`:
    products by the recurrent matrix, of which the projections of `apart` are read apart from them. `extras`: further
    arrays in u. `carries`: arrays in the carry, `outputs` of which have cotangents at every step. `pointwise`: arrays
    of pointwise parameters that all sequences share, and `own_pointwise` of which each has its own. `itemsize`: bytes
    of a number in the recurrent matrix.
    """

    time: int
    batch: int
    width: int
    gates: int
    apart: int = 0
    extras: int = 0
    carries: int = 1
    outputs: int = 1
    pointwise: int = 0
    own_pointwise: int = 0
    itemsize: int = 4

    @property
    def matrices(self) -> str:
        """In words."""
        kind = "matrix" if self.gates == 1 else "matrices"
        return f"{self.gates} recurrent {kind} of {self.width} x {self.width}"


class Plan(NamedTuple):
    """Tiles of a kernel: sequences at a time, steps per chunk (fetched ahead, on a GPU); bytes that it may use."""

    batch_tile: int
    chunk: int
    limit: int


def memory(problem: Problem, batch_tile: int, chunk: int, trained: bool) -> int:
    """Bytes on the chip of the forward kernel, or where `trained` of the larger one, backward.

        forward   R + 2 K b (w (u + C) + 128) + b w (3 C + 3 P + spare) + constants
        backward  R + 2 K b (w (u + C + outputs) + 128) + 2 K b w' d + b w (3 C + 3 P + spare) + constants

    with R bytes of matrices, K steps of b rows and w units, u arrays of projections, C of carries, P of pointwise
    parameters that each sequence has for itself, and d adjoints out in the size w' of the parameters; all else is
    float32. What streams is held twice, and 128 are the lanes of flags.
    """
    rows, width = round_up(batch_tile, SUBLANES), round_up(problem.width, LANES)
    tile, size = 4 * rows * width, problem.itemsize
    matrices = problem.gates * round_up(problem.width, 32 // size) * width * size
    streams, narrow = problem.gates + problem.extras + problem.carries, 0
    if trained:
        streams += problem.apart + problem.extras + problem.outputs
        narrow = (problem.gates + problem.apart) * round_up(batch_tile, 32 // size) * width * size
    flowing = 2 * chunk * (streams * tile + narrow + 4 * rows * LANES)
    spare = 2.5 * (problem.gates + problem.apart) + 1 + (SPARE_TILES_FLOAT32 if size == 4 else 0)
    constants = (3 * problem.pointwise if trained else problem.pointwise + problem.carries) * 4 * SUBLANES * width
    return matrices + flowing + int((3 * (problem.carries + problem.own_pointwise) + spare) * tile) + constants


def plan(problem: Problem, chip: Chip, trained: bool = True) -> Plan:
    """The tiles for a problem on a chip: as many sequences as its matrix unit takes, and chunks of up to 32 steps.

    `trained`: for a run with its gradient, whose backward kernel is the larger one.

    A GPU's block holds a head and the fewest sequences that its matrix unit takes, and fetches up to 4 steps ahead.

    Raises:
        UnsupportedBackend: not even the smallest tiles fit.

    Example:
        >>> from jaxrnn.kernels.chips import CHIPS
        >>> lstm = Problem(time=1024, batch=64, width=1024, gates=4, carries=2, itemsize=2)
        >>> plan(lstm, CHIPS["v5p"]).batch_tile, plan(lstm, CHIPS["v5p"]).chunk
        (64, 8)
    """
    if chip.platform == "cuda":
        return _plan_block(problem, chip, trained)
    least = 32 // problem.itemsize
    counts = range(-(-problem.batch // chip.rows), -(-problem.batch // least) + 1)
    tiles = [problem.batch if n == 1 else round_up(-(-problem.batch // n), least) for n in counts]
    for chunks in (CHUNKS, SHORT_CHUNKS):
        for batch_tile, chunk in itertools.product(dict.fromkeys(tiles), chunks):
            chunk = min(chunk, problem.time)
            if memory(problem, batch_tile, chunk, trained) <= ROOMY * chip.memory:
                return Plan(batch_tile, chunk, chip.memory)
    if memory(problem, tiles[-1], 1, trained) <= chip.memory:
        return Plan(tiles[-1], 1, chip.memory)
    least_bytes = memory(problem, tiles[-1], 1, trained)
    raise UnsupportedBackend(
        f"{problem.matrices} and the smallest tile, "
        f"{tiles[-1]} sequences and one step, take {least_bytes / 2**20:.1f} MiB of on-chip memory "
        f"{'with a gradient' if trained else 'without a gradient'}, and {chip} has {chip.memory / 2**20:.1f}"
    )


def block_memory(problem: Problem, batch_tile: int, ahead: int, trained: bool) -> int:
    """Bytes of shared memory of the forward kernel for a GPU, or where `trained` of the larger one of both.

        forward   2 gates w^2 + b w (4 u ahead + 2 * 2 + 2 * 4 C)
        backward  2 gates w^2 + b w (4 (u + C + outputs + apart) ahead + 2 * 2 (gates + apart))

    for w units and b sequences: matrices; what is fetched `ahead` steps before its use, u arrays of projections, C of
    carries (without a gradient only the outputs of them leave); and two steps of what a product reads and of what
    leaves, 16-bit h and adjoints, carries in 32 bits.
    """
    projections = problem.gates + problem.extras
    forward = 4 * projections * ahead + 4 + 8 * (problem.carries if trained else problem.outputs)
    fetched = projections + problem.carries + problem.outputs + problem.apart
    backward = 4 * fetched * ahead + 4 * (problem.gates + problem.apart)
    streams = max(forward, backward) if trained else forward
    return 2 * problem.gates * problem.width**2 + batch_tile * problem.width * streams + _SMALL


def _plan_block(problem: Problem, chip: Chip, trained: bool) -> Plan:
    fits = [n for n in AHEAD if block_memory(problem, chip.rows, n, trained) <= chip.memory]
    if not fits:
        least = block_memory(problem, chip.rows, 1, trained)
        narrower = (problem._replace(width=width) for width in range(problem.width - UNITS, 0, -UNITS))
        widest = (p.width for p in narrower if block_memory(p, chip.rows, 1, trained) <= chip.memory)
        raise UnsupportedBackend(
            f"{problem.matrices} and {chip.rows} sequences take {least / 1024:.0f} KiB of the shared memory of a "
            f"block, and {chip} has {chip.memory / 1024:.0f}; the widest head that fits has {next(widest, 0)} units"
        )
    return Plan(chip.rows, fits[0], chip.memory)
