"""What the options of unroll cost, and what they save: masks, lengths, resets, buckets, checkpoints, compiled updates.

Command:  python -m benchmarks.unroll_cost
Runtime:  3 minutes on 2 cores; --smoke half a minute
Expected: unroll_cost.md, .json and .png in one folder. At most: 1.10 of the plain step with masks, lengths or resets;
          0.5 of the padded time with batches by length, where the mean length is about T / 4; 1/3 of the time of a
          loop over Trainer.step with Trainer.steps; with checkpoints every sqrt(T) steps, memory twice as large (and
          5% more) over 4 times the steps, and compile times 1.5 times as long over 64 times the steps.
          What is beyond these is told at the end, and the exit code is 1; of tiny sizes nothing is told
Method:   two programs run in turn, and each ratio is formed within one turn; memory is what XLA plans beside arguments
          and results, which are inputs, outputs and the gradients of both.
"""

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator
from rich.console import Console

import jaxrnn
from benchmarks.command import Failed, check_at_least, check_seed, command, progress, ready_folder
from benchmarks.environment import machine, versions
from benchmarks.problems import Problem, Shape, draw
from benchmarks.programs import squared_error
from benchmarks.turns import in_turn, quartiles
from jaxrnn import files
from jaxrnn.data import Buckets, lengths
from jaxrnn.train import Trainer, losses

OPTION_LIMIT, BUCKET_LIMIT, STEPS_LIMIT = 1.10, 0.5, 1 / 3
MEMORY_LIMIT, COMPILE_LIMIT = 2.1, 1.5
COMPILATIONS = 3  # of which the median is told
OPTIONS = ("mask", "lengths", "resets")
GATED = ("Elman", "GRU", "LSTM")


@dataclass(frozen=True)
class Sizes:
    """Sizes of all problems."""

    options: tuple[Shape, ...] = (Shape(32, 128, 128, 256), Shape(64, 256, 64, 128), Shape(16, 512, 32, 64))
    buckets: Shape = Shape(32, 256, 64, 128)
    checkpoints: tuple[Shape, ...] = tuple(Shape(4, 4**n, 16, 64) for n in (5, 6, 7, 8))
    steps: Shape = Shape(32, 50, 2, 32)
    updates: int = 100


SMOKE = Sizes(
    options=(Shape(2, 8, 3, 4),),
    buckets=Shape(2, 8, 3, 4),
    checkpoints=(Shape(2, 16, 3, 4), Shape(2, 64, 3, 4)),
    steps=Shape(2, 8, 2, 4),
    updates=4,
)


@dataclass(frozen=True)
class Settings:
    """Times masks, lengths, resets, batches by length and compiled updates; plans memory over long times."""

    runs: int = 15
    """Timed turns of each pair, after a warm-up."""
    seed: int = 0
    """The key from which weights and data follow."""
    out: Path | None = None
    """Folder for the results. Default: scratch/unroll_cost."""
    smoke: bool = False
    """A quick look that all works: tiny sizes, 3 turns."""


def train_step(cell, xs, targets, params, **options) -> Callable:
    """The compiled gradient of a mean squared error by the parameters, bound to its arguments."""

    def loss(params, xs, targets, options):
        return squared_error(jaxrnn.unroll(cell, params, xs, **options)[1], targets)

    program = jax.jit(jax.value_and_grad(loss)).lower(params, xs, targets, options).compile()
    return lambda: program(params, xs, targets, options)


def pair(what: str, case: str, limit: float, plain: Callable, other: Callable, runs: int) -> dict[str, Any]:
    """One row: the time of `other` beside that of `plain`."""
    timed = 1000 * in_turn((plain, other), runs)
    return {
        "what": what,
        "case": case,
        "plain_ms": quartiles(timed[:, 0]),
        "other_ms": quartiles(timed[:, 1]),
        "ratio": quartiles(timed[:, 1] / timed[:, 0]),
        "limit": round(limit, 3),
    }


def option_rows(sizes: Sizes, runs: int, seed: int) -> Iterator[dict[str, Any]]:
    """A step with an option beside one without."""
    keys = jax.random.split(jax.random.key(seed), 3)
    for shape in sizes.options:
        flags = (shape.time, shape.batch)
        values = {
            "mask": jax.random.bernoulli(keys[0], 0.9, flags),
            "lengths": jax.random.randint(keys[1], (shape.batch,), 1, shape.time + 1),
            "resets": jax.random.bernoulli(keys[2], 0.02, flags),
        }
        for name in GATED:
            problem = Problem(name, shape, "float32", seed)
            params, xs, targets = draw(problem)
            plain = train_step(problem.build(), xs, targets, params)
            for option in OPTIONS:
                other = train_step(problem.build(), xs, targets, params, **{option: values[option]})
                yield pair(f"{option} / plain step", f"{name} {tuple(shape)}", OPTION_LIMIT, plain, other, runs)


