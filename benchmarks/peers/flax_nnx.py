"""flax.nnx.RNN, time first."""

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.peers.layout import R_Z_N, reordered

MODULES = {"Elman": nnx.SimpleCell, "LSTM": nnx.OptimizedLSTMCell, "GRU": nnx.GRUCell}
MISSING = {"GRU": ("pointwise",)}  # parameters of jaxrnn that it has not


def weights(cell: str, params):
    """Gates of the LSTM in the same order, of the GRU r | z | n; its GRU has no b_h, which is zero here."""
    dense_i, dense_h = {"kernel": params.input}, {"kernel": params.recurrent}
    if cell == "GRU":
        dense_i, dense_h = {"kernel": reordered(params.input, R_Z_N)}, {"kernel": reordered(params.recurrent, R_Z_N)}
    (dense_h if cell == "LSTM" else dense_i)["bias"] = reordered(params.bias, R_Z_N) if cell == "GRU" else params.bias
    return {"dense_i": dense_i, "dense_h": dense_h}


def network(problem):
    """The module taken apart once, and put together again in every call, as its documentation shows."""
    shape = problem.shape
    cell = MODULES[problem.cell](shape.features, shape.hidden, rngs=nnx.Rngs(0), keep_rngs=False)
    graph, params, random = nnx.split(nnx.RNN(cell, time_major=True, rngs=nnx.Rngs(0)), nnx.Param, ...)

    def apply(weights, xs):
        start = jnp.zeros((shape.batch, shape.hidden), xs.dtype)
        state = jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(weights))  # both in order of names
        return nnx.merge(graph, state, random)(xs, initial_carry=(start, start) if problem.cell == "LSTM" else start)

    return apply
