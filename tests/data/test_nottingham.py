import io
import sys

import numpy as np
import pytest

from jaxrnn.data import nottingham

COUNTS = {"train": (694, 176_561), "validation": (173, 45_513), "test": (170, 44_463)}


def matlab(**splits):
    savemat = pytest.importorskip("scipy.io", reason="MATLAB's files need the extra `data`").savemat
    buffer = io.BytesIO()
    cells = {}
    for name, tunes in splits.items():
        cells[name] = np.empty((1, len(tunes)), object)
        cells[name][0] = tunes
    savemat(buffer, cells)
    return buffer.getvalue()


def test_tunes_of_a_split_come_as_they_are(pinned):
    generator = np.random.default_rng(0)
    tunes = {
        name: [generator.integers(0, 2, (length, 88), np.uint8) for length in lengths]
        for name, lengths in {"traindata": (3, 5), "validdata": (4, 1), "testdata": (2, 6, 7)}.items()
    }
    folder = pinned("nottingham/Nottingham.mat", matlab(**tunes))
    for split, name in {"train": "traindata", "validation": "validdata", "test": "testdata"}.items():
        got = nottingham(split, folder)
        assert len(got) == len(tunes[name]) and all(roll.dtype == np.float32 for roll in got)
        assert all(np.array_equal(*pair) for pair in zip(got, tunes[name], strict=True))


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nottingham: `split` must be one of train, validation, test, got 'valid'"):
        nottingham("valid", tmp_path)


def test_without_scipy_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ValueError, match=r"nottingham: .* needs SciPy: .*scipy\.io.*pip install 'jaxrnn\[data\]'"):
        nottingham("train", tmp_path)


def test_the_real_tunes(directory):
    pytest.importorskip("scipy", reason="MATLAB's files need the extra `data`")
    tunes = {split: nottingham(split, directory) for split in COUNTS}
    assert {split: (len(rolls), sum(map(len, rolls))) for split, rolls in tunes.items()} == COUNTS
    steps = np.concatenate([roll for rolls in tunes.values() for roll in rolls])
    assert set(np.unique(steps).tolist()) == {0.0, 1.0} and steps.shape[1] == 88
