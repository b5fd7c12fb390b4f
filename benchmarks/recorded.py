"""Sources of recorded data: bytes of a text, images pixel by pixel, chorales frame by frame."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from benchmarks.source import Objective, doubling, shortened
from jaxrnn.tasks import Batch

BYTES = 256
_STATIC = {"static": True}  # a field that is part of a compiled call, not an argument


def _entropy(counts) -> float:
    """-sum_k p_k ln p_k in nats, p the shares of the counts."""
    shares = np.asarray(counts, np.float64) / np.sum(counts)
    return float(-np.sum(shares * np.log(shares, where=shares > 0, out=np.zeros_like(shares))))


def _integers(key, batch: int, count) -> Int[Array, " batch"]:
    """Draws from 0 to count - 1, the same with 64 bits or without."""
    return jax.random.randint(key, (batch,), 0, count, jnp.int32)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Text:
    """Windows of a text that begin anywhere, each byte one-hot; the byte after each is to be predicted."""

    content: UInt8[Array, " bytes"]
    file: str = field(metadata=_STATIC)

    title = "text, byte by byte"
    input_size = BYTES
    objective = Objective("cross-entropy", BYTES, "the next byte at every step")
    shortest = 2

    @property
    def lengths(self) -> tuple[int, ...]:
        """Up to 1024, or to what the text has."""
        return doubling(min(1024, self.limit[0]))

    @property
    def description(self) -> str:
        """The file, without its folder."""
        return f"Input: windows of {shortened(self.file)}, each byte one-hot of {BYTES}"

    @property
    def limit(self) -> tuple[int, str]:
        """All of the file but its last byte, which no other follows."""
        return len(self.content) - 1, f"bytes of {self.file} that another follows"

    def sample(self, key, length: int, batch: int) -> Batch:
        """See Source."""
        starts = _integers(key, batch, len(self.content) - length)
        windows = self.content[starts + jnp.arange(length + 1, dtype=jnp.int32)[:, None]]
        inputs = jax.nn.one_hot(windows[:-1], BYTES, dtype=jnp.float32)
        return Batch(inputs, windows[1:].astype(jnp.int32), jnp.ones((length, batch), bool))

    def baseline(self, length: int) -> float:
        """The entropy of the bytes, each by itself."""
        return _entropy(np.bincount(self.content, minlength=BYTES))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Images:
    """Images pixel by pixel, row by row, pixel / 255; shorter sequences are the pixels around the middle one.

    With `classes` the label is to be told at the last step; 0 stands for images without labels.
    """

    images: UInt8[Array, "count *axes"]
    labels: Int[Array, " count"]
    file: str = field(metadata=_STATIC)
    classes: int = field(metadata=_STATIC)

    title = "images, pixel by pixel"
    input_size = 1
    shortest = 2

    @property
    def description(self) -> str:
        """The file, without its folder."""
        return f"Input: images of {shortened(self.file)}; shorter sequences are the pixels around the middle"

    @property
    def objective(self) -> Objective | None:
        """The class, where there are labels."""
        return Objective("cross-entropy", self.classes, "the class at the last step") if self.classes else None

    @property
    def limit(self) -> tuple[int, str]:
        """All pixels of an image."""
        return math.prod(self.images.shape[1:]), f"pixels of an image in {self.file}"

    @property
    def lengths(self) -> tuple[int, ...]:
        """Up to all pixels."""
        return doubling(self.limit[0])

    def sample(self, key, length: int, batch: int) -> Batch:
        """See Source."""
        chosen = _integers(key, batch, len(self.images))
        axes, pixels = self.images.shape[1:], self.limit[0]
        middle = int(np.ravel_multi_index(tuple(size // 2 for size in axes), axes))
        start = min(max(middle - length // 2, 0), pixels - length)
        part = self.images[chosen].reshape(batch, pixels)[:, start : start + length]
        inputs = part.T[..., None].astype(jnp.float32) / jnp.float32(255)
        last = jnp.arange(length)[:, None] == length - 1
        return Batch(inputs, self.labels[chosen], jnp.broadcast_to(last, (length, batch)))

    def baseline(self, length: int) -> float:
        """The entropy of the labels."""
        return _entropy(np.bincount(self.labels))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Chorales:
    """Windows of pieces of music, one frame of 88 keys a step; the frame after each is to be predicted.

    `frames` are those of all pieces, end to end, and `ends` tells for each frame where its piece ends.
    """

    frames: Float[Array, "frames keys"]
    ends: Int[Array, " frames"]
    longest: int = field(metadata=_STATIC)
    file: str = field(metadata=_STATIC)

    title = "chorales, frame by frame"
    shortest = 2

    @classmethod
    def of(cls, pieces: Sequence[np.ndarray], file: str) -> "Chorales":
        """From the rolls (time, keys) of all pieces."""
        lengths = [len(piece) for piece in pieces]
        ends = np.repeat(np.cumsum(lengths), lengths)
        return cls(jnp.asarray(np.concatenate(pieces)), jnp.asarray(ends, jnp.int32), max(lengths), file)

    @property
    def description(self) -> str:
        """The file, without its folder."""
        return f"Input: windows of {shortened(self.file)}, the {self.input_size} keys that sound at each quarter note"

    @property
    def input_size(self) -> int:
        """Keys."""
        return self.frames.shape[1]

    @property
    def objective(self) -> Objective:
        """The next frame."""
        return Objective("binary cross-entropy", self.input_size, "the next frame at every step")

    @property
    def limit(self) -> tuple[int, str]:
        """The longest piece but its last frame, which no other follows."""
        return self.longest - 1, f"frames that another follows in the longest of {self.file}"

    @property
    def lengths(self) -> tuple[int, ...]:
        """Up to half of the longest piece, so that many pieces are left."""
        return doubling(max(self.longest // 2, 2))

    def sample(self, key, length: int, batch: int) -> Batch:
        """See Source; every window of `length + 1` frames inside one piece is as likely as every other."""
        steps = jnp.arange(len(self.ends), dtype=jnp.int32)
        counts = jnp.cumsum(self.ends - steps > length, dtype=jnp.int32)
        starts = jnp.searchsorted(counts, _integers(key, batch, counts[-1]), side="right").astype(jnp.int32)
        windows = self.frames[starts + jnp.arange(length + 1, dtype=jnp.int32)[:, None]]
        return Batch(windows[:-1], windows[1:], jnp.ones((length, batch), bool))

    def baseline(self, length: int) -> float:
        """The entropy of the keys, each by itself, summed over them."""
        played = np.sum(self.frames, axis=0)
        return sum(_entropy([count, len(self.frames) - count]) for count in played)
