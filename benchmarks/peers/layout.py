"""Gates in another order."""

from collections.abc import Sequence

import jax.numpy as jnp

R_Z_N = (1, 0, 2)  # from the z | r | n of jaxrnn's GRU
I_G_F_O = (0, 2, 1, 3)  # from the i | f | g | o of its LSTM


def reordered(weight, order: Sequence[int]):
    """The weight with its gates, equal parts of the last axis, in this order."""
    gates = jnp.split(weight, len(order), axis=-1)
    return jnp.concatenate([gates[n] for n in order], axis=-1)
