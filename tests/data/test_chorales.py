import json

import numpy as np
import pytest

from jaxrnn.data import jsb_chorales, piano_roll

COUNTS = {"train": (229, 13_807), "validation": (76, 4_602), "test": (77, 4_725)}


def test_a_roll_is_one_where_a_key_sounds():
    roll = piano_roll([[60, 72, 79, 88], [], [21], [108]])
    assert roll.shape == (4, 88) and roll.dtype == np.float32
    assert [np.flatnonzero(step).tolist() for step in roll] == [[39, 51, 58, 67], [], [0], [87]]
    assert set(roll.ravel().tolist()) == {0.0, 1.0}
    assert piano_roll([]).shape == (0, 88)


@pytest.mark.parametrize("pitch", [20, 109, -1])
def test_a_pitch_off_the_piano_is_refused(pitch):
    with pytest.raises(ValueError, match=rf"pitches from 21 to 108, got {pitch}\."):
        piano_roll([[60], [pitch]])


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`split` must be one of train, validation, test, got 'valid'"):
        jsb_chorales("valid", tmp_path)


def test_the_real_pieces(directory):
    recorded = json.loads((directory / "jsb-chorales" / "jsb-chorales-quarter.json").read_text())
    pieces = {split: jsb_chorales(split, directory) for split in COUNTS}
    assert {split: (len(rolls), sum(map(len, rolls))) for split, rolls in pieces.items()} == COUNTS
    steps = np.concatenate([roll for rolls in pieces.values() for roll in rolls])
    assert (steps.sum(axis=1) == 0).sum() == 64 and steps.sum(axis=1).max() == 4
    assert np.flatnonzero(steps.any(axis=0))[[0, -1]].tolist() == [43 - 21, 96 - 21]
    for piece, roll in zip(recorded["valid"], pieces["validation"], strict=True):
        assert [sorted(pitches) for pitches in piece] == [(np.flatnonzero(step) + 21).tolist() for step in roll]
