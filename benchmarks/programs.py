"""One library's program for one problem, ready to be timed, and what it computes in a form that can be compared."""

import resource
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.problems import Data, Problem

MODES = ("forward", "train", "train with inputs")


class Program(NamedTuple):
    """`run` computes once, until all is there; `results` gives outputs, or loss and gradients by jaxrnn's layout.

    `compile_s` and `temporary` (bytes beside arguments and results) are None where there is no compiled executable.
    """

    run: Callable[[], Any]
    results: Callable[[], dict[str, Any]]
    compile_s: float | None
    temporary: int | None


def squared_error(ys, targets):
    """The mean over everything of (ys - targets)^2."""
    return jnp.mean((ys - targets) ** 2)


def jax_program(peer: Any, problem: Problem, data: Data, mode: str) -> Program:
    """The program of a JAX peer. Nothing is donated: a value and its gradients leave every argument in use."""
    apply = peer.network(problem)

    def layout(params):
        return peer.weights(problem.cell, params) if hasattr(peer, "weights") else params

    batch_first = getattr(peer, "BATCH_FIRST", False)
    weights = jax.tree.map(lambda w: w.copy(), jax.jit(layout)(data.params))

    def own(sequence):
        return jnp.swapaxes(sequence, 0, 1) if batch_first else sequence

    def loss(weights, xs, targets):
        return squared_error(apply(weights, xs), targets)

    by = {"train": 0, "train with inputs": (0, 1)}
    function = apply if mode == "forward" else jax.value_and_grad(loss, by[mode])
    arguments = (weights, own(data.xs)) if mode == "forward" else (weights, own(data.xs), own(data.targets))
    jax.clear_caches()
    begin = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    compile_s = time.perf_counter() - begin

    def results() -> dict[str, Any]:
        found = program(*arguments)
        if mode == "forward":
            return {"outputs": own(found)}
        value, gradient = found
        by_weights, by_inputs = gradient if mode == "train with inputs" else (gradient, None)
        (by_params,) = jax.vjp(layout, data.params)[1](
            jax.tree.map(lambda w, d: d.astype(w.dtype), weights, by_weights)
        )
        return {"loss": value, "params": by_params} | ({} if by_inputs is None else {"inputs": own(by_inputs)})

    temporary = getattr(program.memory_analysis(), "temp_size_in_bytes", None)
    return Program(lambda: jax.block_until_ready(program(*arguments)), results, compile_s, temporary)


def faults_of(run: Callable[[], Any]) -> int:
    """Minor page faults of one run of this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
