"""What JAX's kernels for GPUs lack in some of its versions or in all: one name each here."""

import importlib
from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.custom_batching import sequential_vmap
from jax.experimental.pallas import mosaic_gpu as plgpu
from jax.extend.core import Literal

from jaxrnn.backends.meeting import CALLS


def load(ref, layout) -> Any:
    """What stands behind a reference, spread over the registers of a warpgroup by `layout`."""
    return plgpu.load(ref, layout=layout, optimized=False)  # pyright: ignore[reportCallIssue]


def lowered(function: Callable) -> Callable:
    """The function in operations that GPU kernels know: without calls, nor `add_any`, by which derivatives add."""

    def run(*args):
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        return jax.tree.unflatten(jax.tree.structure(shape), _evaluate(closed, jax.tree.leaves(args)))

    return run


def _evaluate(closed, args: list) -> list:
    jaxpr = closed.jaxpr
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    known |= dict(zip(jaxpr.invars, args, strict=True))

    def value(variable):
        return variable.val if isinstance(variable, Literal) else known[variable]

    for equation in jaxpr.eqns:
        inputs, name = [value(v) for v in equation.invars], equation.primitive.name
        if name == "add_any":
            results = [lax.add(*inputs)]
        elif name in CALLS:
            results = _evaluate(equation.params.get("jaxpr") or equation.params["call_jaxpr"], inputs)
        else:
            results = equation.primitive.bind(*inputs, **equation.params)
            results = results if equation.primitive.multiple_results else [results]
        known.update(zip(equation.outvars, results, strict=True))
    return [value(v) for v in jaxpr.outvars]


def launch(kernel: Callable, arrays: list, interpret: bool) -> list:
    """Runs a kernel, or where `interpret` holds its equations, on any device; under vmap one launch after the other."""

    @sequential_vmap
    def run(*arrays):
        if not interpret:
            return kernel(*arrays)
        mode = interpreter()
        with mode.force_gpu_interpret_mode(mode.InterpretGPUParams()):
            return kernel(*arrays)

    return run(*arrays)


def interpreter() -> Any:
    """The module that switches interpretation on, which has no public name before JAX 0.12."""
    if hasattr(plgpu, "force_gpu_interpret_mode"):
        return plgpu
    return importlib.import_module("jax._src.pallas.mosaic_gpu.interpret.params")
