"""The recurrence of a linear cell in a fused kernel, real or complex."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from jaxrnn.backends.linear import with_adjoint
from jaxrnn.backends.rows import Rows
from jaxrnn.kernels import linear_tpu


def _parts(x) -> tuple:
    return (x.real, x.imag) if jnp.iscomplexobj(x) else (x,)


@functools.cache
def fused_scan(memory: int, interpret: bool) -> Callable:
    """`scan(a, b, h0, resets, reverse)` as `with_adjoint` takes it; `memory`: bytes on the chip."""

    def scan(a, b, h0, resets, reverse: bool):
        rows, constant = Rows(h0.shape[:-1], tile=1), a.ndim < b.ndim
        a = jnp.broadcast_to(a, h0.shape if constant else b.shape)
        hs = linear_tpu.linear_scan(
            rows.merge(_parts(a), 0 if constant else 1), rows.merge(_parts(b), 1), rows.merge(_parts(h0)),
            rows.flags(b.shape[0], None, resets), reverse, memory, interpret,
        )  # fmt: skip
        hs = rows.part(hs, 1)
        return lax.complex(*hs) if len(hs) == 2 else hs[0]

    return with_adjoint(scan)
