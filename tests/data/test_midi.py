import struct

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.data import jsb_chorales, piano_roll, write_midi


def parse(content):
    """Ticks of a quarter note, microseconds of one, notes (begin, end, pitch) and the track's end, both in ticks."""
    assert content[:4] == b"MThd"
    size, form, tracks, division = struct.unpack(">IHHH", content[4:14])
    assert (size, form, tracks) == (6, 0, 1) and division < 0x8000
    assert content[14:18] == b"MTrk" and struct.unpack(">I", content[18:22]) == (len(content) - 22,)
    place, now, tempo, open_notes, notes = 22, 0, None, {}, []
    while True:
        delta = 0
        while True:
            byte = content[place]
            place += 1
            delta = delta * 128 + byte % 128
            if byte < 128:
                break
        now += delta
        event = content[place : place + 3]
        place += 3
        if event == b"\xff\x51\x03":
            assert tempo is None and now == 0
            tempo = int.from_bytes(content[place : place + 3], "big")
            place += 3
        elif event == b"\xff\x2f\x00":
            assert place == len(content) and not open_notes
            return division, tempo, notes, now
        elif event[0] == 0x90:
            assert event[1] not in open_notes and 0 < event[2] < 128
            open_notes[event[1]] = now
        else:
            assert event[0] == 0x80 and event[2] < 128
            notes.append((open_notes.pop(event[1]), now, event[1]))


def roll_of(division, notes, end, steps_per_quarter):
    """The roll that a file tells, by filling in each of its notes."""
    ticks = division // steps_per_quarter
    assert ticks * steps_per_quarter == division
    roll = np.zeros((end // ticks, 88), np.float32)
    for begin, until, pitch in notes:
        assert begin % ticks == until % ticks == 0
        roll[begin // ticks : until // ticks, pitch - 21] += 1
    return roll


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize(("steps_per_quarter", "beats"), [(1, 90.0), (4, 120.0), (273, 61.7)])
def test_what_was_written_is_parsed(tmp_path, density, steps_per_quarter, beats):
    roll = (np.random.default_rng(0).uniform(size=(37, 88)) < density).astype(np.float32)
    for given in (roll, roll.astype(bool), jnp.asarray(roll), roll.astype(np.uint8)):
        write_midi(tmp_path / "tune.mid", given, steps_per_quarter, beats)
        division, tempo, notes, end = parse((tmp_path / "tune.mid").read_bytes())
        assert abs(tempo - 60e6 / beats) <= 0.5
        np.testing.assert_array_equal(roll_of(division, notes, end, steps_per_quarter), roll)
    assert list(tmp_path.iterdir()) == [tmp_path / "tune.mid"]


def test_a_key_over_several_steps_is_one_note(tmp_path):
    roll = piano_roll([[60, 108], [60], [], [60, 21], [64, 21], []])
    write_midi(tmp_path / "tune.mid", roll, steps_per_quarter=2)
    division, tempo, notes, end = parse((tmp_path / "tune.mid").read_bytes())
    step = division // 2
    assert sorted(notes) == [
        (0, step, 108),
        (0, 2 * step, 60),
        (3 * step, 4 * step, 60),
        (3 * step, 5 * step, 21),
        (4 * step, 5 * step, 64),
    ]
    assert end == 6 * step and tempo == 666_667


def test_long_rests_take_more_bytes(tmp_path):
    roll = np.zeros((20_000, 88), np.float32)
    roll[[0, -1], 39] = 1
    write_midi(tmp_path / "tune.mid", roll, 4)
    division, _, notes, end = parse((tmp_path / "tune.mid").read_bytes())
    np.testing.assert_array_equal(roll_of(division, notes, end, 4), roll)


def test_the_bytes_of_a_small_file(tmp_path):
    write_midi(tmp_path / "tune.mid", piano_roll([[60], [60], []]), steps_per_quarter=1, beats_per_minute=120.0)
    assert (tmp_path / "tune.mid").read_bytes() == bytes.fromhex(
        "4d546864 00000006 0000 0001 0078 4d54726b 00000014 00 ff5103 07a120 00 903c50 8170 803c50 78 ff2f00"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 87)), 1), r"`roll` must be \(time, 88\), got the shape \(3, 87\)\. Give one piece"),
        ((np.zeros((3, 2, 88)), 1), r"got the shape \(3, 2, 88\)"),
        ((np.full((3, 88), 0.5), 1), r"`roll` must hold 0 and 1 alone, got 0\.5\. Draw"),
        ((np.full((3, 88), np.nan), 1), r"`roll` must hold 0 and 1 alone, got nan"),
        ((np.zeros((3, 88)), 0), r"`steps_per_quarter` must be a whole number from 1 to 273, got 0"),
        ((np.zeros((3, 88)), 274), r"from 1 to 273, got 274"),
        ((np.zeros((3, 88)), 1.5), r"from 1 to 273, got 1\.5"),
        ((np.zeros((3, 88)), 1, 0.0), r"`beats_per_minute` must let a quarter note last .* got 0\.0"),
        ((np.zeros((3, 88)), 1, 3.5), r"got 3\.5\. Give such as 90"),
        ((np.zeros((3, 88)), 1, 7e7), r"got 70000000\.0"),
        ((np.zeros((3, 88)), 1, float("nan")), r"got nan"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_what_cannot_be_written_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=f"write_midi: .*{message}"):
        write_midi(tmp_path / "tune.mid", *arguments)
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_none_is_refused_and_an_old_file_replaced(tmp_path):
    roll = piano_roll([[60]])
    with pytest.raises(ValueError, match=r"write_midi: cannot write .*absent/tune\.mid: No such file.*Give a path"):
        write_midi(tmp_path / "absent" / "tune.mid", roll, 1)
    (tmp_path / "folder.mid").mkdir()
    with pytest.raises(ValueError, match=r"write_midi: cannot write .*folder\.mid: folder\.mid is a folder"):
        write_midi(tmp_path / "folder.mid", roll, 1)
    (tmp_path / "tune.mid").write_text("old")
    write_midi(str(tmp_path / "tune.mid"), roll, 1)
    assert parse((tmp_path / "tune.mid").read_bytes())[2] == [(0, 120, 60)]


def test_a_real_chorale(tmp_path, directory):
    roll = jsb_chorales("test", directory)[0]
    write_midi(tmp_path / "chorale.mid", roll, steps_per_quarter=1)
    division, _, notes, end = parse((tmp_path / "chorale.mid").read_bytes())
    np.testing.assert_array_equal(roll_of(division, notes, end, 1), roll)
    assert len(notes) < roll.sum()  # some are held
