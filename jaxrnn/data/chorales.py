"""Bach's chorales as rolls of the piano's keys."""

import json
from os import PathLike

import numpy as np
from jaxtyping import Float32

from jaxrnn.data.files import check_known, locate

KEYS = 88
LOWEST_PITCH = 21  # MIDI's number of the piano's first key
_SPLITS = {"train": "train", "validation": "valid", "test": "test"}


def jsb_chorales(split: str, directory: str | PathLike[str] | None = None) -> list[Float32[np.ndarray, "time 88"]]:
    """The chorales of J. S. Bach, a step each quarter note: 1 for a key that sounds, else 0.

    Key k is MIDI pitch 21 + k. Steps at which nothing sounds are kept as zeros.

    Source: Boulanger-Lewandowski, Bengio & Vincent (2012, https://arxiv.org/abs/1206.6392), with their split, in the
    form of github.com/czhuang/JSB-Chorales-dataset, jsb-chorales-quarter.json. Licence: none stated there; the music is
    in the public domain.

    Args:
        split: "train", "validation" or "test": 229, 76 and 77 pieces of 13,807, 4,602 and 4,725 steps.
        directory: As for `locate`.

    Raises:
        ValueError: there is no such split; else as for `locate`.

    Example:
        >>> jsb_chorales("test")[0].shape[1]  # doctest: +SKIP
        88
    """
    check_known("jsb_chorales", "split", split, _SPLITS)
    content = locate("jsb-chorales/jsb-chorales-quarter.json", directory).read_bytes()
    return [piano_roll(piece) for piece in json.loads(content)[_SPLITS[split]]]


def piano_roll(steps: list[list[int]]) -> Float32[np.ndarray, "time 88"]:
    """The roll of steps that each name the MIDI pitches sounding.

    Raises:
        ValueError: a pitch is not on the piano, 21 to 108.

    Example:
        >>> np.argwhere(piano_roll([[60, 64], [], [108]])).tolist()
        [[0, 39], [0, 43], [2, 87]]
    """
    roll = np.zeros((len(steps), KEYS), np.float32)
    for step, pitches in zip(roll, steps, strict=True):
        for pitch in pitches:
            if not 0 <= pitch - LOWEST_PITCH < KEYS:
                raise ValueError(
                    f"piano_roll: `steps` must name pitches from {LOWEST_PITCH} to {LOWEST_PITCH + KEYS - 1}, "
                    f"got {pitch}. Leave it out or transpose the piece."
                )
            step[pitch - LOWEST_PITCH] = 1
    return roll
