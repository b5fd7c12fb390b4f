"""One chunk of a plain cell's recurrence: as of a gated one, with the products found in the traced step.

Reverse mode through `lax.scan` adds to the gradient of every weight at every step. Here the adjoint steps collect, for
each product x @ W inside `advance`, x and the product's cotangent, and one product per chunk gives W's share.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.backends.base import Steps, project, restart
from jaxrnn.backends.shared import (
    Saved,
    Weights,
    befores_of,
    has_plain_output,
    output_adjoint,
    outputs,
    scan_steps,
    through,
)
from jaxrnn.backends.traced import Traced
from jaxrnn.cell import Cell
from jaxrnn.numerics import carry_dtype, cast, matmul, plus, select, zero_unless


def _multiplied(multiply: functools.partial, x, weight, transposed, kept):
    return multiply(x, weight) if kept is None else kept


def _multiplied_forward(multiply: functools.partial, x, weight, transposed, kept):
    # Not by way of _product: a derivative of this one would meet the rule below, which leaves out W.
    return _multiplied(multiply, x, weight, transposed, kept), (x, transposed)


def _multiplied_backward(multiply: functools.partial, residuals, d_result):
    x, transposed = residuals
    precision = multiply.keywords["precision"]
    return matmul(d_result, transposed, precision).astype(x.dtype), None, None, None


_product = jax.custom_vjp(_multiplied, nondiff_argnums=(0,))
"""x @ W, or what was kept of it, whose cotangent of x is formed with W transposed once for all steps; W's is not."""
_product.defvjp(_multiplied_forward, _multiplied_backward)


@dataclass(frozen=True)
class PlainChunks:
    """How every chunk of one run is computed; `weights.recurrent` is what `traced.once` gives.

    `keep`: whether products go from the forward to the backward pass.
    """

    cell: Cell
    length: int
    reverse: bool
    keep: bool
    weights: Weights
    fresh: Any
    traced: Traced

    def forward(self, carry, steps: Steps):
        """The last carry, and (what backward needs, outputs unless they are plain)."""
        cell, weights = self.cell, self.weights
        us = project(cell, weights.params, steps)

        def step(carry, inputs):
            u, active, reset = inputs
            before = restart(self.fresh, reset, carry)
            products = []

            def product(n, multiply, x, matrix):
                products.append(multiply(x, matrix))
                return products[n]

            after = select(active, self.traced.step(weights.recurrent, before, u, product), before)
            return after, (after, products if self.keep else None)

        end, (carries, products) = scan_steps(step, carry, (us, steps.acting, steps.resets), self.reverse)
        ys = None if has_plain_output(cell, carries) else outputs(cell, weights.params, carries, us, steps)
        return end, (Saved(carry, carries, products), ys)

    def backward(self, cotangents, inputs):
        """See Chunks.backward."""
        d_carry, d_weights = cotangents
        steps, (first, carries, products), d_ys = inputs
        cell, weights, traced = self.cell, self.weights, self.traced
        befores = befores_of(first, carries, steps, self.fresh, self.reverse)
        us, project_vjp = jax.vjp(lambda p, x: project(cell, p, steps._replace(xs=x)), weights.params, steps.xs)
        d_params_direct, d_outputs, d_us_direct = output_adjoint(cell, weights.params, carries, us, steps, d_ys)
        matrices = {place: weights.recurrent[place].T for place in traced.products}
        small = [None if n in matrices else value for n, value in enumerate(weights.recurrent)]

        def adjoint_step(state, inputs):
            d_after, d_small = state
            before, u, products, d_output, active, reset = inputs
            d_after = plus(d_after, d_output)

            def step(small, before, u, terms):
                values = [matrix if s is None else s for s, matrix in zip(small, weights.recurrent, strict=True)]
                xs = []

                def product(n, multiply, x, matrix):
                    xs.append(x)
                    kept = None if products is None else products[n]
                    return _product(multiply, x, matrix, matrices[traced.products[n]], kept) + terms[n]

                return traced.step(values, before, u, product), xs

            _, step_vjp, xs = jax.vjp(step, small, before, u, traced.nothing(), has_aux=True)
            share, d_before, du, d_products = step_vjp(zero_unless(active, d_after))
            d_before = through(d_before, d_after, active, reset)
            return (d_before, jax.tree.map(jnp.add, d_small, share)), (du, xs, d_products)

        start = d_carry, jax.tree.map(jnp.zeros_like, small)
        streams = (befores, us, products, d_outputs, steps.acting, steps.resets)
        (d_carry, d_values), (du, xs, d_products) = scan_steps(adjoint_step, start, streams, not self.reverse)
        for place, precision, x, d_product in zip(traced.products, traced.precisions, xs, d_products, strict=True):
            by_matrix = functools.partial(matmul, x, precision=precision)
            _, product_vjp = jax.vjp(by_matrix, weights.recurrent[place])
            (share,) = product_vjp(d_product)
            d_values[place] = share if d_values[place] is None else d_values[place] + share
        d_params, d_xs = project_vjp(plus(du, d_us_direct))
        dtype = carry_dtype(steps.dtype)
        d_params = plus(cast(d_params, dtype), cast(d_params_direct, dtype))
        return (d_carry, plus(d_weights, Weights(d_params, d_values, ()))), d_xs
