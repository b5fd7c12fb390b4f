"""Gates in another order."""

from collections.abc import Sequence

import jax.numpy as jnp


def reordered(weight, order: Sequence[int]):
    """The weight with its gates, equal parts of the last axis, in this order."""
    gates = jnp.split(weight, len(order), axis=-1)
    return jnp.concatenate([gates[n] for n in order], axis=-1)
