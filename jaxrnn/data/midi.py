"""Rolls of the piano's keys as files that can be heard.

A standard MIDI file of format 0 is a header and one track, whose numbers are big endian:

    "MThd", 6 (four bytes), format 0, tracks 1, ticks of a quarter note (two bytes each)
    "MTrk", the bytes that follow (four bytes), events
    an event     the ticks since the last (of variable length), then one of
        FF 51 03 t t t      from here a quarter note lasts t microseconds
        90 pitch velocity   a note begins
        80 pitch velocity   a note ends
        FF 2F 00            the track ends

A number of variable length is cut into 7 bits a byte, the highest first; all its bytes but the last have bit 7 set.

Source: Standard MIDI Files 1.0, RP-001 (MIDI Manufacturers Association, 1996, https://midi.org/specifications).
"""

import struct
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Array, Bool, Real

from jaxrnn.cell import is_size
from jaxrnn.data.chorales import KEYS, LOWEST_PITCH
from jaxrnn.files import write_all

_TICKS = 120  # of a step: one alone would be exact as well, but some programs round notes to their own finer grid
_MOST_STEPS = 0x7FFF // _TICKS
_VELOCITY = 80
_MICROSECONDS = 60_000_000  # of a minute


def write_midi(
    path: str | PathLike[str],
    roll: Real[Array | np.ndarray, "time keys"] | Bool[Array | np.ndarray, "time keys"],
    steps_per_quarter: int,
    beats_per_minute: float = 90,
) -> None:
    """Writes a roll as a standard MIDI file: a key that sounds over several steps is one note held.

    The file is written beside its place and then renamed, so that it is never half there.

    Args:
        path: Where it goes, by custom with the ending .mid; a file there is replaced.
        roll: 1 where key k, MIDI pitch 21 + k, sounds at a step, else 0 (time, 88), as `piano_roll` makes it.
        steps_per_quarter: Steps of a quarter note: 1 for `jsb_chorales`.
        beats_per_minute: Quarter notes in a minute.

    Raises:
        ValueError: the roll is not (time, 88) or holds other than 0 and 1, `steps_per_quarter` is no whole number from
            1 to 273, a quarter note does not last from 1 to 16,777,215 microseconds, or the file cannot be written.

    Example:
        >>> from jaxrnn.data import jsb_chorales
        >>> write_midi("chorale.mid", jsb_chorales("test")[0], steps_per_quarter=1)  # doctest: +SKIP
    """
    keys = np.asarray(roll)
    if keys.ndim != 2 or keys.shape[1] != KEYS:
        raise ValueError(f"write_midi: `roll` must be (time, {KEYS}), got the shape {keys.shape}. Give one piece.")
    strange = keys[(keys != 0) & (keys != 1)]
    if strange.size:
        raise ValueError(
            f"write_midi: `roll` must hold 0 and 1 alone, got {strange[0]}. Draw the notes from their probabilities."
        )
    if not is_size(steps_per_quarter) or steps_per_quarter > _MOST_STEPS:
        raise ValueError(
            f"write_midi: `steps_per_quarter` must be a whole number from 1 to {_MOST_STEPS}, "
            f"got {steps_per_quarter!r}. Give 1 if a step is a quarter note."
        )
    if not _MICROSECONDS / 0xFFFFFF <= beats_per_minute <= _MICROSECONDS:
        raise ValueError(
            "write_midi: `beats_per_minute` must let a quarter note last from 1 to 16,777,215 microseconds, "
            f"got {beats_per_minute!r}. Give such as 90."
        )
    tempo = round(_MICROSECONDS / beats_per_minute)
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, _TICKS * steps_per_quarter)
    track = _number(0) + b"\xff\x51\x03" + tempo.to_bytes(3, "big") + _notes(keys != 0)
    content = header + b"MTrk" + struct.pack(">I", len(track)) + track
    place = Path(path)
    try:
        write_all(place.parent, {place.name: lambda beside: beside.write_bytes(content)})
    except OSError as error:
        raise ValueError(
            f"write_midi: cannot write {path}: {error.strerror}. Give a path in a folder that is there and not locked."
        ) from error


def _notes(sounds: np.ndarray) -> bytes:
    """The events of the notes, and the end of the track at that of the last step."""
    changes = np.diff(sounds.astype(np.int8), axis=0, prepend=np.int8(0), append=np.int8(0))
    events, told = bytearray(), 0
    for step, change in enumerate(changes):
        for status, keys in ((0x80, np.flatnonzero(change < 0)), (0x90, np.flatnonzero(change > 0))):
            for key in keys:
                events += _number((step - told) * _TICKS) + bytes([status, LOWEST_PITCH + key, _VELOCITY])
                told = step
    return bytes(events + _number((len(sounds) - told) * _TICKS) + b"\xff\x2f\x00")


def _number(value: int) -> bytes:
    """A number of variable length."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))
