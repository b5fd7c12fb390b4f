"""What the gradient laboratory costs: a lag curve beside jax.grad, the monitor beside a plain step, Lyapunov spectra.

Command:  python -m benchmarks.gradient_cost
Runtime:  4 minutes on 2 cores; --smoke half a minute
Expected: gradient_cost.md, .json and .png in one folder; a lag curve at most 1.5 times the gradient, a monitored step
          at most 1.15 times a plain one, by the median; memory of a curve at most 2.1 times that over half the steps;
          a spectrum of 128 exponents over 2,000 steps below 20 s.
          What is beyond these is told at the end, and the exit code is 1; of tiny sizes nothing is told
Method:   two programs run in turn, and each ratio is formed within one turn; temporary memory is what XLA plans.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
from rich.console import Console

import jaxrnn
from benchmarks.command import Failed, check_at_least, check_seed, command, progress, ready_folder
from benchmarks.environment import machine, versions
from benchmarks.problems import Shape
from benchmarks.turns import in_turn, quartiles, seconds
from jaxrnn import files
from jaxrnn.gradients import Monitor, adjoint_norms, lyapunov_spectrum

CURVE_LIMIT, MONITOR_LIMIT, SPECTRUM_LIMIT = 1.5, 1.15, 20.0
MEMORY_LIMIT = 2.1  # times that of half the steps: linear in the steps
CURVE, HALF = "lag curve / gradient", "the same, half the steps"


class Sizes(NamedTuple):
    """Sizes of all problems: the first for everything, the others for the monitor alone."""

    first: Shape
    monitored: tuple[Shape, ...]
    spectrum_time: int


FULL = Sizes(Shape(32, 1000, 32, 128), (Shape(32, 128, 128, 256), Shape(64, 256, 64, 128)), 2000)
SMOKE = Sizes(Shape(2, 16, 3, 4), (Shape(2, 8, 3, 4), Shape(3, 8, 3, 4)), 20)


@dataclass(frozen=True)
class Settings:
    """Times adjoint_norms against jax.grad of the same loss, a monitored step against a plain one, and spectra."""

    runs: int = 11
    """Timed turns of each pair, after a warm-up."""
    seed: int = 0
    """The key from which weights and data follow."""
    out: Path | None = None
    """Folder for the results. Default: scratch/gradient_cost."""
    smoke: bool = False
    """A quick look that all works: tiny sizes, 3 turns."""


CELLS: dict[str, Callable[[Shape], jaxrnn.Cell]] = {
    "Elman": lambda shape: jaxrnn.Elman(shape.hidden),
    "GRU": lambda shape: jaxrnn.GRU(shape.hidden),
    "LSTM": lambda shape: jaxrnn.LSTM(shape.hidden),
    "LRU": lambda shape: jaxrnn.LRU(shape.hidden, shape.features),
}


def compiled(function: Callable, *arguments: Any) -> tuple[Callable, float]:
    """The compiled function bound to its arguments, and its temporary memory in MiB."""
    program = jax.jit(function).lower(*arguments).compile()
    memory = getattr(program.memory_analysis(), "temp_size_in_bytes", 0) / 2**20
    return lambda: program(*arguments), round(memory, 1)


def pair(name: str, what: str, plain: Callable, other: Callable, arguments: tuple, runs: int) -> dict[str, Any]:
    """One row: what `other` costs beside `plain`."""
    (first, first_memory), (second, second_memory) = compiled(plain, *arguments), compiled(other, *arguments)
    timed = 1000 * in_turn((first, second), runs)
    return {
        "cell": name,
        "what": what,
        "plain_ms": quartiles(timed[:, 0]),
        "other_ms": quartiles(timed[:, 1]),
        "ratio": quartiles(timed[:, 1] / timed[:, 0]),
        "plain_mib": first_memory,
        "other_mib": second_memory,
    }


def rows(name: str, sizes: Sizes, runs: int, seed: int) -> Iterator[dict[str, Any]]:
    """All measurements of one cell, one after the other."""
    for shape in (sizes.first, *sizes.monitored):
        keys = jax.random.split(jax.random.key(seed), 2)
        cell = CELLS[name](shape)
        params = cell.init(keys[0], shape.features)
        xs = jax.random.normal(keys[1], (shape.time, shape.batch, shape.features), jnp.float32)
        if shape == sizes.first:
            yield from curve_rows(name, cell, params, xs, runs)
        yield monitored_row(name, cell, params, xs, runs)


def curve_rows(name: str, cell: jaxrnn.Cell, params, xs, runs: int) -> Iterator[dict[str, Any]]:
    """A lag curve beside the gradient of the same loss, over all and over half of the steps."""

    def per_sample(ys):
        return (ys[-1] ** 2).sum(axis=-1)

    def gradient(params, xs):
        return jax.grad(lambda p: per_sample(jaxrnn.unroll(cell, p, xs)[1]).sum())(params)

    def curve(params, xs):
        return adjoint_norms(cell, params, xs, per_sample)

    yield pair(name, CURVE, gradient, curve, (params, xs), runs)
    yield pair(name, HALF, gradient, curve, (params, xs[: xs.shape[0] // 2]), runs)


def monitored_row(name: str, cell: jaxrnn.Cell, params, xs, runs: int) -> dict[str, Any]:
    """A step with adjoint norms at every state beside one without."""

    def loss_fn(params, watch, xs):
        _, ys = watch.unroll(cell, params, xs)
        return jnp.mean(ys**2), ()

    def plain(params, xs):
        return jax.value_and_grad(lambda p: loss_fn(p, jaxrnn, xs)[0])(params)

    def monitored(params, xs):
        found = Monitor().value_and_grad(lambda p, watch: loss_fn(p, watch, xs), params, jnp.int32(0))
        return found.loss, found.gradient, found.quantities

    what = f"monitored / plain step, {xs.shape[0]} steps, batch {xs.shape[1]}"
    return pair(name, what, plain, monitored, (params, xs), runs)


def spectrum(sizes: Sizes, seed: int) -> dict[str, Any]:
    """Seconds of a whole spectrum, with compiling and without."""
    keys = jax.random.split(jax.random.key(seed), 2)
    cell = jaxrnn.Elman(sizes.first.hidden)
    params = cell.init(keys[0], sizes.first.features)
    xs = jax.random.normal(keys[1], (sizes.spectrum_time, sizes.first.features), jnp.float32)
    first, again = (seconds(lambda: lyapunov_spectrum(cell, params, xs)) for _ in range(2))
    return {
        "exponents": sizes.first.hidden,
        "steps": sizes.spectrum_time,
        "first_s": round(first, 2),
        "again_s": round(again, 2),
    }


def to_markdown(content: dict[str, Any]) -> str:
    """The table of medians, ratios with quartiles."""

    def line(row: dict[str, Any]) -> tuple[str, ...]:
        low, middle, high = row["ratio"]
        ratio = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        memory = f"{row['other_mib']} against {row['plain_mib']}"
        return f"{row['cell']}, {row['what']}", f"{row['other_ms'][1]:.1f}", f"{row['plain_ms'][1]:.1f}", ratio, memory

    headings = ("cell", "ms", "beside, ms", "ratio (quartiles)", "temporary memory, MiB")
    shapes, found = content["shapes"], content.get("spectrum")
    words = "Shapes (batch, steps, features, units): " + ", ".join(str(tuple(shape)) for shape in shapes) + "."
    if found:
        words += (
            f" Lyapunov spectrum of {found['exponents']} exponents over {found['steps']} steps: {found['first_s']} s "
            f"with compiling, {found['again_s']} s again."
        )
    return f"{files.markdown_table(headings, map(line, content['rows']))}\n{words}\n"


def beyond(content: dict[str, Any]) -> list[str]:
    """What costs more than it may, by the median."""
    limits = {"monitored": MONITOR_LIMIT}
    told = []
    for row in content["rows"]:
        limit = limits.get(row["what"].split()[0], CURVE_LIMIT)
        if row["ratio"][1] > limit:
            told.append(f"{row['cell']}, {row['what']}: {row['ratio'][1]:.2f}, at most {limit}")
    wholes, halves = ([row for row in content["rows"] if row["what"] == what] for what in (CURVE, HALF))
    for whole, half in zip(wholes, halves, strict=True):
        if whole["other_mib"] > MEMORY_LIMIT * half["other_mib"]:
            mib = f"{whole['other_mib']} MiB against {half['other_mib']} over half the steps"
            told.append(f"{whole['cell']}, memory of a lag curve: {mib}, at most {MEMORY_LIMIT} times as much")
    if content["spectrum"]["first_s"] > SPECTRUM_LIMIT:
        told.append(f"spectrum: {content['spectrum']['first_s']} s, at most {SPECTRUM_LIMIT:g}")
    return told


def draw(content: dict[str, Any]) -> Figure:
    """Bars of the ratios with their quartiles, and the limits."""
    table = content["rows"]
    figure = Figure(figsize=(10, 1.6 + 0.42 * len(table)), layout="constrained")
    axes = figure.subplots()
    for n, row in enumerate(table):
        low, middle, high = row["ratio"]
        monitored = row["what"].startswith("monitored")
        colour = "#009E73" if monitored else "#0072B2"
        axes.barh(n, middle, xerr=[[middle - low], [high - middle]], height=0.62, capsize=3, color=colour)
        limit = MONITOR_LIMIT if monitored else CURVE_LIMIT
        axes.plot((limit, limit), (n - 0.4, n + 0.4), color="#D55E00", lw=2.5)
    axes.set_yticks(range(len(table)), [f"{row['cell']}, {row['what']}" for row in table], fontsize=11)
    axes.invert_yaxis()
    axes.axvline(1, color="black", lw=1, ls="--")
    axes.set_xlabel("ratio of times; upright bars: what is allowed at most", fontsize=12)
    axes.set_title("What measuring gradients costs", loc="left", fontsize=14)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    check_at_least(settings, 1, "runs")
    check_seed(settings)
    return settings, ready_folder(settings.out, "gradient_cost")


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Times one cell after the other and writes everything after each."""
    sizes, runs = (SMOKE, 3) if settings.smoke else (FULL, settings.runs)
    recorded = {k: v for k, v in dataclasses.asdict(settings).items() if k != "out"}
    content: dict[str, Any] = {
        "settings": recorded, "versions": versions(), "machine": machine(),
        "shapes": [sizes.first, *sizes.monitored], "rows": [],
    }  # fmt: skip

    def write() -> None:
        figure = draw(content)
        written = {
            "gradient_cost.json": files.text(json.dumps(content, indent=1) + "\n"),
            "gradient_cost.md": files.text(to_markdown(content)),
            "gradient_cost.png": lambda path: figure.savefig(path, dpi=150),
        }
        files.write_all(folder, written)

    with progress(messages) as bar:
        for name in bar.track(CELLS, description="cells"):
            for row in rows(name, sizes, runs, settings.seed):
                content["rows"].append(row)
            write()
    content["spectrum"] = spectrum(sizes, settings.seed)
    write()
    print(to_markdown(content))
    if not settings.smoke and (told := beyond(content)):
        raise Failed(f"beyond what is allowed: {'; '.join(told)}. The files are written.")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments, "What was timed is in")


if __name__ == "__main__":
    sys.exit(main())
