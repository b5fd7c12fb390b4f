"""Layers of Keras on its JAX backend, which know batch-first sequences only."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # read when Keras is imported

import jax.numpy as jnp
import keras

LAYERS = {
    "Elman": keras.layers.SimpleRNN,
    "LSTM": keras.layers.LSTM,
    "GRU": keras.layers.GRU,
    "ResetBeforeGRU": keras.layers.GRU,
}
BATCH_FIRST = True


def weights(cell: str, params):
    """LSTM and GRU have the same order of gates; a GRU that resets after the product has a second bias."""
    bias = params.bias
    if cell == "GRU":
        gates = jnp.zeros_like(bias[: -params.pointwise.shape[0]])
        bias = jnp.stack([bias, jnp.concatenate([gates, params.pointwise])])
    return [params.input, params.recurrent, bias]


def network(problem):
    """The layer as a pure function of its variables."""
    shape = problem.shape
    options = {"reset_after": problem.cell == "GRU"} if problem.cell.endswith("GRU") else {}
    layer = LAYERS[problem.cell](shape.hidden, return_sequences=True, dtype=problem.dtype, **options)
    layer.build((shape.batch, shape.time, shape.features))
    others = [variable.value for variable in layer.non_trainable_variables]
    return lambda weights, xs: layer.stateless_call(weights, others, xs)[0]
