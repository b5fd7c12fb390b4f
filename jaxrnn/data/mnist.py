"""Handwritten digits, as images and as sequences of pixels."""

from os import PathLike
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Integer, UInt8

from jaxrnn.data.files import check_known, locate
from jaxrnn.data.idx import read_idx

_SPLITS = {
    "train": ("train", slice(0, 55_000)),
    "validation": ("train", slice(55_000, 60_000)),
    "test": ("t10k", slice(None)),
}


class LabelledImages(NamedTuple):
    """Images and what they show, one row each."""

    images: UInt8[np.ndarray, "count rows columns"]
    labels: UInt8[np.ndarray, " count"]


def mnist(split: str, directory: str | PathLike[str] | None = None) -> LabelledImages:
    """MNIST: 28 by 28 pixels from 0 to 255, labels 0 to 9.

    The test set is the official one. No validation set comes with it: here it is the last 5,000 of the 60,000 training
    images, in their order, and "train" the 55,000 before them.

    Source: http://yann.lecun.com/exdb/mnist/ (LeCun, Cortes & Burges). Licence: CC BY-SA 3.0, Yann LeCun and Corinna
    Cortes, as Keras states in keras/src/datasets/mnist.py.

    Args:
        split: "train", "validation" or "test": 55,000, 5,000 and 10,000 images.
        directory: As for `locate`.

    Raises:
        ValueError: there is no such split; else as for `locate`.

    Example:
        >>> mnist("validation").images.shape  # doctest: +SKIP
        (5000, 28, 28)
    """
    check_known("mnist", "split", split, _SPLITS)
    file, rows = _SPLITS[split]
    images = read_idx(locate(f"mnist/{file}-images-idx3-ubyte.gz", directory))
    labels = read_idx(locate(f"mnist/{file}-labels-idx1-ubyte.gz", directory))
    return LabelledImages(images[rows], labels[rows])


def pixel_sequences(
    images: UInt8[np.ndarray, "count rows columns"], permutation: Integer[np.ndarray, " pixels"] | None = None
) -> Float32[np.ndarray, "pixels count 1"]:
    """Images as sequences of one pixel a step, row by row: x_t = pixel / 255, in [0, 1].

    Args:
        images: One row each.
        permutation: Step t shows pixel permutation[t]. Default: the order of the pixels.

    Raises:
        ValueError: `permutation` does not hold every pixel's number once.

    Example:
        >>> pixel_sequences(np.full((2, 28, 28), 255, np.uint8), fixed_permutation()).shape
        (784, 2, 1)
    """
    pixels = images.reshape(len(images), -1).T
    if permutation is not None:
        if not np.array_equal(np.sort(permutation), np.arange(len(pixels))):
            raise ValueError(
                f"pixel_sequences: `permutation` must hold each of 0 to {len(pixels) - 1} once, got an array of shape "
                f"{permutation.shape} that does not. Take fixed_permutation({len(pixels)})."
            )
        pixels = pixels[permutation]
    return pixels[..., None].astype(np.float32) / np.float32(255)


def fixed_permutation(length: int = 784, seed: int = 92916) -> Integer[np.ndarray, " length"]:
    """One permutation for all images, drawn by NumPy's RandomState, whose values NumPy has frozen.

    The seed is that of permuted MNIST in the code of full-capacity unitary RNNs (Wisdom et al., 2016,
    https://arxiv.org/abs/1611.00035; github.com/stwisdom/urnn, mnist.py); other papers drew other permutations.

    Example:
        >>> fixed_permutation()[:6]
        array([319, 576, 323, 107, 355, 716])
    """
    return np.random.RandomState(seed).permutation(length)
