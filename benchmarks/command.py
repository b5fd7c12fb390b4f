"""The shell of every command: settings from the command line, checked before anything is computed, and exit codes."""

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SettingsType = TypeVar("SettingsType")
GOES_ON = "The same command goes on from what is finished in"


class Failed(Exception):
    """What was computed is not what it should be; the message says what."""


def command(
    kind: type[SettingsType],
    plan: Callable[[SettingsType], tuple[Any, ...]],
    run: Callable[..., None],
    arguments: Sequence[str] | None,
    interrupted: str = GOES_ON,
) -> int:
    """Reads settings from the command line, plans and runs; returns the exit code.

    Args:
        kind: A dataclass of settings, whose docstring is the help.
        plan: Checks them before anything is computed or written; gives what `run` takes, the folder for results last.
        run: Computes and writes; it is handed what `plan` gave, and a console for messages.
        arguments: The command line. None: that of the process.
        interrupted: What to say of the folder after an interrupt, before its name.

    Returns:
        0; 1 where `run` raised Failed; 2 where `plan` raised a ValueError, or a file could not be written or read;
        130 after an interrupt.
    """
    import tyro  # here, so that what is measured can be called from Python where the command line's package is missing

    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    settings = tyro.cli(kind, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
    try:
        planned = plan(settings)
    except ValueError as error:
        messages.print(f"error: {error}", markup=False)
        return 2
    except KeyboardInterrupt:
        messages.print("Interrupted before anything was computed.")
        return 130
    folder = planned[-1]
    try:
        run(*planned, messages)
    except KeyboardInterrupt:
        messages.print(f"Interrupted. {interrupted} {folder}.", markup=False)
        return 130
    except Failed as error:
        messages.print(f"error: {error}", markup=False)
        return 1
    except OSError as error:
        reason = error.strerror or error
        if error.filename is not None and not Path(error.filename).absolute().is_relative_to(folder.absolute()):
            messages.print(f"error: {error.filename}: {reason}.", markup=False)  # a file that was to be read
        else:
            messages.print(
                f"error: cannot write to {folder}: {reason}. Free space or choose another --out.", markup=False
            )
        return 2
    messages.print(f"Results: {folder}", markup=False)
    return 0


def check_at_least(settings: Any, least: int, *names: str) -> None:
    """Raises ValueError where a setting of such a name, a number or some, is smaller."""
    for name in names:
        value = getattr(settings, name)
        if min(value if isinstance(value, tuple) else (value,), default=least - 1) < least:
            raise ValueError(f"{flag(name)}: must be at least {least}, got {value}. Give a larger number.")


def check_seed(settings: Any) -> None:
    """Raises ValueError unless a key of JAX follows from the seed, a different one from each."""
    if not 0 <= settings.seed < 2**32:
        raise ValueError(f"--seed: must lie between 0 and 2^32 - 1, got {settings.seed}. Give another number.")


def flag(name: str) -> str:
    """How a setting is named on the command line."""
    return f"--{name.replace('_', '-')}"


def ready_folder(out: Path | None, name: str) -> Path:
    """The folder for results, made and known to be writable. Default: scratch/NAME.

    Raises:
        ValueError: it cannot be written to.
    """
    folder = out or Path(__file__).resolve().parents[1] / "scratch" / name
    prepare_folder(folder)
    return folder


def prepare_folder(folder: Path) -> None:
    """Makes the folder and writes a file into it, to know before computing that results can be kept.

    Raises:
        ValueError: it cannot be made or written to; folders made on the way are removed.
    """
    missing: list[Path] = []
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise ValueError(f"--out: cannot write to {folder}: {error.strerror}. Choose a folder of your own.") from error


def progress(console: Console) -> Progress:
    """A bar with the time left, estimated from the last ten minutes."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, speed_estimate_period=600)
