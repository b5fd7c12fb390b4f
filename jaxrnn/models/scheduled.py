"""Schedules of the part of own tokens in scheduled sampling (Bengio et al., 2015, https://arxiv.org/abs/1506.03099).

The paper gives the probability of the true token at update i; the rate here is 1 minus that, the part of own tokens.
Two of its three decays stand in Optax:

    linear           optax.linear_schedule(0.0, 1 - least, transition_steps=updates)
    exponential      1 - optax.exponential_decay(1.0, transition_steps=1, decay_rate=k)(i),   k < 1
    inverse sigmoid  inverse_sigmoid(k)(i)
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num


def inverse_sigmoid(k: float | int) -> Callable[[Num[Array | np.ndarray, ""] | int], Float[Array, ""]]:
    """The rate of own tokens by update, 1 - k / (k + exp(i / k)); it passes 1/2 at i = k ln k.

        rate = sigmoid(i / k - ln k)        the same, without exp of a large number

    Args:
        k: At least 1, in updates; the larger, the later own tokens come in. The first update has a rate of 1 / (k + 1).

    Raises:
        ValueError: k is below 1.

    Example:
        >>> schedule = inverse_sigmoid(100.0)
        >>> [round(float(schedule(i)), 3) for i in (0, 461, 1000, 10**9)]
        [0.01, 0.501, 0.995, 1.0]
    """
    if not k >= 1:
        raise ValueError(f"inverse_sigmoid: `k` must be at least 1, got {k}. Give some such as 1000, in updates.")

    def rate(count):
        return jax.nn.sigmoid(jnp.asarray(count).astype(jnp.float32) / k - math.log(k))

    return rate
