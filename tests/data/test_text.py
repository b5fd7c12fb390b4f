from pathlib import Path

import numpy as np
import pytest

from jaxrnn.data import read_bytes

SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare" / "input.txt"


def test_bytes_come_as_they_are(tmp_path):
    content = bytes(range(256)) + "é".encode()
    (tmp_path / "file").write_bytes(content)
    got = read_bytes(tmp_path / "file")
    assert got.dtype == np.uint8 and got.shape == (258,)
    assert got.tobytes() == content
    np.testing.assert_array_equal(read_bytes(str(tmp_path / "file")), got)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.txt"
    path.touch()
    with pytest.raises(ValueError, match=r"empty\.txt is empty, 0 bytes\. Give a file"):
        read_bytes(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.txt: No such file.*Give the path"):
        read_bytes(tmp_path / "absent.txt")
    with pytest.raises(ValueError, match=r"Is a directory.*Give the path"):
        read_bytes(tmp_path)


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="the tiny Shakespeare file is not on this machine")
def test_real_text():
    assert read_bytes(SHAKESPEARE)[:14].tobytes() == b"First Citizen:"
