import numpy as np
import pytest

from jaxrnn.data import Alphabet, read_bytes, read_text, split_by_position, tinyshakespeare


def test_bytes_come_as_they_are(tmp_path):
    content = bytes(range(256)) + "é".encode()
    (tmp_path / "file").write_bytes(content)
    got = read_bytes(tmp_path / "file")
    assert got.dtype == np.uint8 and got.shape == (258,)
    assert got.tobytes() == content
    np.testing.assert_array_equal(read_bytes(str(tmp_path / "file")), got)


def test_characters_come_as_they_are(tmp_path):
    text = "Grüße, 世界 🎼\r\nline two\n\r"
    (tmp_path / "file").write_bytes(text.encode())
    assert read_text(tmp_path / "file") == text


def test_what_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "latin").write_bytes("Grüße".encode("latin-1"))
    with pytest.raises(ValueError, match=r"read_text: .*latin is not UTF-8: .*position 2.*read_bytes"):
        read_text(tmp_path / "latin")


@pytest.mark.parametrize("reader", [read_bytes, read_text])
def test_empty_and_missing_files_are_refused(tmp_path, reader):
    path = tmp_path / "empty.txt"
    path.touch()
    with pytest.raises(ValueError, match=rf"{reader.__name__}: .*empty\.txt is empty, 0 bytes\. Give a file"):
        reader(path)
    with pytest.raises(ValueError, match=rf"{reader.__name__}: .*absent\.txt: No such file.*Give the path"):
        reader(tmp_path / "absent.txt")
    with pytest.raises(ValueError, match=r"Is a directory.*Give the path"):
        reader(tmp_path)


def test_a_sequence_is_split_by_position():
    assert split_by_position("abcdefghij") == ("abcdefghi", "j")
    train, rest = split_by_position(np.arange(7), 0.5)
    assert train.tolist() == [0, 1, 2] and rest.tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "share"), [("", 0.9), ("a", 0.9), ("abc", 0.1), ("abc", 1.0), ("abc", -1.0), ("ab", 2.0)]
)
def test_a_split_with_an_empty_part_is_refused(text, share):
    with pytest.raises(ValueError, match=rf"`share` must lie .* of the {len(text)} steps, got {share}\. Take one"):
        split_by_position(text, share)


def test_tiny_shakespeare(directory):
    text = tinyshakespeare(directory)
    assert text.startswith("First Citizen:\n")
    train, validation = split_by_position(text)
    assert (len(text), len(train), len(validation)) == (1_115_394, 1_003_854, 111_540)
    alphabet = Alphabet.of(text)
    assert alphabet.size == 65
    tokens = alphabet.encode(text)
    assert tokens.min() == 0 and tokens.max() == 64
    assert alphabet.decode(tokens[-1000:]) == text[-1000:]
    np.testing.assert_array_equal(read_bytes(directory / "tinyshakespeare" / "input.txt"), np.array([*text.encode()]))
