"""What can be asked for by name: every source, made or opened from files, and where it comes from."""

import hashlib
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np

from benchmarks.recorded import Chorales, Images, Text
from benchmarks.source import Source
from benchmarks.synthetic import SYNTHETIC
from jaxrnn.data import jsb_chorales, mnist, read_bytes, read_idx, tinyshakespeare
from jaxrnn.data.files import FILES

Kind = Literal["adding", "copy", "memorisation", "temporal-order", "parity", "text", "mnist", "jsb", "idx"]
DATA_SETS = {
    "text": "tinyshakespeare/input.txt",
    "mnist": "mnist/train-images-idx3-ubyte.gz",
    "jsb": "jsb-chorales/jsb-chorales-quarter.json",
}
OWN_FILES = ("text", "idx")


def open_source(kind: Kind, path: Path | None, directory: Path | None) -> tuple[Source, dict[str, str]]:
    """The source, and where it comes from: a file's name and SHA-256.

    Args:
        kind: Its name.
        path: A file of the user's own, for text in place of Tiny Shakespeare.
        directory: Where the data sets of `jaxrnn.data` lie.

    Raises:
        ValueError: a path or directory is missing or not wanted, or a file is not what it should be.
    """
    if path is not None and kind not in OWN_FILES:
        raise ValueError(
            f"--path: --data {kind} reads no file of your own, got {path}. Leave it out, or add --data text."
        )
    if directory is not None and (kind not in DATA_SETS or path is not None):
        unused = f"--data {kind}" if path is None else f"--path {path}"
        raise ValueError(f"--directory: {unused} reads no data set, got {directory}. Leave one of the two out.")
    if kind in SYNTHETIC:
        return SYNTHETIC[kind], {}
    if kind == "idx" and path is None:
        raise ValueError("--path: --data idx needs a file of images. Add --path FILE, or take --data mnist.")
    if path is not None:
        source = Text(jnp.asarray(read_bytes(path)), path.name) if kind == "text" else _images(path)
        return source, {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return _data_set(kind, directory), {"file": DATA_SETS[kind], "sha256": FILES[DATA_SETS[kind]].sha256}


def _data_set(kind: Kind, directory: Path | None) -> Source:
    if kind == "text":
        content = np.frombuffer(tinyshakespeare(directory).encode("utf-8"), np.uint8)
        return Text(jnp.asarray(content), "Tiny Shakespeare")
    if kind == "mnist":
        images, labels = (jnp.asarray(part) for part in mnist("train", directory))
        return Images(images, labels.astype(jnp.int32), "MNIST", classes=10)
    return Chorales.of(jsb_chorales("train", directory), "the chorales of J. S. Bach")


def _images(path: Path) -> Images:
    images = read_idx(path)
    if images.ndim < 2 or images.dtype != np.uint8 or not images.size:
        raise ValueError(
            f"--path: {path} holds {images.dtype} of shape {images.shape}, not images (count, rows, columns) of "
            "unsigned bytes. Give a file such as train-images-idx3-ubyte.gz."
        )
    return Images(jnp.asarray(images), jnp.zeros(len(images), jnp.int32), path.name, classes=0)
