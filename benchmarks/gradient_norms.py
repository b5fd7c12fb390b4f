"""How far back do gradients reach? ||dL/ds_t|| of recurrent cells against lag and sequence length.

Command:  python -m benchmarks.gradient_norms
Runtime:  about 2 minutes on 2 cores; --smoke under a minute, nearly all of it compiling
Expected: gradient_norms.png and .svg, gradient_norms.csv, results.json and table.md in one folder
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import configurations, figure, report
from benchmarks.configurations import Sizes, by_dynamics
from benchmarks.inputs import Kind, Source, open_source
from benchmarks.measure import LossKind, keys_of, measure
from benchmarks.results import Results

COMPILING = 1500  # compiling one call costs about as much as so many steps; only for the estimate of time left


@dataclass(frozen=True)
class Settings:
    """How far back do gradients reach? Compares the norms ||dL/ds_t|| of recurrent cells over sequence length.

    Writes a figure (PNG, SVG), a table, data (CSV) and every setting (JSON) into one folder, shortest length first
    and again after each, so that it can be interrupted at any time.
    """

    data: Kind = "adding"
    """Input: the adding problem (made), bytes of a text, or images in idx or idx.gz pixel by pixel."""
    path: Path | None = None
    """The file to read, for text and idx."""
    cells: tuple[str, ...] = configurations.DEFAULT
    """What to compare: any cell that the library exports, or IRNN, LSTM-forget-0, LSTM-forget-1, LSTM-chrono."""
    inits: tuple[str, ...] = (configurations.OWN,)
    """Initialisers, each for every cell that has a place for it: own, orthogonal:RADIUS, gaussian:SIGMA_W,
    identity:SCALE for recurrent weights; forget:BIAS, chrono:PART-OF-LENGTH for biases."""
    lengths: tuple[int, ...] = ()
    """Sequence lengths in steps. Default: 8 to 1024 by doubling, for idx up to all pixels."""
    seeds: int = 8
    """How many networks and sets of sequences."""
    batch: int = 16
    """Sequences for each seed."""
    hidden_size: int = 64
    """Units of every cell."""
    loss: LossKind = "terminal"
    """A random projection of the last output, or the sum of it over every step (no longer a pure curve over lag)."""
    seed: int = 0
    """The key from which every draw follows."""
    out: Path | None = None
    """Folder for the results. Default: scratch/gradient_norms/DATA."""
    smoke: bool = False
    """A quick look that all works: two short lengths and seeds, small cells; replaces these settings."""


def check(settings: Settings) -> None:
    """Raises ValueError where a number makes no sense."""
    for name in ("seeds", "batch", "hidden_size"):
        if getattr(settings, name) < 1:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag}: must be at least 1, got {getattr(settings, name)}. Give a larger number.")
    if not 0 <= settings.seed < 2**32:
        raise ValueError(f"--seed: must lie between 0 and 2^32 - 1, got {settings.seed}. Give another number.")


def check_lengths(lengths: Sequence[int], source: Source) -> None:
    """Raises ValueError where a length is too short to compare two steps, or longer than the data."""
    if min(lengths) < 2:
        raise ValueError(f"--lengths: must be at least 2 steps, got {min(lengths)}. Leave the short ones out.")
    if source.limit is not None and max(lengths) > source.limit[0]:
        raise ValueError(
            f"--lengths: {max(lengths)} steps are more than the {source.limit[0]} {source.limit[1]}. "
            "Give shorter lengths."
        )


def plan(settings: Settings) -> tuple[Settings, Source, Results, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: an argument cannot be used; the message names it, what was got and the cure.
    """
    if settings.smoke:
        settings = dataclasses.replace(settings, lengths=(8, 16), seeds=2, batch=4, hidden_size=8)
    check(settings)
    chosen = configurations.select(settings.cells, settings.inits)
    source, provenance = open_source(settings.data, settings.path)
    settings = dataclasses.replace(settings, lengths=tuple(sorted(set(settings.lengths or source.lengths))))
    check_lengths(settings.lengths, source)
    root = Path(__file__).resolve().parents[1]
    folder = settings.out or root / "scratch/gradient_norms" / settings.data
    report.prepare_folder(folder)
    recorded = {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("out", "path")}
    outputs = "the last output" if settings.loss == "terminal" else "the outputs of every step"
    subtitle = (
        f"Median and 10 to 90% band over {settings.seeds * settings.batch} samples ({settings.seeds} networks), "
        f"{settings.hidden_size} units; L is a random projection of {outputs}, s the whole state."
    )
    title = f"How far back do gradients reach in {source.title}?"
    results = Results(chosen, recorded | provenance, title, subtitle, source.description)
    return settings, source, results, folder


def write(results: Results, folder: Path) -> None:
    """Writes all files anew."""
    report.write_text(folder / "gradient_norms.csv", report.to_csv(results))
    report.write_text(folder / "results.json", report.to_json(results))
    report.write_text(folder / "table.md", report.to_markdown(results))
    picture = figure.draw(results)
    for kind in ("png", "svg"):
        report.write_atomically(folder / f"gradient_norms.{kind}", lambda path: figure.save(picture, path))


def run(settings: Settings, source: Source, results: Results, folder: Path, progress: Progress) -> None:
    """Measures every length, shortest first, and writes after each; interrupted, it keeps what there is."""
    grouped = {
        length: by_dynamics(results.configurations, Sizes(source.input_size, settings.hidden_size, length))
        for length in settings.lengths
    }
    work = sum(COMPILING + length * len(group) for length, groups in grouped.items() for group in groups)
    task = progress.add_task("", total=work)
    keys = keys_of(settings.seed, settings.seeds)
    try:
        for length, groups in grouped.items():
            sizes = Sizes(source.input_size, settings.hidden_size, length)
            for group in groups:
                names = ", ".join(configuration.name for configuration in group)
                progress.update(task, description=f"T = {length}: {names}")
                begin = time.perf_counter()
                measured = measure(group, source, sizes, keys, settings.batch, settings.loss)
                results.add(length, measured, time.perf_counter() - begin)
                progress.advance(task, COMPILING + length * len(group))
            write(results, folder)
            progress.console.print(f"T = {length}: {results.seconds[length]:.1f} s, figure and data written")
    except KeyboardInterrupt:
        if results.measured:
            write(results, folder)
        raise


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
            run(settings, source, results, folder, progress)
    except KeyboardInterrupt:
        messages.print(f"Interrupted. What was measured up to now is in {folder}.", markup=False)
        code = 130
    if results.measured:
        Console(width=120).print(report.to_table(results))
        messages.print(f"Results: {folder}", markup=False)
    return code


if __name__ == "__main__":
    sys.exit(main())