def bucket_row(sizes: Sizes, runs: int, seed: int) -> dict[str, Any]:
    """Sequences with a mean length of about T / 4: batches of similar length beside the same sequences padded to T."""
    shape, groups = sizes.buckets, 4
    random = np.random.default_rng(seed)
    count = shape.batch * groups
    # An exponential law, cut off at T; the longest has all T steps.
    drawn = np.clip(random.exponential(shape.time / 4, count), 1, shape.time).astype(int)
    drawn[0] = shape.time
    sequences = [random.normal(size=(length, shape.features)).astype(np.float32) for length in drawn]
    source = Buckets(sequences, np.zeros((count, shape.hidden), np.float32), batch=shape.batch, buckets=groups)
    cell = jaxrnn.LSTM(shape.hidden)
    params = cell.init(jax.random.key(seed), shape.features)
    short, padded = [], []
    for n in range(groups):
        batch = source.at(n)
        valid, missing = lengths(batch.mask), shape.time - batch.inputs.shape[0]
        whole = jnp.pad(batch.inputs, ((0, missing), (0, 0), (0, 0)))
        for steps, xs in ((short, batch.inputs), (padded, whole)):
            targets = jnp.zeros((*xs.shape[:2], shape.hidden), jnp.float32)
            steps.append(train_step(cell, xs, targets, params, lengths=valid))
    mean = float(np.mean(drawn))
    case = f"LSTM {tuple(shape)}, {groups} batches, mean length {mean:.0f}"
    what = "batches by length / padded to T"
    return pair(what, case, BUCKET_LIMIT, lambda: [f() for f in padded], lambda: [f() for f in short], runs)


def steps_row(sizes: Sizes, runs: int, seed: int) -> dict[str, Any]:
    """Many updates in one compiled call beside a loop in Python over single ones."""
    shape = sizes.steps
    task, cell = jaxrnn.tasks.Adding(length=shape.time), jaxrnn.Elman(shape.hidden)
    keys = jax.random.split(jax.random.key(seed), 3)
    params = (
        cell.init(keys[0], task.input_size),
        jax.random.normal(keys[1], (shape.hidden, 1), jnp.float32) / shape.hidden**0.5,
    )

    def loss_fn(params, batch, key):
        _, ys = jaxrnn.unroll(cell, params[0], batch.inputs)
        return losses.squared_error(ys @ params[1], batch.targets, batch.mask), ()

    trainer = Trainer(loss_fn, optax.adam(1e-3), clip=optax.clip_by_global_norm(1.0))
    batches = jax.vmap(lambda key: task.sample(key, shape.batch))(jax.random.split(keys[2], sizes.updates))
    single = [jax.tree.map(lambda x, n=n: x[n], batches) for n in range(sizes.updates)]

    def loop():
        state = trainer.init(params, keys[2])
        for batch in single:
            state, _ = trainer.step(state, batch)
        return state.params

    def compiled():
        return trainer.steps(trainer.init(params, keys[2]), batches)[0].params

    case = f"Elman {tuple(shape)}, {sizes.updates} updates"
    return pair("Trainer.steps / loop over Trainer.step", case, STEPS_LIMIT, loop, compiled, runs)


def checkpoint_rows(sizes: Sizes, seed: int) -> Iterator[dict[str, Any]]:
    """Memory and compile time over longer and longer sequences, with checkpoints every sqrt(T) steps."""
    for shape in sizes.checkpoints:
        taken = []
        problem = Problem("LSTM", shape, "float32", seed)
        cell, data = problem.build(), jax.eval_shape(lambda problem=problem: draw(problem))
        every = round(shape.time**0.5)

        def gradients(params, xs, d_ys, cell=cell, every=every):
            def outputs(params, xs):
                return jaxrnn.unroll(cell, params, xs, backend=jaxrnn.ChunkedScan(checkpoint_every=every))[1]

            ys, pullback = jax.vjp(outputs, params, xs)
            return ys, pullback(d_ys)

        programs = []
        for _ in range(COMPILATIONS):
            jax.clear_caches()
            begin = time.perf_counter()
            programs.append(jax.jit(gradients).lower(*data).compile())
            taken.append(time.perf_counter() - begin)
        planned = getattr(programs[0].memory_analysis(), "temp_size_in_bytes", 0)
        yield {
            "time": shape.time,
            "checkpoint_every": every,
            "mib": round(planned / 2**20, 3),
            "compile_s": round(statistics.median(taken), 2),
        }


def beyond(content: dict[str, Any]) -> list[str]:
    """What costs more than it may, by the median."""
    told = [
        f"{row['what']}, {row['case']}: {row['ratio'][1]:.2f}, at most {row['limit']}"
        for row in content["rows"]
        if row["ratio"][1] > row["limit"]
    ]
    table = content["checkpoints"]
    for before, after in zip(table, table[1:], strict=False):
        if after["mib"] > MEMORY_LIMIT * before["mib"]:
            told.append(
                f"memory of {after['time']} steps: {after['mib']} MiB after {before['mib']} of a quarter of them"
            )
    if table and table[-1]["compile_s"] > COMPILE_LIMIT * table[0]["compile_s"]:
        told.append(f"compile time: {table[-1]['compile_s']} s after {table[0]['compile_s']} s of the shortest")
    return told


