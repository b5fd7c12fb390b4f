"""Input sequences: made by the adding problem, bytes of a text, or images pixel by pixel."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.data import read_bytes, read_idx
from jaxrnn.tasks import Adding

Kind = Literal["adding", "text", "idx"]


class Source(Protocol):
    """Where sequences come from; `limit` names the longest that there is, in steps, or None."""

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def description(self) -> str:
        """What one sequence is."""
        ...

    @property
    def input_size(self) -> int:
        """Features of one step."""
        ...

    @property
    def limit(self) -> tuple[int, str] | None:
        """The longest sequence, and in words what it is."""
        ...

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths measured when none are asked for."""
        ...

    def sample(self, key, length: int, batch: int) -> jax.Array:
        """Sequences (length, batch, input_size), float32, decided by the key."""
        ...


def doubling(longest: int) -> tuple[int, ...]:
    """8, 16, 32, ... below `longest`, and `longest` itself."""
    return (*(2**k for k in range(3, longest.bit_length()) if 2**k < longest), longest)


def shortened(name: str) -> str:
    """A file's name with its middle left out if it is too long for a figure."""
    return name if len(name) <= 40 else f"{name[:18]}...{name[-18:]}"


@dataclass(frozen=True)
class AddingProblem:
    """Sequences of `jaxrnn.tasks.Adding`: a uniform value and a marker at each step."""

    title: str = "the adding problem"
    description: str = "Input: a uniform number and a marker at each step, one mark in each half of the sequence"
    input_size: int = 2
    limit: None = None
    lengths: tuple[int, ...] = doubling(1024)

    def sample(self, key, length: int, batch: int) -> jax.Array:
        """See Source."""
        return Adding(length).sample(key, batch).inputs


@dataclass(frozen=True, eq=False)
class Text:
    """Windows of a file that begin anywhere, each byte one-hot of 256."""

    file: str
    content: np.ndarray
    input_size: int = 256
    lengths: tuple[int, ...] = doubling(1024)
    title: str = "text, byte by byte"

    @property
    def description(self) -> str:
        """The file, without its folder."""
        return f"Input: windows of {shortened(self.file)}, each byte one-hot of {self.input_size}"

    @property
    def limit(self) -> tuple[int, str]:
        """All of the file."""
        return len(self.content), f"bytes of {self.file}"

    def sample(self, key, length: int, batch: int) -> jax.Array:
        """See Source."""
        starts = np.asarray(jax.random.randint(key, (batch,), 0, len(self.content) - length + 1))
        windows = self.content[starts + np.arange(length)[:, None]]
        return jax.nn.one_hot(windows, self.input_size, dtype=jnp.float32)


@dataclass(frozen=True, eq=False)
class Images:
    """Images pixel by pixel, row by row, pixel / 255; shorter sequences are the pixels around the middle one."""

    file: str
    images: np.ndarray
    input_size: int = 1
    title: str = "images, pixel by pixel"

    @property
    def description(self) -> str:
        """The file, without its folder."""
        return f"Input: images of {shortened(self.file)}; shorter sequences are the pixels around the middle"

    @property
    def limit(self) -> tuple[int, str]:
        """All pixels of an image."""
        return int(np.prod(self.images.shape[1:])), f"pixels of an image in {self.file}"

    @property
    def lengths(self) -> tuple[int, ...]:
        """Up to all pixels."""
        return doubling(self.limit[0])

    def sample(self, key, length: int, batch: int) -> jax.Array:
        """See Source."""
        chosen = np.asarray(jax.random.randint(key, (batch,), 0, len(self.images)))
        pixels = self.images[chosen].reshape(batch, -1)
        axes = self.images.shape[1:]
        middle = np.ravel_multi_index(tuple(size // 2 for size in axes), axes)
        start = int(np.clip(middle - length // 2, 0, pixels.shape[1] - length))
        return jnp.asarray(pixels[:, start : start + length].T[..., None].astype(np.float32) / np.float32(255))


def open_source(kind: Kind, path: Path | None) -> tuple[Source, dict[str, str]]:
    """The source, and where it comes from: a file's name and SHA-256.

    Raises:
        ValueError: a path is missing or not wanted, or the file is not what it should be.
    """
    if kind == "adding":
        if path is not None:
            raise ValueError(f"--path: the adding problem reads no file, got {path}. Add --data text or --data idx.")
        return AddingProblem(), {}
    if path is None:
        raise ValueError(f"--path: --data {kind} needs a file. Add --path FILE.")
    source = Text(path.name, read_bytes(path)) if kind == "text" else _images(path)
    return source, {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _images(path: Path) -> Images:
    images = read_idx(path)
    if images.ndim < 2 or images.dtype != np.uint8 or not images.size:
        raise ValueError(
            f"--path: {path} holds {images.dtype} of shape {images.shape}, not images (count, rows, columns) of "
            "unsigned bytes. Give a file such as train-images-idx3-ubyte.gz."
        )
    return Images(path.name, images)
