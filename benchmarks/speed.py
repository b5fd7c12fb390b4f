"""The train step of jaxrnn beside flax.linen.RNN: time and temporary memory, on the machine at hand.

Command:  python -m benchmarks.speed
Runtime:  about 40 seconds on 2 cores; --smoke a few
Expected: speed.png, speed.json and speed.md in one folder; a ratio below 1 means that jaxrnn is faster
Method:   the same weights in both; outputs and gradients are compared first, and what computes something else is
          not timed. Then the two run in turn, and each ratio is formed within one turn.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import flax.linen
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from rich.console import Console

import jaxrnn
from benchmarks.command import Failed, check_at_least, check_seed, command, progress, ready_folder
from benchmarks.environment import machine, versions
from benchmarks.turns import in_turn, quartiles
from jaxrnn import files

matplotlib.use("Agg")
import matplotlib.pyplot as plt


class Shape(NamedTuple):
    """Sizes of one problem."""

    batch: int
    time: int
    features: int
    hidden: int


SHAPES = (Shape(32, 128, 128, 256), Shape(64, 256, 64, 128))
SMOKE_SHAPES = (Shape(2, 8, 3, 4),)
TOLERANCE = 1e-4  # of the largest entry: what float32 sums in another order may differ by


@dataclass(frozen=True)
class Settings:
    """Times the train step (value and gradient of a mean squared loss by the parameters) against flax.linen.RNN."""

    runs: int = 15
    """Timed turns of each problem, after a warm-up."""
    seed: int = 0
    """The key from which weights and data follow."""
    out: Path | None = None
    """Folder for the results. Default: scratch/speed."""
    smoke: bool = False
    """A quick look that all works: one tiny shape, 3 turns."""


def flax_lstm(params: jaxrnn.GatedParams) -> dict[str, Any]:
    """Weights of jaxrnn.LSTM as flax.linen.OptimizedLSTMCell names them."""
    kernels = zip(
        "ifgo", *(jnp.split(w, 4, axis=-1) for w in (params.input, params.recurrent, params.bias)), strict=True
    )
    cell = {}
    for gate, from_input, from_hidden, bias in kernels:
        cell[f"i{gate}"] = {"kernel": from_input}
        cell[f"h{gate}"] = {"kernel": from_hidden, "bias": bias}
    return {"params": {"cell": cell}}


def flax_gru(params: jaxrnn.GatedParams) -> dict[str, Any]:
    """Weights of jaxrnn.GRU as flax.linen.GRUCell names them."""
    kernels = zip(
        "zrn", *(jnp.split(w, 3, axis=-1) for w in (params.input, params.recurrent, params.bias)), strict=True
    )
    cell: dict[str, Any] = {}
    for gate, from_input, from_hidden, bias in kernels:
        cell[f"i{gate}"] = {"kernel": from_input, "bias": bias}
        cell[f"h{gate}"] = {"kernel": from_hidden}
    cell["hn"]["bias"] = params.pointwise
    return {"params": {"cell": cell}}


PEERS: dict[str, tuple[Any, Any, Callable]] = {
    "LSTM": (jaxrnn.LSTM, flax.linen.OptimizedLSTMCell, flax_lstm),
    "GRU": (jaxrnn.GRU, flax.linen.GRUCell, flax_gru),
}


def train_step(outputs: Callable, params, xs, targets):
    """Compiled value and gradient of mean((outputs(params, xs) - targets)^2) by the parameters."""

    def loss(params, xs, targets):
        return jnp.mean((outputs(params, xs) - targets) ** 2)

    return jax.jit(jax.value_and_grad(loss)).lower(params, xs, targets).compile()


def check_equal(what: str, ours, theirs) -> None:
    """Raises Failed unless two trees are the same to rounding."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        if not np.abs(a - b).max() <= TOLERANCE * np.abs(b).max():
            raise Failed(f"{what}: the two compute different things, off by {np.abs(a - b).max()}. It was not timed.")


