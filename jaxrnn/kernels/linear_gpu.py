"""h_t = a_t * h_{t-1} + b_t, elementwise, as one kernel for NVIDIA GPUs: a stream that the memory's speed bounds.

A thread holds one h in its registers, and a block of them goes through time alone; a and b are fetched some steps ahead
into shared memory, and h leaves by it. A number is a tuple of its parts, (real,) or (real, imaginary).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jaxrnn.kernels.linear import Number, times
from jaxrnn.kernels.mosaic import launch, load

_NUMBERS = 128  # of a block: one for each thread of a warpgroup
_AHEAD, _LEAVING = 3, 2  # chunks on their way in and out
_CHUNK = 16  # steps of a chunk of real numbers, so that several blocks share a processor's memory
_LAYOUT = plgpu.Layout.WG_STRIDED((_NUMBERS,), vec_size=1)


def linear_scan(a: Number, b: Number, h0: Number, reverse: bool, interpret: bool) -> Number:
    """All h_t, from a (time, numbers), or (numbers,) where it is the same at every step, b and h0, float32.

    Where a is zero, h_{t-1} counts as zero whatever it is: a sequence begins afresh.
    """
    time, count = b[0].shape
    constant, parts = a[0].ndim == 1, len(b)
    chunk = min(time, _CHUNK // parts)
    whole, rest = divmod(time, chunk)
    missing = -count % _NUMBERS
    a, b, h0 = jax.tree.map(lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)]), (a, b, h0))
    streams = b if constant else (*a, *b)

    def kernel(*refs, arriving, leaving, arrived):
        refs, outputs = refs[:-parts], refs[-parts:]
        inputs, states = refs[: len(streams)], refs[len(streams) :]
        columns = pl.ds(lax.axis_index("block") * _NUMBERS, _NUMBERS)
        fixed = tuple(load(ref.at[columns], _LAYOUT) for ref in states[:-parts])

        def rows(c, steps: int):
            return pl.ds(time - c * chunk - steps if reverse else c * chunk, steps)

        def fetch(c, steps: int):
            for number, ref in enumerate(inputs):
                target = arriving.at[c % _AHEAD, number, pl.ds(0, steps)]
                plgpu.copy_gmem_to_smem(ref.at[rows(c, steps), columns], target, arrived.at[c % _AHEAD])

        def run(c, h, steps: int):
            plgpu.barrier_wait(arrived.at[c % _AHEAD])
            plgpu.wait_smem_to_gmem(_LEAVING - 1, wait_read_only=True)
            for k in reversed(range(steps)) if reverse else range(steps):
                now = tuple(load(arriving.at[c % _AHEAD, number, k], _LAYOUT) for number in range(len(inputs)))
                h = _step(fixed or now[:parts], now[-parts:], h)
                for number, value in enumerate(h):
                    leaving.at[c % _LEAVING, number, k][...] = value
            plgpu.commit_smem()
            for number, ref in enumerate(outputs):
                source = leaving.at[c % _LEAVING, number, pl.ds(0, steps)]
                plgpu.copy_smem_to_gmem(source, ref.at[rows(c, steps), columns], commit_group=number == parts - 1)
            return h

        for c in range(min(_AHEAD, whole)):
            fetch(c, chunk)

        def body(c, h):
            h = run(c, h, chunk)
            pl.when(c + _AHEAD < whole)(lambda: fetch(c + _AHEAD, chunk))
            return h

        h = lax.fori_loop(0, whole, body, tuple(load(ref.at[columns], _LAYOUT) for ref in states[-parts:]))
        if rest:
            fetch(whole, rest)
            run(whole, h, rest)
        plgpu.wait_smem_to_gmem(0)

    def memory(chunks: int, arrays: int) -> Any:
        return plgpu.SMEM((chunks, arrays, chunk, _NUMBERS), jnp.float32)

    call = plgpu.kernel(
        kernel,
        out_type=[jax.ShapeDtypeStruct(b[0].shape, jnp.float32)] * parts,
        scratch_types={
            "arriving": memory(_AHEAD, len(streams)),
            "leaving": memory(_LEAVING, parts),
            "arrived": plgpu.Barrier(num_arrivals=len(streams), num_barriers=_AHEAD),
        },
        grid=(b[0].shape[1] // _NUMBERS,),
        grid_names=("block",),
        compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
    )
    hs = launch(call, [*streams, *(a if constant else ()), *h0], interpret)
    return tuple(x[:, :count] for x in hs)


def _step(a: Number, b: Number, h: Number) -> Number:
    afresh = a[0] == 0 if len(a) == 1 else (a[0] == 0) & (a[1] == 0)
    carried = tuple(jnp.where(afresh, 0.0, x) for x in times(a, h))
    return tuple(x + y for x, y in zip(carried, b, strict=True))
