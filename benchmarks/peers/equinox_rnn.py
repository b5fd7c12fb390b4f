"""Equinox cells, mapped over the batch inside `jax.lax.scan`, as its documentation shows."""

import equinox
import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.peers.layout import R_Z_N, reordered

CELLS = {"LSTM": equinox.nn.LSTMCell, "GRU": equinox.nn.GRUCell}


def weights(cell: str, params):
    """Matrices (out, in); gates of the GRU r | z | n."""
    if cell == "LSTM":
        return {"weight_ih": params.input.T, "weight_hh": params.recurrent.T, "bias": params.bias}
    return {
        "weight_ih": reordered(params.input, R_Z_N).T,
        "weight_hh": reordered(params.recurrent, R_Z_N).T,
        "bias": reordered(params.bias, R_Z_N),
        "bias_n": params.pointwise,
    }


def network(problem):
    """The cell with these weights in its fields."""
    shape, lstm = problem.shape, problem.cell == "LSTM"
    template = CELLS[problem.cell](shape.features, shape.hidden, key=jax.random.key(0))

    def apply(weights, xs):
        cell = equinox.tree_at(lambda cell: [getattr(cell, name) for name in weights], template, list(weights.values()))

        def step(state, x):
            state = jax.vmap(cell)(x, state)
            return state, state[0] if lstm else state

        start = jnp.zeros((shape.batch, shape.hidden), xs.dtype)
        return lax.scan(step, (start, start) if lstm else start, xs)[1]

    return apply
