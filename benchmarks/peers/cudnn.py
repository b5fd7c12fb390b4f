"""cuDNN's LSTM by `jax.experimental.rnn`, for float32 and batch-first sequences on NVIDIA GPUs."""

import jax.numpy as jnp
from jax.experimental import rnn

BATCH_FIRST = True


def weights(cell: str, params):
    """One flat array: matrices (out, in) of inputs and states, and two biases, of which the second is zero."""
    parts = (params.input.T, params.recurrent.T, params.bias, jnp.zeros_like(params.bias))
    return jnp.concatenate([part.reshape(-1) for part in parts])


def network(problem):
    """One layer, one direction, all sequences of the same length."""
    shape = problem.shape
    lengths = jnp.full((shape.batch,), shape.time, jnp.int32)
    start = jnp.zeros((1, shape.batch, shape.hidden), problem.dtype)

    def apply(weights, xs):
        sizes = shape.features, shape.hidden
        ys, *_ = rnn.lstm(xs, start, start, weights, lengths, *sizes, 1, 0.0, False)  # pyright: ignore[reportGeneralTypeIssues]
        return ys

    return apply
