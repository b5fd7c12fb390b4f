"""The recurrence of a linear cell in a fused kernel, real or complex."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.backends.linear import with_adjoint
from jaxrnn.backends.rows import Rows
from jaxrnn.kernels import linear_gpu, linear_tpu
from jaxrnn.kernels.chips import Chip
from jaxrnn.numerics import zero_where


def _parts(x) -> tuple:
    return (x.real, x.imag) if jnp.iscomplexobj(x) else (x,)


def _whole(parts: tuple):
    return lax.complex(*parts) if len(parts) == 2 else parts[0]


@functools.cache
def fused_scan(chip: Chip, interpret: bool) -> Callable:
    """`scan(a, b, h0, resets, reverse)` as `with_adjoint` takes it."""

    def scan_on_tpu(a, b, h0, resets, reverse: bool):
        rows, constant = Rows(h0.shape[:-1], tile=1), a.ndim < b.ndim
        a = jnp.broadcast_to(a, h0.shape if constant else b.shape)
        hs = linear_tpu.linear_scan(
            rows.merge(_parts(a), 0 if constant else 1), rows.merge(_parts(b), 1), rows.merge(_parts(h0)),
            rows.flags(b.shape[0], None, resets), reverse, chip.memory, interpret,
        )  # fmt: skip
        return _whole(rows.part(hs, 1))

    def scan_on_gpu(a, b, h0, resets, reverse: bool):
        constant = a.ndim < b.ndim and resets is None
        a = zero_where(resets, jnp.broadcast_to(a, h0.shape if constant else b.shape))
        flat = lambda x, *time: jax.tree.map(lambda part: part.reshape(*time, -1), _parts(x))  # noqa: E731
        time = b.shape[0]
        hs = linear_gpu.linear_scan(flat(a) if constant else flat(a, time), flat(b, time), flat(h0), reverse, interpret)
        return _whole(hs).reshape(b.shape)

    return with_adjoint(scan_on_tpu if chip.platform == "tpu" else scan_on_gpu)
