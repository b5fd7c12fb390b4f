"""Tokens as vectors, one-hot, and the check that they are numbers of a set."""

import numpy as np
from jaxtyping import Array, Float32, Integer

from jaxrnn.cell import is_size


def one_hot(tokens: Integer[Array | np.ndarray, "*shape"], size: int) -> Float32[np.ndarray, "*shape size"]:
    """1 at each token's place among `size` zeros: y[..., k] = 1 if tokens[...] = k, else 0.

    It runs in NumPy, where values can be looked at: `jax.nn.one_hot`, which can be compiled, makes nothing but zeros of
    a token that is out of range. The product one_hot(tokens) W holds the rows W[tokens], as an embedding does.

    Raises:
        ValueError: `size` is below 1, or a token is no whole number, below 0 or not below `size`.

    Example:
        >>> one_hot(np.array([2, 0]), 3)
        array([[0., 0., 1.],
               [1., 0., 0.]], dtype=float32)
    """
    if not is_size(size):
        raise ValueError(f"one_hot: `size` must be a whole number of at least 1, got {size!r}. Give such one.")
    numbers = checked("one_hot: `tokens`", tokens, size, "Give the size of the vocabulary or alphabet they are of.")
    encoded = np.zeros((*numbers.shape, size), np.float32)
    np.put_along_axis(encoded, numbers[..., None].astype(np.int64), 1, axis=-1)
    return encoded


def checked(
    name: str, tokens: Integer[Array | np.ndarray, "*shape"], size: int, cure: str
) -> Integer[np.ndarray, "*shape"]:
    """The tokens in NumPy.

    Raises:
        ValueError: one is no whole number from 0 to size - 1; `name` says whose they are.
    """
    numbers = np.asarray(tokens)
    if numbers.size == 0:
        return numbers.astype(np.int32)  # what NumPy makes of an empty list is real
    if not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"{name} must be whole numbers, got {numbers.dtype}. {cure}")
    outside = numbers[(numbers < 0) | (numbers >= size)]
    if outside.size:
        raise ValueError(f"{name} must lie between 0 and {size - 1}, got {outside[0]}. {cure}")
    return numbers
