"""PyTorch's fused modules, with as many threads as there are cores; on a GPU they call cuDNN."""

# pyright: reportMissingImports=false

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.peers.layout import R_Z_N, reordered
from benchmarks.problems import Data, Problem
from benchmarks.programs import Program

MODULES = {"Elman": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}


def weights(cell: str, params):
    """Matrices (out, in); gates of the GRU r | z | n; a second bias, zero but for the GRU's b_h."""
    second = jnp.zeros_like(params.bias)
    if cell == "GRU":
        params = params._replace(
            **{name: reordered(getattr(params, name), R_Z_N) for name in ("input", "recurrent", "bias")}
        )
        second = second.at[-params.pointwise.shape[0] :].set(params.pointwise)
    return {
        "weight_ih_l0": params.input.T,
        "weight_hh_l0": params.recurrent.T,
        "bias_ih_l0": params.bias,
        "bias_hh_l0": second,
    }


def program(problem: Problem, data: Data, mode: str) -> Program:
    """Eager, as its users call it."""
    device = torch.device("cuda" if jax.default_backend() == "gpu" else "cpu")
    if hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    dtype = getattr(torch, problem.dtype)

    def tensor(array):
        return torch.tensor(np.asarray(array, np.float32), device=device, dtype=dtype)

    module = MODULES[problem.cell](problem.shape.features, problem.shape.hidden, device=device, dtype=dtype)
    layout = weights(problem.cell, data.params)
    module.load_state_dict({name: tensor(weight) for name, weight in layout.items()})
    xs, targets = tensor(data.xs).requires_grad_(mode == "train with inputs"), tensor(data.targets)

    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize()

    def forward():
        with torch.no_grad():
            ys = module(xs)[0]
        wait()
        return ys

    def train():
        module.zero_grad()
        xs.grad = None
        loss = ((module(xs)[0] - targets) ** 2).mean()
        loss.backward()
        wait()
        return loss

    run = forward if mode == "forward" else train

    def array(tensor):
        return jnp.asarray(tensor.detach().float().cpu().numpy(), data.xs.dtype)

    def results():
        found = run()
        if mode == "forward":
            return {"outputs": array(found)}
        by_weights = {name: array(parameter.grad) for name, parameter in module.named_parameters()}
        (by_params,) = jax.vjp(lambda p: weights(problem.cell, p), data.params)[1](by_weights)
        by_inputs = {"inputs": array(xs.grad)} if mode == "train with inputs" else {}
        return {"loss": array(found), "params": by_params} | by_inputs

    return Program(run, results, None, _growth(run) if device.type == "cpu" else None)


def _growth(run) -> int | None:
    """Bytes by which the resident set grew at most during a run, after one that warms up; Linux only."""
    run()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _status("VmRSS")
        run()
        return _status("VmHWM") - before
    except OSError:
        return None


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
