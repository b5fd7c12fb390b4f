"""A step as equations: what parameters alone decide is parted from what every step does, and products are found."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from jaxrnn.backends.base import Steps, project
from jaxrnn.cell import Cell
from jaxrnn.numerics import carry_dtype


class Traced:
    """`advance` as equations, parted into what parameters alone decide, and the rest, which every step does.

    `products`: for each equation x @ W of the rest, the place of W among the values that the first part hands over.
    `smooth`: whether parameters, carry and u are real or complex numbers throughout, which have cotangents.
    """

    def __init__(self, cell: Cell, params, carry, steps: Steps):
        """Traces one step; of the arrays only their shapes are read."""
        first = jax.tree.map(lambda x: x[0], steps)
        u = jax.eval_shape(lambda params, step: project(cell, params, step), params, first)
        dtype = carry_dtype(steps.dtype)
        closed, after = jax.make_jaxpr(
            lambda params, carry, u: cell.advance(cell.widen(params, dtype), carry, u), return_shape=True
        )(params, carry, u)
        self._jaxpr, self._consts, self._carry = closed.jaxpr, closed.consts, jax.tree.structure(after)
        self._params = len(jax.tree.leaves(params))
        self.smooth = _smooth(self._jaxpr.invars)
        known = {*self._jaxpr.constvars, *self._jaxpr.invars[: self._params]}
        self._first, self._rest = [], []
        for equation in self._jaxpr.eqns:
            # What has no cotangents, whole numbers and truth values, is left to the step, and so is what has effects.
            movable = _smooth(equation.outvars) and not equation.effects
            decided = movable and known.issuperset(_variables(equation.invars))
            (self._first if decided else self._rest).append(equation)
            known.update(equation.outvars if decided else ())
        used = [v for equation in self._rest for v in _variables(equation.invars)] + _variables(self._jaxpr.outvars)
        self._held = list(dict.fromkeys(v for v in used if v in known and v not in self._jaxpr.constvars))
        candidates = [e for e in self._rest if _is_product(e) and e.invars[1] in self._held]
        weights = [e.invars[1] for e in candidates]
        alone = {w for w in weights if used.count(w) == weights.count(w)}  # read as W of products and as nothing else
        self._products = [e for e in candidates if e.invars[1] in alone]
        self.products = [self._held.index(e.invars[1]) for e in self._products]
        self.precisions = [e.params["precision"] for e in self._products]

    def once(self, params) -> list:
        """What the first part hands over."""
        known = self._constants() | dict(zip(self._jaxpr.invars, jax.tree.leaves(params), strict=False))
        _evaluate(self._first, known)
        return [known[v] for v in self._held]

    def _constants(self) -> dict:
        return dict(zip(self._jaxpr.constvars, self._consts, strict=True))

    def nothing(self) -> list:
        """A zero for each product."""
        return [jnp.zeros(e.outvars[0].aval.shape, e.outvars[0].aval.dtype) for e in self._products]

    def step(self, values: list, carry, u, product: Callable):
        """The carry after a step, where `product(n, multiply, x, W)` gives product n; `multiply(x, W)` is as traced."""
        known = self._constants() | dict(zip(self._held, values, strict=True))
        known |= dict(zip(self._jaxpr.invars[self._params :], jax.tree.leaves((carry, u)), strict=True))
        numbers = {id(e): n for n, e in enumerate(self._products)}
        _evaluate(self._rest, known, numbers, product)
        after = [v.val if isinstance(v, Literal) else known[v] for v in self._jaxpr.outvars]
        return jax.tree.unflatten(self._carry, after)


def _variables(variables) -> list:
    return [v for v in variables if not isinstance(v, Literal)]


def _smooth(variables) -> bool:
    return all(jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in variables)


def _is_product(equation) -> bool:
    """Whether it is x @ W with a matrix W."""
    if equation.primitive.name != "dot_general" or any(isinstance(v, Literal) for v in equation.invars):
        return False
    x, weight = (v.aval for v in equation.invars)
    return weight.ndim == 2 and equation.params["dimension_numbers"] == (((x.ndim - 1,), (0,)), ((), ()))


def _evaluate(equations: list, known: dict, numbers: dict | None = None, product: Callable | None = None) -> None:
    """Adds the results of the equations to what is known; `numbers` says which are products that `product` gives."""
    for equation in equations:
        inputs = [v.val if isinstance(v, Literal) else known[v] for v in equation.invars]
        bind = functools.partial(equation.primitive.bind, **equation.primitive.get_bind_params(equation.params))
        with equation.ctx.manager:
            if numbers and product and id(equation) in numbers:
                found = product(numbers[id(equation)], bind, *inputs)
            else:
                found = bind(*inputs)
        results = found if equation.primitive.multiple_results else [found]
        known.update(zip(equation.outvars, results, strict=True))