def to_markdown(content: dict[str, Any]) -> str:
    """The tables: medians, ratios with quartiles, limits; memory over time."""

    def line(row: dict[str, Any]) -> tuple[str, ...]:
        low, middle, high = row["ratio"]
        times = (f"{row['other_ms'][1]:.1f}", f"{row['plain_ms'][1]:.1f}")
        return f"{row['what']}, {row['case']}", *times, f"{middle:.2f} ({low:.2f} to {high:.2f})", f"{row['limit']:.2f}"

    headings = ("ratio of times, case (B, T, D, H)", "ms", "beside, ms", "ratio (quartiles)", "at most")
    parts = [files.markdown_table(headings, map(line, content["rows"]))]
    if content["checkpoints"]:
        headings = ("steps of an LSTM", "checkpoint every", "memory, MiB", "compile, s")
        table = ((str(c["time"]), c["checkpoint_every"], c["mib"], c["compile_s"]) for c in content["checkpoints"])
        parts.append(files.markdown_table(headings, table))
    return "\n".join(parts)


def chart(content: dict[str, Any]) -> Figure:
    """Bars of the ratios with quartiles and what is allowed; memory over the steps beside the square root."""
    rows, table = content["rows"], content["checkpoints"]
    figure = Figure(figsize=(16, 2 + 0.3 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    for n, row in enumerate(rows):
        low, middle, high = row["ratio"]
        left.barh(n, middle, xerr=[[middle - low], [high - middle]], height=0.62, capsize=3, color="#0072B2")
        left.plot((row["limit"],) * 2, (n - 0.4, n + 0.4), color="#D55E00", lw=2.5)
    left.set_yticks(range(len(rows)), [f"{row['what']}, {row['case']}" for row in rows], fontsize=10)
    left.set_ylim(len(rows) - 0.4, -0.6)
    left.axvline(1, color="black", lw=1, ls="--")
    left.set_xlabel("ratio of times; upright bars: what is allowed at most", fontsize=12)
    left.set_title("What options cost and save", loc="left", fontsize=14)
    if table:
        times, memory = [c["time"] for c in table], [c["mib"] for c in table]
        right.loglog(times, memory, "o-", color="#0072B2", label="planned by XLA")
        root = memory[0] * (np.array(times) / times[0]) ** 0.5
        right.loglog(times, root, "--", color="black", label="the square root of T, from the first point")
        right.legend(fontsize=11, frameon=False)
        right.xaxis.set_major_locator(FixedLocator(times))
        right.xaxis.set_major_formatter("{x:,.0f}")
        right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.yaxis.set_major_formatter("{x:g}")
        for axis in (right.xaxis, right.yaxis):
            axis.set_minor_locator(NullLocator())
    right.set_xlabel("steps T, a checkpoint every sqrt(T)", fontsize=12)
    right.set_title("Memory, MiB", loc="left", fontsize=14)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    check_at_least(settings, 1, "runs")
    check_seed(settings)
    return settings, ready_folder(settings.out, "unroll_cost")


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Measures one row after the other and writes everything after each."""
    sizes, runs = (SMOKE, 3) if settings.smoke else (Sizes(), settings.runs)
    recorded = {k: v for k, v in dataclasses.asdict(settings).items() if k != "out"}
    content: dict[str, Any] = {"settings": recorded, "versions": versions(), "machine": machine()}
    content |= {"rows": [], "checkpoints": []}

    def found() -> Iterator[tuple[str, dict[str, Any]]]:
        for row in option_rows(sizes, runs, settings.seed):
            yield "rows", row
        yield "rows", bucket_row(sizes, runs, settings.seed)
        yield "rows", steps_row(sizes, runs, settings.seed)
        for row in checkpoint_rows(sizes, settings.seed):
            yield "checkpoints", row

    total = len(sizes.options) * len(GATED) * len(OPTIONS) + 2 + len(sizes.checkpoints)
    with progress(messages) as bar:
        for where, row in bar.track(found(), total=total, description="measurements"):
            content[where].append(row)
            figure = chart(content)
            written: dict[str, files.Writer] = {
                "unroll_cost.json": files.text(json.dumps(content, indent=1) + "\n"),
                "unroll_cost.md": files.text(to_markdown(content)),
                "unroll_cost.png": lambda path, figure=figure: figure.savefig(path, dpi=150),
            }
            files.write_all(folder, written)
    print(to_markdown(content))
    if not settings.smoke and (told := beyond(content)):
        raise Failed(f"beyond what is allowed: {'; '.join(told)}. The files are written.")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments, "What was measured is in")


if __name__ == "__main__":
    sys.exit(main())
