"""The idx format of the MNIST files, plain or compressed by gzip.

    0, 0, type, n      four bytes: two zeros, the code of the entries' type, the number of axes
    size_1 ... size_n  four bytes each, big endian
    entries            big endian, the last axis fastest

Source: http://yann.lecun.com/exdb/mnist/ (LeCun, Cortes & Burges).
"""

import gzip
import math
import struct
import zlib
from os import PathLike

import numpy as np

from jaxrnn.data.files import read_content

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | PathLike[str]) -> np.ndarray:
    """The array in an idx file, in the file's own type and shape.

    Whether it is compressed is told by its first bytes, not by its name.

    Raises:
        ValueError: the file is missing, truncated, damaged, holds more than it says, or is no idx file.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES or content[3] == 0:
        raise ValueError(
            f"read_idx: {path} is no idx file: it must begin with 0, 0, a type code and the number of axes, "
            f"got {list(content[:4])}. Give a file such as train-images-idx3-ubyte.gz."
        )
    dtype, axes = np.dtype(_TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise ValueError(
            f"read_idx: {path} is truncated: a header of {axes} axes takes {start} bytes, got {len(content)}. "
            "Fetch the file again."
        )
    shape = struct.unpack(f">{axes}I", content[4:start])
    expected, found = math.prod(shape) * dtype.itemsize, len(content) - start
    if found != expected:
        state = "is truncated" if found < expected else "holds more than it says"
        raise ValueError(
            f"read_idx: {path} {state}: shape {shape} of {dtype} takes {expected} bytes after the header, "
            f"got {found}. Fetch the file again."
        )
    return np.frombuffer(content, dtype.newbyteorder(">"), offset=start).astype(dtype).reshape(shape)


def _content(path) -> bytes:
    content = read_content("read_idx", path)
    try:
        return gzip.decompress(content) if content.startswith(_GZIP_MAGIC) else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"read_idx: {path} is a truncated or damaged gzip file ({error}). Fetch the file again."
        ) from error
