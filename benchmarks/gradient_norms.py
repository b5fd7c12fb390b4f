"""How far back do gradients reach? ||dL/ds_t|| of recurrent cells against lag and sequence length.

Command:  python -m benchmarks.gradient_norms; with --train-steps 500 also after so many updates, on the same axes
Runtime:  about 2 minutes on 2 cores; --smoke about a minute, nearly all of it compiling
Expected: gradient_norms.png and .svg, gradient_norms.csv, results.json and table.md in one folder
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import configurations, figure, report, table
from benchmarks.environment import use_device
from benchmarks.inputs import open_source
from benchmarks.results import Results
from benchmarks.run import Run
from benchmarks.settings import Settings, check, check_source
from benchmarks.source import Source


def plan(settings: Settings) -> tuple[Settings, Source, Results, Path]:
    """Checks everything before anything is computed or written, and sets JAX to the device and precision.

    Raises:
        ValueError: an argument cannot be used; the message names it, what was got and the cure.
    """
    check(settings)
    chosen = configurations.select(settings.cells, settings.inits)
    use_device(settings.device)
    if settings.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    source, provenance = open_source(settings.data, settings.path, settings.directory)
    if settings.smoke:
        steps = 2 if source.objective else 0
        small = {"lengths": source.lengths[:2], "seeds": 2, "batch": 4, "hidden_size": 8, "train_steps": steps}
        settings = dataclasses.replace(settings, **small)
    settings = dataclasses.replace(settings, lengths=tuple(sorted(set(settings.lengths or source.lengths))))
    check_source(settings, source)
    root = Path(__file__).resolve().parents[1]
    folder = settings.out or root / "scratch/gradient_norms" / settings.data
    report.prepare_folder(folder)
    recorded = {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("out", "path", "directory")}
    outputs = "the last output" if settings.loss == "terminal" else "the outputs of every step"
    networks = "1 network" if settings.seeds == 1 else f"{settings.seeds} networks"
    subtitle = (
        f"Median and 10 to 90% band over {settings.seeds * settings.batch} samples ({networks}), "
        f"{settings.hidden_size} units, {settings.dtype}; L is a random projection of {outputs}, s the whole state."
    )
    title = f"How far back do gradients reach in {source.title}?"
    objective = source.objective if settings.train_steps else None
    baseline = source.baseline(max(settings.lengths)) if objective else None
    results = Results(chosen, recorded | provenance, title, subtitle, source.description, objective, baseline)
    return settings, source, results, folder


def write(results: Results, folder: Path) -> None:
    """Writes all files anew."""
    report.write_text(folder / "gradient_norms.csv", report.to_csv(results))
    report.write_text(folder / "results.json", report.to_json(results))
    report.write_text(folder / "table.md", table.to_markdown(results))
    picture = figure.draw(results)
    for kind in ("png", "svg"):
        report.write_atomically(folder / f"gradient_norms.{kind}", lambda path: figure.save(picture, path))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0, 2 for arguments that cannot be used, 130 if interrupted."""
    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    settings = tyro.cli(Settings, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
    try:
        settings, source, results, folder = plan(settings)
    except ValueError as error:
        messages.print(f"error: {error}", markup=False)
        return 2
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    remaining = (TextColumn("left"), TimeRemainingColumn())
    code = 0
    try:
        with Progress(*columns, *remaining, console=messages, speed_estimate_period=600) as progress:
            Run(settings, source, results, lambda: write(results, folder), progress)()
    except KeyboardInterrupt:
        messages.print(f"Interrupted. What was measured up to now is in {folder}.", markup=False)
        code = 130
    if results.measured:
        Console(width=140).print(table.to_table(results))
        messages.print(f"Results: {folder}", markup=False)
    return code


if __name__ == "__main__":
    sys.exit(main())
