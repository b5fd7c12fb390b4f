"""The same cells by a plain `jax.lax.scan`, written as one would by hand: all that needs no carry outside the loop."""

from jax import lax

from jaxrnn.cell import LinearCell
from jaxrnn.numerics import carry_dtype, cast


def network(problem):
    """Projections of all steps at once, then the loop; of a linear cell only h' = a * h + b is in it."""
    cell, shape = problem.build(), problem.shape

    def nonlinear(params, xs):
        start = cell.init_carry((shape.batch,), carry_dtype(xs.dtype))

        def step(carry, u):
            carry, y = cell.step(params, carry, u)
            return carry, y.astype(xs.dtype)

        return lax.scan(step, start, cell.project(params, xs))[1]

    def linear(params, xs):
        us = cast(cell.project(params, xs), carry_dtype(xs.dtype))
        wide = cell.widen(params, carry_dtype(xs.dtype))
        a, b = cell.coefficients(wide, us)

        def step(h, inputs):
            a, b = inputs
            h = a * h + b
            return h, h

        start = cell.init_carry((shape.batch,), carry_dtype(xs.dtype)).h
        if a.ndim == b.ndim:
            hs = lax.scan(step, start, (a, b))[1]
        else:  # the same a at every step
            hs = lax.scan(lambda h, b: step(h, (a, b)), start, b)[1]
        return cell.readout(wide, hs, us).astype(xs.dtype)

    return linear if isinstance(cell, LinearCell) else nonlinear
