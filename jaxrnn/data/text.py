"""Any file as a sequence of bytes or characters, and the works of Shakespeare in small."""

from os import PathLike
from typing import TypeVar

import numpy as np

from jaxrnn.data.files import locate, read_content

Steps = TypeVar("Steps", str, np.ndarray)


def read_bytes(path: str | PathLike[str]) -> np.ndarray:
    """The bytes of a file, uint8 (length,): a vocabulary of 256 that needs no tokeniser.

    Raises:
        ValueError: the file is missing, cannot be read or is empty.
    """
    return np.frombuffer(_content("read_bytes", path), np.uint8)


def read_text(path: str | PathLike[str]) -> str:
    """The characters of a file in UTF-8, line ends as they are.

    Raises:
        ValueError: the file is missing, cannot be read, is empty or is not UTF-8.
    """
    return text_of("read_text", path)


def tinyshakespeare(directory: str | PathLike[str] | None = None) -> str:
    """Tiny Shakespeare: 1,115,394 characters of the plays, 65 of them distinct.

    Source: github.com/karpathy/char-rnn, data/tinyshakespeare. Licence: the plays are in the public domain, char-rnn is
    MIT. No split comes with it; `split_by_position` gives that of nanoGPT, 1,003,854 and 111,540 characters.

    Args:
        directory: As for `locate`.

    Raises:
        ValueError: as for `locate`.

    Example:
        >>> train, validation = split_by_position(tinyshakespeare())  # doctest: +SKIP
    """
    return read_text(locate("tinyshakespeare/input.txt", directory))


def split_by_position(sequence: Steps, share: float = 0.9) -> tuple[Steps, Steps]:
    """The first `share` of a text or an array, and the rest.

    Raises:
        ValueError: `share` does not lie between 0 and 1, or leaves one part empty.

    Example:
        >>> split_by_position("first, last")
        ('first, la', 'st')
    """
    cut = int(share * len(sequence))
    if not 0 < cut < len(sequence):
        raise ValueError(
            f"split_by_position: `share` must lie between 0 and 1 and leave both parts something of the "
            f"{len(sequence)} steps, got {share}. Take one nearer to 0.5, or a longer sequence."
        )
    return sequence[:cut], sequence[cut:]


def text_of(reader: str, path: str | PathLike[str]) -> str:
    """What `read_text` gives; errors name the function that a user called."""
    try:
        return _content(reader, path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{reader}: {path} is not UTF-8: {error}. Save it as UTF-8, or take its bytes with read_bytes."
        ) from error


def lines_of(content: bytes) -> list[str]:
    """The lines of a text in UTF-8, of which the last may end or not."""
    return content.decode("utf-8").removesuffix("\n").split("\n")


def _content(reader: str, path) -> bytes:
    content = read_content(reader, path)
    if not content:
        raise ValueError(f"{reader}: {path} is empty, 0 bytes. Give a file that holds text.")
    return content
