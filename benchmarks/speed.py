"""jaxrnn beside other libraries: forward and train steps of the same cells with the same weights.

Command:  python -m benchmarks.speed          (make bench: two shapes; make bench-full: all)
Runtime:  80 minutes on 2 cores for all 168 rows, 10 seconds to 5 minutes each; --smoke about a minute
Expected: speed.jsonl, speed.md and speed.png in one folder; a ratio below 1 means that jaxrnn is faster. The same
          command goes on with a run that was interrupted
Method:   one process for each peer and shape. All have the same weights, laid out in their own way; outputs, losses
          and gradients are compared first, and what computes something else is not timed. Then they run in turns,
          each in an order drawn anew, and each ratio is formed within one turn. The limit is what the products
          of the problem take, without the recurrence, at the speed of a large product on this machine.
"""

import dataclasses
import hashlib
import importlib.metadata
import os
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import numpy as np
from rich.console import Console

from benchmarks import speed_report
from benchmarks.command import Failed, check_at_least, check_seed, command, progress, ready_folder
from benchmarks.contestant import Contestant
from benchmarks.environment import Device, machine, use_device, versions
from benchmarks.peers import JAX_PEERS, OURS, PEERS
from benchmarks.problems import CELLS, LINEAR, LINEAR_SHAPES, NONLINEAR, SHAPES, Problem, Shape, operations, parse_shape
from benchmarks.programs import MODES
from benchmarks.turns import WARM_UP, quartiles

SMOKE_SHAPE, SMOKE_RUNS = Shape(2, 8, 3, 4), 3
# Of the largest entry: what sums in another order may differ by, on accelerators products of narrow operands too.
TOLERANCES = {("cpu", "float32"): 1e-4, ("gpu", "float32"): 1e-2, ("tpu", "float32"): 5e-2}
TOLERANCE_16_BITS = 1e-1


@dataclass(frozen=True)
class Settings:
    """Times forward and train steps (value and gradient of a mean squared loss) of jaxrnn and of other libraries."""

    shapes: tuple[str, ...] = ()
    """batch x time x features x hidden, such as 32x128x128x256. Default: eight for nonlinear cells, four for linear."""
    cells: tuple[str, ...] = tuple(CELLS)
    """Which cells."""
    peers: tuple[str, ...] = ()
    """Which libraries beside jaxrnn. Default: all that are installed."""
    modes: tuple[str, ...] = MODES
    """Forward alone, the gradient by the parameters, the gradient by parameters and inputs."""
    runs: int = 15
    """Timed turns, after a warm-up."""
    at_most: float | None = None
    """Exit with 1 where a ratio to the fastest JAX peer is above this."""
    device: Device | None = None
    """cpu, gpu (adds bfloat16 and cuDNN) or tpu. Default: what JAX takes."""
    seed: int = 0
    """The key from which weights and data follow."""
    out: Path | None = None
    """Folder for the results. Default: scratch/speed."""
    smoke: bool = False
    """A quick look that all works: one tiny shape, train steps by the parameters, 3 turns."""


def check_names(settings: Settings) -> None:
    """Raises ValueError where a cell, a peer or a mode is unknown, or a peer cannot be imported."""
    for name, known in (("cells", CELLS), ("peers", PEERS), ("modes", MODES)):
        for value in getattr(settings, name):
            if value not in known:
                raise ValueError(f"--{name}: must be of {', '.join(known)}, got {value}.")
    for name in settings.peers:
        if jax.default_backend() not in PEERS[name].devices:
            raise ValueError(f"--peers: {name} does not run on a {jax.default_backend()}. Leave it out.")
        if not PEERS[name].installed():
            raise ValueError(f"--peers: {name} is not installed. Leave it out, or pip install {PEERS[name].package}.")


