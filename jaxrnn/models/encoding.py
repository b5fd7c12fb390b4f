"""What models share: inputs embedded and run through a recurrent layer, and one key for several noises."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer, PyTree

from jaxrnn.network import Network
from jaxrnn.nn import RNN
from jaxrnn.sequence import Bidirectional


def split_key(name: str, key, count: int) -> tuple[Any, ...]:
    """One key for each of `count` uses; Nones without a key, for an evaluation.

    Raises:
        TypeError: `key` is an nnx.Rngs.

    Example:
        >>> split_key("Tagger", None, 2)
        (None, None)
    """
    if isinstance(key, nnx.Rngs | nnx.RngStream):
        raise TypeError(f"{name}: `key` must be a key, got {type(key).__name__}. Give rngs.dropout().")
    return (None,) * count if key is None else tuple(jax.random.fold_in(key, use) for use in range(count))


def valid_steps(time: int, lengths: Integer[Array | np.ndarray, "*batch"]) -> Bool[Array, "time *batch"]:
    """True at the steps of each sequence, False in its padding.

    Example:
        >>> valid_steps(3, jnp.array([2, 0])).tolist()
        [[True, False], [True, False], [False, False]]
    """
    lengths = jnp.asarray(lengths).astype(jnp.int32)  # 8 bits may not hold the time
    return jnp.arange(time, dtype=jnp.int32).reshape(-1, *(1,) * lengths.ndim) < lengths


def drop(dropout: nnx.Dropout, x: Float[Array, "..."], key) -> Float[Array, "..."]:
    """Dropout if there is a key, and `dropout.deterministic` does not turn it off; else x."""
    return x if key is None else dropout(x, rngs=key)


def check_parts(name: str, embed, rnn) -> None:
    """Raises TypeError unless `rnn` is a recurrent layer, ValueError if an nnx.Embed does not fit it."""
    if not isinstance(rnn, RNN):
        raise TypeError(
            f"{name}: `rnn` must be a recurrent layer such as jaxrnn.nn.RNN, got {type(rnn).__name__}. "
            "Of a cell make one by jaxrnn.nn.RNN(cell, in_features, rngs=rngs)."
        )
    if isinstance(embed, nnx.Embed) and embed.features != rnn.in_features:
        raise ValueError(
            f"{name}: `embed` must have the {rnn.in_features} features that `rnn` takes, got {embed.features}. "
            f"Build the layer with in_features={embed.features}."
        )


def check_forward(name: str, cell) -> None:
    """Raises ValueError where a Bidirectional is in `cell`, which shall tell what comes next."""
    if isinstance(cell, Bidirectional):
        raise ValueError(
            f"{name}: `rnn` must run forward alone, got {cell}: what runs backward has seen the tokens that it should "
            "tell. Take its forward cell."
        )
    for part in cell.parts if isinstance(cell, Network) else ():
        check_forward(name, part)


def encode(
    name: str, embed, dropout: nnx.Dropout, rnn: RNN, inputs: PyTree, lengths, key
) -> Float[Array, "time batch features"]:
    """The outputs of `rnn` over embedded inputs; without `embed` the inputs are features already."""
    input_key, layer_key = split_key(name, key, 2)
    xs = inputs if embed is None else embed(inputs)
    return rnn(drop(dropout, xs, input_key), lengths=lengths, key=layer_key)[1]
