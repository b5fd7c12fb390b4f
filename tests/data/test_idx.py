import gzip
import struct

import numpy as np
import pytest

from jaxrnn.data import read_idx

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(array):
    header = bytes([0, 0, CODES[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def images():
    return np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (0, 28, 28)])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_what_was_written_is_read(tmp_path, name, shape, compress):
    array = np.random.default_rng(0).uniform(-100, 100, shape).astype(np.float64)
    array = np.abs(array).astype(name) if name == "uint8" else array.astype(name)
    (tmp_path / "file").write_bytes(compress(idx_bytes(array)))
    got = read_idx(tmp_path / "file")
    assert got.dtype == array.dtype and got.dtype.isnative
    np.testing.assert_array_equal(got, array)


BAD = {
    "empty": (b"", r"is no idx file.*got \[\].*Give a file"),
    "short magic": (b"\0\0\x08", r"is no idx file.*got \[0, 0, 8\]"),
    "foreign": (b"\x89PNG\r\n\x1a\n" + bytes(50), r"is no idx file.*got \[137, 80, 78, 71\]"),
    "unknown type": (b"\0\0\x0a\1" + bytes(8), r"is no idx file.*got \[0, 0, 10, 1\]"),
    "no axes": (b"\0\0\x08\0" + bytes(8), r"is no idx file.*got \[0, 0, 8, 0\]"),
    "half a header": (idx_bytes(images())[:10], r"is truncated: a header of 3 axes takes 16 bytes, got 10"),
    "half the entries": (idx_bytes(images())[:-5], r"is truncated: shape \(2, 3, 4\).*takes 24 bytes.*got 19"),
    "too many entries": (idx_bytes(images()) + b"more", r"holds more than it says:.*takes 24 bytes.*got 28"),
    "huge sizes": (b"\0\0\x08\3" + b"\xff" * 12, r"is truncated: shape .*got 0"),
    "truncated gzip": (gzip.compress(idx_bytes(images()))[:-12], r"truncated or damaged gzip file.*again"),
    "damaged gzip": (gzip.compress(idx_bytes(images()))[:-8] + bytes(8), r"truncated or damaged gzip file"),
    "damaged stream": (gzip.compress(idx_bytes(images()))[:10] + b"\xff" * 30, r"truncated or damaged gzip file"),
    "gzip of something else": (gzip.compress(b"hello world"), r"is no idx file.*got \[104, 101, 108, 108\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_by_name(tmp_path, case):
    content, message = BAD[case]
    path = tmp_path / "bad-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"absent: No such file.*Give the path of a file"):
        read_idx(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"Is a directory"):
        read_idx(tmp_path)


def test_real_images_and_labels(tmp_path, directory):
    path = directory / "mnist" / "t10k-images-idx3-ubyte.gz"
    got = read_idx(path)
    assert got.shape == (10_000, 28, 28) and got.dtype == np.uint8
    assert got.max() == 255 and (got[:, 0, 0] == 0).all()
    labels = read_idx(directory / "mnist" / "t10k-labels-idx1-ubyte.gz")
    assert labels.shape == (10_000,) and set(labels.tolist()) == set(range(10))
    (tmp_path / "cut.gz").write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="truncated or damaged gzip"):
        read_idx(tmp_path / "cut.gz")