def plan(settings: Settings) -> tuple[Settings, list[Problem], list[str], list[dict[str, Any]], Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    check_at_least(settings, 1, "runs")
    check_seed(settings)
    own_shapes = tuple(map(parse_shape, settings.shapes))
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # all processes share an accelerator's memory
    use_device(settings.device)
    check_names(settings)
    device = jax.default_backend()
    installed = [name for name, peer in PEERS.items() if device in peer.devices and peer.installed()]
    peers = [OURS, *(name for name in settings.peers or installed if name != OURS)]
    dtypes = ("float32",) if device == "cpu" else ("float32", "bfloat16")
    shapes = {True: own_shapes or LINEAR_SHAPES, False: own_shapes or SHAPES}
    if settings.smoke:
        shapes = {True: (SMOKE_SHAPE,), False: (SMOKE_SHAPE,)}
        settings = dataclasses.replace(settings, modes=("train",))
    problems = [
        Problem(cell, shape, dtype, settings.seed)
        for group in (NONLINEAR, LINEAR)
        for shape in shapes[group == LINEAR]
        for dtype in dtypes
        for cell in group
        if cell in settings.cells
    ]
    folder = ready_folder(settings.out, "speed")
    rows = speed_report.read(folder / "speed.jsonl", header(settings, peers))
    return settings, problems, peers, rows, folder


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """For each result the largest difference as a share of the largest entry; what they lack is left out."""
    found = {}
    for name, own in ours.items():
        leaves, others = jax.tree.leaves(own), jax.tree.leaves(theirs[name])
        if len(others) < len(leaves):  # a peer without one of the parameters
            kept = jax.tree.map(lambda _, other: other is not None, own, theirs[name], is_leaf=lambda x: x is None)
            leaves = [leaf for leaf, keep in zip(leaves, jax.tree.leaves(kept), strict=True) if keep]
        shares = [
            np.abs(np.float64(a) - np.float64(b)).max() / max(np.abs(np.float64(a)).max(), 1e-30)
            for a, b in zip(leaves, others, strict=True)
        ]
        found[name] = float(np.max(shares))  # a NaN shows, which Python's max may pass over
    return found


def measure(problem: Problem, mode: str, sides: dict[str, Contestant], runs: int) -> dict[str, Any]:
    """One row: jaxrnn and every peer that has this cell and computes the same."""
    found, reference = {}, {}
    for name, side in sides.items():
        try:
            results, cost = side.ask("prepare", problem, mode)
        except Failed as error:
            if name == OURS:
                raise
            found[name] = {"off": None, "failed": str(error)}
            continue
        reference = reference or results  # jaxrnn is the first
        off = float(np.max(list(differences(reference, results).values())))
        memory = cost["temporary"]
        found[name] = {
            "off": float(f"{off:.2g}"),
            "compile_s": cost["compile_s"] and round(cost["compile_s"], 3),
            "temporary_mib": None if memory is None else round(memory / 2**20, 2),
        }
    tolerance = TOLERANCES.get((jax.default_backend(), problem.dtype), TOLERANCE_16_BITS)
    same = [name for name in found if found[name]["off"] is not None and found[name]["off"] <= tolerance]
    if OURS not in same:
        raise Failed(f"jaxrnn: {problem} is not finite. Nothing was timed.")
    times: dict[str, list[float]] = {name: [] for name in same}
    order = random.Random(f"{problem} {mode}")  # a new one each turn: what ran before may leave its mark on the next

    def ask(name: str, question: str) -> Any:
        """The answer; None where a library failed, which is left out from then on."""
        try:
            return sides[name].ask(question)
        except Failed as error:
            if name == OURS:
                raise
            found[name] = {"off": None, "failed": str(error)}
            del times[name]

    for _ in range(runs + WARM_UP):
        for name in order.sample(list(times), len(times)):
            if (taken := ask(name, "run")) is not None:
                times[name].append(1000 * taken)
    for name in list(times):
        if (faults := ask(name, "faults")) is not None:
            own, theirs = (np.array(times[of][WARM_UP:]) for of in (OURS, name))
            found[name] |= {"ms": quartiles(theirs), "ratio": quartiles(own / theirs), "page_faults": faults}
    return {"cell": problem.cell, "shape": problem.shape, "dtype": problem.dtype, "mode": mode, "peers": found}


def measure_all(
    todo: list[tuple[Problem, str]], peers: list[str], settings: Settings, runs: int, fingerprint: str
) -> Iterator[dict[str, Any]]:
    """All rows; each shape has processes of its own, which import the sources as they are then."""
    groups: dict[tuple, list[tuple[Problem, str]]] = {}
    for problem, mode in todo:
        groups.setdefault((problem.shape, problem.dtype, problem.cell in LINEAR), []).append((problem, mode))
    for (_, dtype, linear), group in groups.items():
        wanted = [name for name in peers if any(PEERS[name].takes(problem) for problem, _ in group)]
        sides = {name: Contestant(name, settings.device) for name in wanted}
        try:
            for side in sides.values():
                side.ask("ready")  # so that the peak is measured on a quiet machine
            if sources() != fingerprint:
                raise Failed("jaxrnn/ or benchmarks/ changed while this ran. Remove the results and measure again.")
            peak = sides[OURS].ask("peak", dtype)
            for problem, mode in group:
                for name in [name for name, side in sides.items() if not side.alive()]:
                    sides[name] = Contestant(name, settings.device)
                taking = {name: side for name, side in sides.items() if PEERS[name].takes(problem)}
                row = measure(problem, mode, taking, runs)
                limit = None if linear else float(f"{1000 * operations(problem, mode) / peak:.4g}")
                yield row | {"limit_ms": limit, "peak_gflops": float(f"{peak / 1e9:.4g}")}
        finally:
            for side in sides.values():
                side.stop()


def header(settings: Settings, peers: list[str]) -> dict[str, Any]:
    """The first line of the data: what was asked for, and of what."""
    packages = sorted({PEERS[name].package for name in peers})
    recorded = {k: v for k, v in dataclasses.asdict(settings).items() if k in ("runs", "seed", "smoke")}
    found = versions() | {name: importlib.metadata.version(name) for name in packages}
    return {"settings": recorded, "peers": peers, "versions": found, "machine": machine(), "sources": sources()}


def sources() -> str:
    """A fingerprint of all that is timed and of how: rows of other sources are not mixed with these."""
    root, found = Path(__file__).resolve().parents[1], hashlib.sha256()
    for path in sorted([*root.glob("jaxrnn/**/*.py"), *root.glob("benchmarks/**/*.py")]):
        found.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:16]