def measure(name: str, shape: Shape, runs: int, seed: int) -> dict[str, Any]:
    """One problem: times in ms, ratio, temporary memory in MiB."""
    make, make_peer, convert = PEERS[name]
    cell, peer = make(shape.hidden), flax.linen.RNN(make_peer(shape.hidden), time_major=True)
    keys = jax.random.split(jax.random.key(seed), 3)
    params = cell.init(keys[0], shape.features)
    xs = jax.random.normal(keys[1], (shape.time, shape.batch, shape.features), jnp.float32)
    targets = jax.random.normal(keys[2], (shape.time, shape.batch, shape.hidden), jnp.float32)
    converted = convert(params)
    ours = train_step(lambda p, xs: jaxrnn.unroll(cell, p, xs)[1], params, xs, targets)
    theirs = train_step(peer.apply, converted, xs, targets)
    what = f"{name} {tuple(shape)}"
    check_equal(what, jaxrnn.unroll(cell, params, xs)[1], peer.apply(converted, xs))
    loss, gradient = ours(params, xs, targets)
    check_equal(what, (loss, convert(gradient)), theirs(converted, xs, targets))
    timed = 1000 * in_turn((lambda: ours(params, xs, targets), lambda: theirs(converted, xs, targets)), runs)
    memory = [round(getattr(step.memory_analysis(), "temp_size_in_bytes", 0) / 2**20, 1) for step in (ours, theirs)]
    return {
        "cell": name,
        "shape": shape._asdict(),
        "jaxrnn_ms": quartiles(timed[:, 0]),
        "flax_ms": quartiles(timed[:, 1]),
        "ratio": quartiles(timed[:, 0] / timed[:, 1]),
        "jaxrnn_temporary_mib": memory[0],
        "flax_temporary_mib": memory[1],
    }


def label(row: dict[str, Any]) -> str:
    """The cell and (B, T, D, H)."""
    return f"{row['cell']} ({', '.join(str(n) for n in row['shape'].values())})"


HEADINGS = (
    "cell (B, T, D, H)", "jaxrnn, ms", "flax.linen.RNN, ms", "ratio (quartiles)", "temporary memory, MiB",
)  # fmt: skip


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """The table of medians, ratio with quartiles."""

    def cells(row: dict[str, Any]) -> tuple[str, ...]:
        low, middle, high = row["ratio"]
        return (
            label(row),
            f"{row['jaxrnn_ms'][1]:.1f}",
            f"{row['flax_ms'][1]:.1f}",
            f"{middle:.2f} ({low:.2f} to {high:.2f})",
            f"{row['jaxrnn_temporary_mib']} against {row['flax_temporary_mib']}",
        )

    return files.markdown_table(HEADINGS, map(cells, rows))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Bars of the ratio with quartiles, and a line where both are equal."""
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.6 * len(rows)), layout="constrained")
    middle = np.array([row["ratio"][1] for row in rows])
    spread = np.abs(np.array([[row["ratio"][0], row["ratio"][2]] for row in rows]).T - middle)
    bars = axes.barh([label(row) for row in rows], middle, xerr=spread, color="#0072B2", height=0.6, capsize=4)
    axes.bar_label(bars, [f"{m:.2f}" for m in middle], label_type="center", color="white", fontsize=14)
    axes.axvline(1, color="black", linestyle="--", linewidth=1.5)
    axes.set_xlim(0, max(1.2, 1.25 * float((middle + spread[1]).max())))
    axes.invert_yaxis()
    axes.tick_params(labelsize=12)
    axes.set_xlabel("time of jaxrnn / time of flax.linen.RNN (left of the dashed line: jaxrnn is faster)", fontsize=12)
    axes.set_title("Train step, medians and quartiles; cell (B, T, D, H)", fontsize=14, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    check_at_least(settings, 1, "runs")
    check_seed(settings)
    return settings, ready_folder(settings.out, "speed")


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Times one problem after the other and writes everything after each."""
    shapes, runs = (SMOKE_SHAPES, 3) if settings.smoke else (SHAPES, settings.runs)
    problems = [(name, shape) for shape in shapes for name in PEERS]
    rows: list[dict[str, Any]] = []
    recorded = {k: v for k, v in dataclasses.asdict(settings).items() if k != "out"}
    peer = {"flax": flax.__version__}
    with progress(messages) as bar:
        for name, shape in bar.track(problems, description="problems"):
            rows.append(measure(name, shape, runs, settings.seed))
            content = {"settings": recorded, "versions": versions() | peer, "machine": machine(), "rows": rows}
            written = {
                "speed.json": files.text(json.dumps(content, indent=1) + "\n"),
                "speed.md": files.text(to_markdown(rows)),
                "speed.png": lambda path: draw(rows, path),
            }
            files.write_all(folder, written)
    print(to_markdown(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments, "The problems that were timed are in")


if __name__ == "__main__":
    sys.exit(main())
