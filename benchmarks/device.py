"""Every kernel on the accelerator at hand: first whether it is right, then how fast it is.

Command:  python -m benchmarks.device
Runtime:  4 minutes for --parts checks heads dense on an H100, the other parts not timed yet; --smoke about a minute
          on 2 cores, kernels for TPUs interpreted
Expected: device.json, device.md and device.png in one folder
Method:   each result of each kernel is compared with a scan in float64 on the processor; two runs must give the same
          bits. Then programs that compute the same run in turn, A B C C B A, and each ratio is formed within one turn.
          A program is called several times before its results are waited for, so that launches are not what is
          measured. The peak is that of a large product, the bandwidth that of a large copy, both measured here.
"""

import concurrent.futures
import dataclasses
import importlib.metadata
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from benchmarks import device_report, gradient_norms
from benchmarks.command import Failed, check_at_least, check_seed, command, progress, ready_folder
from benchmarks.device_checks import Check, checks, differences
from benchmarks.device_programs import FULL, SMOKE, Race, Scale, races
from benchmarks.environment import machine, versions
from benchmarks.turns import WARM_UP, quartiles
from jaxrnn import ChunkedScan, CuDNN, Pallas, Scan

Part = Literal["checks", "heads", "dense", "flags", "linear", "gradients"]
PARTS: tuple[Part, ...] = ("checks", "heads", "dense", "flags", "linear", "gradients")
TURN_S, MOST_CALLS = 0.03, 50  # of one program in one turn
Call = Callable[[], Callable[[], Any]]  # starts a program and returns what waits for it


@dataclass(frozen=True)
class Settings:
    """Checks every kernel against float64, then times it beside scans, cuDNN and torch."""

    parts: tuple[Part, ...] = PARTS
    """What to do: checks of the numbers; recurrences with heads, of dense matrices, with flags; linear scans; the
    gradient benchmark's default cells at two lengths."""
    runs: int = 7
    """Timed turns, after a warm-up."""
    seed: int = 0
    """The key from which the data of the checks follow."""
    out: Path | None = None
    """Folder for the results. Default: scratch/device."""
    smoke: bool = False
    """A quick look that all works: tiny shapes, kernels interpreted, 2 turns."""