def run(
    settings: Settings,
    problems: list[Problem],
    peers: list[str],
    rows: list[dict[str, Any]],
    folder: Path,
    messages: Console,
) -> None:
    """Measures what is not there yet, and writes everything after each row."""
    first, runs = header(settings, peers), SMOKE_RUNS if settings.smoke else settings.runs
    done = {speed_report.key(row) for row in rows}
    todo = [
        (problem, mode)
        for problem in problems
        for mode in settings.modes
        if (problem.cell, problem.shape, problem.dtype, mode) not in done
    ]
    missing = [name for name, peer in PEERS.items() if not peer.installed()]
    if missing:
        messages.print(f"Not installed, and so not timed: {', '.join(missing)}.", markup=False)
    if not todo:
        messages.print(f"All rows were there already. To measure again, remove {folder / 'speed.jsonl'}.", markup=False)
    with progress(messages) as bar:
        task = bar.add_task("problems", total=len(todo))
        for row in measure_all(todo, peers, settings, runs, first["sources"]):
            rows.append(row)
            speed_report.write(folder, first, rows)
            bar.advance(task)
    speed_report.write(folder, first, rows)
    print(speed_report.summary(rows))
    told = [f"{speed_report.label(row)}, {row['mode']}: {name}" for row in rows for name in speed_report.untimed(row)]
    if told:
        raise Failed(f"these failed or compute something else, and were not timed: {'; '.join(told)}.")
    if settings.at_most is not None:
        slow = [
            f"{speed_report.label(row)}, {row['mode']}: {ratio:.2f} of {name}"
            for row in rows
            for name, ratio in [speed_report.best(row, JAX_PEERS)]
            if not ratio <= settings.at_most
        ]
        if slow:
            raise Failed(f"slower than {settings.at_most} times the fastest peer: {'; '.join(slow)}.")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
