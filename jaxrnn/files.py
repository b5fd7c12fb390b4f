"""Files of results: each written beside and then renamed, so that none is ever half there."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Writer = Callable[[Path], object]


def write_all(folder: Path, writers: Mapping[str, Writer]) -> None:
    """Lets each writer fill a file of its name, all of them in a folder beside, and then renames them all.

    A disk that fills up, an interrupt or an error while a writer is at work leaves every old file as it was.

    Raises:
        OSError: they cannot be written, or a folder is in the place of one.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
        places = {Path(scratch) / name: folder / name for name in writers}
        for beside, write in zip(places, writers.values(), strict=True):
            write(beside)
        for place in places.values():
            if place.is_dir():
                raise IsADirectoryError(errno.EISDIR, f"{place.name} is a folder")
        for beside, place in places.items():
            os.replace(beside, place)


def text(content: str) -> Writer:
    """Writes a text."""
    return lambda path: path.write_text(content, encoding="utf-8")


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], words: int = 1) -> str:
    """A table whose first columns, so many, are text, the others numbers."""
    lines = [headings, (*["---"] * words, *["---:"] * (len(headings) - words)), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
