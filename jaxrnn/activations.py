"""Pointwise nonlinearities by name, so that cells print, compare and hash by them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array


def _identity(x: Array) -> Array:
    return x


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "softmax": jax.nn.softmax,
    "identity": _identity,
}

Activation = str | Callable[[Array], Array]


def activation(choice: Activation) -> Callable[[Array], Array]:
    """The function behind a name ("tanh", "relu", "sigmoid", "softmax", "identity"), or a callable as it is.

    Raises:
        ValueError: the name is not known.
    """
    if callable(choice):
        return choice
    if choice not in ACTIVATIONS:
        raise ValueError(
            f"activation: unknown name {choice!r}. Use one of {', '.join(map(repr, ACTIVATIONS))}, "
            "or pass a module-level function of one array."
        )
    return ACTIVATIONS[choice]
