"""All applications, one after the other: a quick look at each, or the full runs and the table of what they found.

Command:  python -m experiments.everything            (make results: the full runs, into experiments/results;
                                                       pip install torch, for word_lm)
          python -m experiments.everything --smoke    (make smoke: a quick look at each, into scratch/smoke)
Runtime:  the sum of theirs, some 4.5 hours; --smoke 4.5 minutes on 2 slow cores
"""

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

from rich.console import Console

from benchmarks.command import Failed, check_seed, command
from experiments.application import MADE
from experiments.checks import check_choices
from jaxrnn import files

HERE = Path(__file__).resolve().parent
NAMES = (
    "char_lm", "word_lm", "sentiment", "tagging", "translation", "music", "forecasting", "sequential_mnist",
    "embeddings", "parity",
)  # fmt: skip
INTERRUPTED = 130  # the exit code of a command that an interrupt has ended
TOGETHER = 3  # applications of one turn
BEGIN, END = "<!-- the table of results begins -->\n", "<!-- the table of results ends -->"
HEADINGS = "application", "setting", "metric", "here", "published", "gap", "command"


@dataclass(frozen=True)
class Settings:
    """Runs applications one after the other, and writes the table of what they found into experiments/README.md."""

    names: tuple[str, ...] = NAMES
    """Which of them."""
    turn: int | None = None
    """Only three of them, other ones for the next number. Default: all."""
    seed: int = 0
    """The key from which every draw of every application follows."""
    smoke: bool = False
    """A quick look at each; the table is left as it is."""
    out: Path | None = None
    """Folder of the folders of results. Default: experiments/results, of a smoke run scratch/smoke."""


def chosen(settings: Settings) -> tuple[str, ...]:
    """The names, or those of one turn."""
    if settings.turn is None:
        return settings.names
    places = (TOGETHER * settings.turn + place for place in range(min(TOGETHER, len(settings.names))))
    return tuple(settings.names[place % len(settings.names)] for place in places)


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written."""
    check_seed(settings)
    check_choices(settings, "names")
    if unknown := [name for name in settings.names if name not in NAMES]:
        raise ValueError(f"--names: must be some of {', '.join(NAMES)}, got {', '.join(unknown)}. Choose among them.")
    for name in () if settings.smoke else chosen(settings):
        application = importlib.import_module(f"experiments.{name}").APPLICATION
        try:
            application.check(application.settings())  # such as for PyTorch, before hours of others
        except ValueError as error:
            raise ValueError(f"--names: {name} cannot run. {error}") from error
    default = HERE.parent / "scratch" / "smoke" if settings.smoke else HERE / "results"
    return settings, (settings.out or default).absolute()


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Each in a process of its own; what fails does not keep the next from running."""
    failed = []
    for name in chosen(settings):
        begin = time.perf_counter()
        out = [] if settings.smoke and settings.out is None else ["--out", str(folder / name)]
        arguments = ["--seed", str(settings.seed), *out, *(["--smoke"] if settings.smoke else [])]
        code = call([sys.executable, "-m", f"experiments.{name}", *arguments])
        if code:
            failed.append(name)
        words = f"failed, exit code {code}" if code else "done"
        messages.print(f"{name}: {words} after {time.perf_counter() - begin:.0f} s", markup=False)
    if not settings.smoke and settings.out is None:
        write_table()
    if failed:
        raise Failed(f"{', '.join(failed)} failed; what they say stands above.")


def call(command: Sequence[str]) -> int:
    """The exit code of a command; raises KeyboardInterrupt once it has ended, where an interrupt came or ended it."""
    process, interrupted = subprocess.Popen(command, cwd=HERE.parent), False
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:  # it has reached the command as well, which saves what it has before it ends
            interrupted = True
        else:
            break
    if interrupted or code == INTERRUPTED:
        raise KeyboardInterrupt
    return code


def table(results: Path = HERE / "results") -> str:
    """What every application found whose results are there, beside what is published."""
    lines = []
    for name in NAMES:
        if (path := results / name / "results.json").exists():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if not found["finished"] or found["data"] == MADE or found["settings"]["smoke"]:
                continue  # it shows that all works, and nothing else
            application = importlib.import_module(f"experiments.{name}").APPLICATION
            for number, row in enumerate(application.rows(found)):
                links = f"[{name}]({name}.py): [table](results/{name}/table.md), [picture](results/{name}/{name}.png)"
                first = (links, f"`python -m experiments.{name}`")
                link, how = first if number == 0 else ("", "")
                lines.append((link, row.setting, row.metric, row.here, row.published, row.gap, how))
    return files.markdown_table(HEADINGS, lines, words=len(HEADINGS))


def write_table() -> None:
    """Puts the table into experiments/README.md, in the place of the one before."""
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    files.write_all(HERE, {"README.md": files.text(f"{before}{BEGIN}\n{table()}\n{END}{after}")})


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
