"""cuDNN's LSTM, by `jax.experimental.rnn`, its weights converted at the edge."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap
from jax.experimental import rnn
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, PyTree

from jaxrnn.backends.base import Backend, Steps, finish
from jaxrnn.backends.scan import Scan
from jaxrnn.cell import Cell, GatedParams
from jaxrnn.cells.lstm import LSTM, LSTMCarry
from jaxrnn.numerics import select, zero_unless

_EXACT = ("highest", "float32", "F32_F32_F32", "TF32_TF32_F32_X3")  # settings that ask for more than TF32


@dataclass(frozen=True)
class CuDNN(Backend):
    """The float32 LSTM of NVIDIA's cuDNN. Lengths are honoured; masks and resets it does not know.

    Products are rounded to TF32, unless `jax.default_matmul_precision` asks for more ("highest", "float32"). Reverse
    mode to any order, beyond the first by the steps of Scan(); forward mode needs Scan(). Under `jax.vmap` one run
    follows the other.
    """

    def refuses(self, cell: Cell, xs: PyTree) -> str | None:
        """Refuses all but a float32 LSTM in one head on an NVIDIA GPU."""
        if type(cell) is not LSTM:
            return f"cuDNN's kernel is that of an LSTM, and this is a {type(cell).__name__}"
        if cell.heads != 1:
            return f"cuDNN's LSTM has no heads, and this one has {cell.heads}"
        leaves = jax.tree.leaves(xs)
        if len(leaves) != 1:
            return f"cuDNN's LSTM takes one array of inputs, and `xs` holds {len(leaves)}"
        if leaves[0].dtype != jnp.float32:
            return f"`jax.experimental.rnn` takes float32, and `xs` is {leaves[0].dtype}"
        device = jax.devices()[0]
        if device.platform != "gpu" or not device.device_kind.startswith("NVIDIA"):
            return f"cuDNN is for NVIDIA GPUs, and the first device is {device.device_kind}"
        return None

    def refuses_flags(self, mask: bool, resets: bool) -> str | None:
        """See Backend."""
        found = [name for name, given in (("mask", mask), ("resets", resets)) if given]
        return f"cuDNN's LSTM knows lengths alone, and `{found[0]}` is given" if found else None

    def run(self, cell: Cell, params, carry, steps: Steps, reverse: bool):
        """See Backend."""
        assert isinstance(cell, LSTM)  # see `refuses`
        batch_shape = carry.h.shape[:-1]
        if steps.time == 0 or carry.h.size == 0 or steps.xs.size == 0:
            return Scan().run(cell, params, carry, steps, reverse)

        def merged(tree, axis: int = 0):
            return jax.tree.map(lambda x: x.reshape(*x.shape[:axis], -1, x.shape[-1]), tree)

        xs, start = merged(zero_unless(steps.active, steps.xs), 1), merged(carry)
        lengths = jnp.full(start.h.shape[:1], steps.time, jnp.int32)
        if steps.active is not None:
            lengths = steps.active.sum(0, dtype=jnp.int32).reshape(-1)
        turn = functools.partial(_turned, lengths=lengths) if reverse else lambda x: x
        counted = jnp.maximum(lengths, 1)  # what an empty sequence gives is not taken
        (end, ys), _ = _lstm(cell, params, start, turn(xs), counted)
        end = select(lengths > 0, end, start)
        ys = turn(ys).reshape(steps.time, *batch_shape, -1)
        return jax.tree.map(lambda x: x.reshape(*batch_shape, -1), end), finish(ys, steps.active, steps.dtype)


def _turned(xs, lengths):
    """Each sequence (time, batch, ...) against time, what pads it left behind it."""
    t = jnp.arange(xs.shape[0], dtype=jnp.int32)[:, None]
    return jnp.take_along_axis(xs, jnp.where(t < lengths, lengths - 1 - t, t)[..., None], axis=0)


def _weights(params: GatedParams) -> Array:
    """In one array: matrices (out, in) of inputs and states, and two biases, of which the second is zero."""
    parts = params.input.T, params.recurrent.T, params.bias, jnp.zeros_like(params.bias)
    return jnp.concatenate([part.reshape(-1) for part in parts])


def _options(params: GatedParams, config: Any) -> tuple:
    """Of its functions: sizes, one layer without dropout in one direction, precision."""
    exact = config.jax_default_matmul_precision in _EXACT
    precision = lax.Precision.HIGHEST if exact else lax.Precision.HIGH
    return params.input.shape[0], params.recurrent.shape[0], 1, 0.0, False, precision


def _sequences_first(x):
    return jnp.swapaxes(x, 0, 1)


def _in_order(tree: PyTree) -> PyTree:
    """With the last axis innermost in memory, as cuDNN takes all arrays; XLA may turn axes by turning their order."""
    return jax.tree.map(lambda x: with_layout_constraint(x, Layout(tuple(range(x.ndim)))), tree)


def _run(cell: LSTM, params: GatedParams, carry: LSTMCarry, xs, lengths):
    """((last carry, ys), what its adjoint needs)."""

    @sequential_vmap
    def call(params, carry, xs, lengths):
        arrays = _in_order((_sequences_first(xs), carry.h[None], carry.c[None], _weights(params), lengths))
        results, kept = rnn.lstm_fwd(*arrays, *_options(params, jax.config))
        ys, h, c = _in_order(results)
        return (LSTMCarry(h[0], c[0]), _sequences_first(ys)), kept[-1]

    return call(params, carry, xs, lengths)


def _lstm_forward(cell: LSTM, params, carry, xs, lengths):
    (end, ys), kept = _lstm(cell, params, carry, xs, lengths)
    return ((end, ys), kept), (params, carry, xs, lengths, ys, kept)


def _lstm_backward(cell: LSTM, residuals, cotangents):
    return *_adjoint(cell, *residuals, cotangents[0]), None


def _run_adjoint(cell: LSTM, params, carry, xs, lengths, ys, kept, cotangents):
    """The cotangents of parameters, carry and xs."""

    @sequential_vmap
    def call(params, carry, xs, lengths, ys, kept, cotangents):
        d_end, d_ys = cotangents
        weights, to_weights = jax.vjp(_weights, params)
        arrays = _sequences_first(xs), carry.h[None], carry.c[None], weights, lengths, _sequences_first(ys), kept
        gradients = _sequences_first(d_ys), d_end.h[None], d_end.c[None]
        inputs = [*_options(params, jax.config), _in_order(arrays), _in_order(gradients)]
        results = rnn.lstm_bwd(*inputs)
        d_xs, d_h, d_c, d_weights = _in_order(results[:4])
        return *to_weights(d_weights), LSTMCarry(d_h[0], d_c[0]), _sequences_first(d_xs)

    return call(params, carry, xs, lengths, ys, kept, cotangents)


def _adjoint_forward(cell: LSTM, params, carry, xs, lengths, ys, kept, cotangents):
    inputs = params, carry, xs, lengths, ys, kept, cotangents
    return _adjoint(cell, *inputs), (params, carry, xs, lengths, cotangents)


def _adjoint_backward(cell: LSTM, residuals, second):
    """By the steps of a scan, which computes the same."""
    params, carry, xs, lengths, cotangents = residuals
    valid = jnp.arange(xs.shape[0], dtype=jnp.int32)[:, None] < lengths

    def adjoint(params, carry, xs, cotangents):
        run = lambda p, c, x: Scan().run(cell, p, c, Steps(x, valid), False)  # noqa: E731
        return jax.vjp(run, params, carry, xs)[1](cotangents)

    d_params, d_carry, d_xs, d_cotangents = jax.vjp(adjoint, params, carry, xs, cotangents)[1](second)
    return d_params, d_carry, d_xs, None, None, None, d_cotangents


_lstm: Any = jax.custom_vjp(_run, nondiff_argnums=(0,))
_adjoint: Any = jax.custom_vjp(_run_adjoint, nondiff_argnums=(0,))
_lstm.defvjp(_lstm_forward, _lstm_backward)
_adjoint.defvjp(_adjoint_forward, _adjoint_backward)