def plan(settings: Settings) -> tuple[Settings, Scale, Pallas, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    check_at_least(settings, 1, "runs")
    check_seed(settings)
    if not settings.parts:
        raise ValueError(f"--parts: must be some of {', '.join(PARTS)}, got none. Leave the flag out for all.")
    if settings.smoke:
        settings = dataclasses.replace(settings, runs=2)
        return settings, SMOKE, Pallas(target="v5e", interpret=True), ready_folder(settings.out, "device")
    if jax.default_backend() == "cpu":
        raise ValueError("device: this machine has no accelerator that JAX can use. Take --smoke, or another machine.")
    return settings, FULL, Pallas(), ready_folder(settings.out, "device")


def run(settings: Settings, scale: Scale, kernels: Pallas, folder: Path, messages: Console) -> None:
    """Checks, then times; everything is written after each step."""
    begin = time.perf_counter()
    found: dict[str, Any] = {
        "machine": machine(), "versions": versions() | _torch_version(), "settings": _recorded(settings),
        "peaks": None, "checks": [], "races": [], "gradients": None,
    }  # fmt: skip

    def save() -> None:
        device_report.write(folder, found | {"seconds": round(time.perf_counter() - begin)})

    with progress(messages) as bar:
        if "checks" in settings.parts:
            todo = list(checks(kernels, settings.smoke))
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:  # nearly all of it is compiling
                checked = pool.map(lambda check: _checked(check, settings.seed), todo)
                found["checks"] = list(bar.track(checked, len(todo), description="checks"))
            save()
        backends = kernels, CuDNN(), ChunkedScan(), Scan()
        wanted = [race for race in races(scale, backends) if race.group in settings.parts and race.programs]
        if wanted:
            found["peaks"] = peaks(scale)
        for group in dict.fromkeys(race.group for race in wanted):
            of_group = [race for race in wanted if race.group == group]
            compiled = list(bar.track(prepared(of_group), len(of_group), description=f"compiling {group}"))
            for race, calls in bar.track(compiled, description=f"timing {group}"):
                found["races"].append(_timed(race, calls, settings.runs))
                save()
    if "gradients" in settings.parts:
        found["gradients"] = _gradients(settings, messages)
    save()
    wrong = [f"{check['what']}: {name}" for check in found["checks"] for name in check["beyond"]]
    if wrong:
        raise Failed(f"beyond the limits of precision: {'; '.join(wrong)}.")


def _recorded(settings: Settings) -> dict[str, Any]:
    return {k: v for k, v in dataclasses.asdict(settings).items() if k != "out"}


def _torch_version() -> dict[str, str]:
    return {"torch": importlib.metadata.version("torch")} if importlib.util.find_spec("torch") else {}


def _checked(check: Check, seed: int) -> dict[str, Any]:
    told: dict[str, Any] = {"what": str(check), "precision": check.precision, "shares": {}, "beyond": []}
    if refused := check.refused():
        return told | {"refused": refused}
    try:
        shares = differences(check, seed)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other kernels are to be checked and timed
        return told | {"beyond": [f"failed: {type(error).__name__}: {error}".splitlines()[0]]}
    beyond = [name for name, (share, limit) in shares.items() if not share <= limit]
    return told | {"shares": {n: float(f"{share:.3g}") for n, (share, _) in shares.items()}, "beyond": beyond}


def peaks(scale: Scale) -> dict[str, float]:
    """Operations per second in large products by dtype, and bytes per second in a large copy."""
    size = 8192 if scale is FULL else 64
    found = {}
    for dtype in ("bfloat16", "float32"):
        a = jax.random.normal(jax.random.key(0), (size, size), dtype)
        found[dtype] = 2 * size**3 / _best(lambda a: a @ a, a)
    x = jnp.zeros(scale.copied)
    found["copy"] = 2 * x.nbytes / _best(lambda x: x + 1, x)
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def _best(function: Callable, *arguments) -> float:
    call = _caller(jax.jit(function).lower(*arguments).compile(), arguments)
    call()()
    return min(_seconds(call, 10) for _ in range(5))


def _caller(executable: Callable, arguments) -> Call:
    def call():
        results = executable(*arguments)
        return lambda: jax.block_until_ready(results)

    return call


def _seconds(call: Call, calls: int) -> float:
    """Of one call, when so many follow each other; the last one's end is that of all."""
    begin = time.perf_counter()
    wait: Callable[[], Any] = lambda: None  # noqa: E731
    for _ in range(calls):
        wait = call()
    wait()
    return (time.perf_counter() - begin) / calls


def prepared(wanted: list[Race]) -> Iterator[tuple[Race, dict[str, Any]]]:
    """Every race with its programs compiled, several at a time: traced one after the other, as Python has it."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: list[tuple[Race, dict[str, Any]]] = []
        for race in wanted:
            shapes = jax.eval_shape(race.draw)
            compiling: dict[str, Any] = {
                name: None if name == "torch" else pool.submit(jax.jit(program).lower(*shapes).compile)
                for name, program in race.programs.items()
            }
            waiting.append((race, compiling))
        for race, compiling in waiting:
            yield race, {name: c and c.result() for name, c in compiling.items()}


def _timed(race: Race, executables: dict[str, Any], runs: int) -> dict[str, Any]:
    """Milliseconds of each program, and its ratio to the first; quartiles."""
    arguments = race.draw()
    calls: dict[str, Call] = {
        name: race.programs[name]() if executable is None else _caller(executable, arguments)
        for name, executable in executables.items()
    }
    names = list(calls)
    for call in calls.values():
        call()()
    repeats = {n: int(np.clip(TURN_S / max(_seconds(call, 1), 1e-6), 1, MOST_CALLS)) for n, call in calls.items()}
    turns = []
    for turn in range(runs + WARM_UP):
        order = names if turn % 2 else names[::-1]
        seconds = {name: _seconds(calls[name], repeats[name]) for name in order}
        turns.append([seconds[name] for name in names])
    taken = np.array(turns[WARM_UP:])
    return {
        **{key: value for key, value in race._asdict().items() if key not in ("programs", "draw")},
        "programs": {
            name: {"ms": quartiles(1000 * taken[:, n]), "ratio": quartiles(taken[:, n] / taken[:, 0])}
            for n, name in enumerate(names)
        },
    }


def _gradients(settings: Settings, messages: Console) -> dict[str, Any]:
    """Seconds of the gradient benchmark, compiling included."""
    lengths = (8,) if settings.smoke else (128, 1024)
    small = {"seeds": 1, "batch": 2, "hidden_size": 4, "cells": ("Elman",)} if settings.smoke else {}
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:  # only its time is of interest
        planned = gradient_norms.plan(gradient_norms.Settings(lengths=lengths, out=Path(folder), **small))
        gradient_norms.run(*planned, messages)
    return {"lengths": lengths, "cells": planned[0].cells, "seconds": round(time.perf_counter() - begin, 1)}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments, "What was measured up to now is in")


if __name__ == "__main__":
    sys.exit(main())
