"""Linear cells by a plain `jax.lax.associative_scan` over time."""

import jax.numpy as jnp
from jax import lax


def weights(cell: str, params):
    """As they are."""
    return params


def network(problem):
    """(a, b) of all steps at once, composed in parallel."""
    cell = problem.build()

    def compose(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    def apply(params, xs):
        us = cell.project(params, xs)
        a, b = cell.coefficients(params, us)
        _, hs = lax.associative_scan(compose, (jnp.broadcast_to(a, b.shape), b))
        return cell.readout(params, hs, us)

    return apply
