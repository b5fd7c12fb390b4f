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
from rich.console import Console

from benchmarks import configurations, figure, report, table
from benchmarks.command import command, progress, ready_folder
from benchmarks.environment import use_device
from benchmarks.inputs import open_source
from benchmarks.results import Results
from benchmarks.run import Run
from benchmarks.settings import Settings, check, check_source
from benchmarks.source import Source
from jaxrnn import files


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
    folder = ready_folder(settings.out, f"gradient_norms/{settings.data}")
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
    """Writes all files anew, the data first, so that they are there whatever becomes of the picture."""
    texts = {
        "gradient_norms.csv": files.text(report.to_csv(results)),
        "results.json": files.text(report.to_json(results)),
        "table.md": files.text(table.to_markdown(results)),
    }
    files.write_all(folder, texts)
    picture = figure.draw(results)
    pictures = {f"gradient_norms.{kind}": lambda path: figure.save(picture, path) for kind in ("png", "svg")}
    files.write_all(folder, pictures)


def run(settings: Settings, source: Source, results: Results, folder: Path, messages: Console) -> None:
    """Measures and writes; prints the table of what there is, after an interrupt too."""
    try:
        with progress(messages) as bar:
            Run(settings, source, results, lambda: write(results, folder), bar)()
    finally:
        if results.measured:
            Console(width=140).print(table.to_table(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments, "Whatever was measured up to now is in")


if __name__ == "__main__":
    sys.exit(main())
