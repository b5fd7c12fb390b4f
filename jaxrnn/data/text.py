"""Any file as a sequence of bytes."""

from os import PathLike
from pathlib import Path

import numpy as np


def read_bytes(path: str | PathLike[str]) -> np.ndarray:
    """The bytes of a file, uint8 (length,): a vocabulary of 256 that needs no tokeniser.

    Raises:
        ValueError: the file is missing, cannot be read or is empty.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"read_bytes: cannot read {path}: {error.strerror}. Give the path of a file.") from error
    if not content:
        raise ValueError(f"read_bytes: {path} is empty, 0 bytes. Give a file that holds text.")
    return np.frombuffer(content, np.uint8)
