import errno
import functools
import hashlib
import re
import shutil
import sys
from pathlib import Path

import pytest

from jaxrnn.data import files, locate, read_text
from jaxrnn.data.files import FILES, File

NAME, CONTENT = "plays/hamlet.txt", b"To be, or not to be"
URL = "https://example.org/plays/hamlet.txt"


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(FILES, NAME, File(hashlib.sha256(CONTENT).hexdigest(), URL))
    monkeypatch.delenv("JAXRNN_DATA", raising=False)


def put(directory, content=CONTENT):
    path = directory / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def everything(directory):
    return sorted(directory.rglob("*"))


@pytest.fixture
def served(monkeypatch):
    """A list of what is served, one content for each download, and pooch that takes it from there."""
    pooch = pytest.importorskip("pooch", reason="downloads need the extra `data`")
    contents = []

    def downloader(url, output_file, pooch):
        assert url == URL
        content = contents.pop(0)
        if isinstance(content, Exception):
            raise content
        Path(output_file).write_bytes(content)

    monkeypatch.setattr(pooch, "retrieve", functools.partial(pooch.retrieve, downloader=downloader))
    return contents


def test_the_argument_then_the_environment_then_the_cache_of_the_user(tmp_path, monkeypatch):
    named, environment, cache, home = (tmp_path / name for name in ("named", "environment", "cache", "home"))
    paths = [put(named), put(environment), put(cache / "jaxrnn"), put(home / ".cache" / "jaxrnn")]
    monkeypatch.setenv("JAXRNN_DATA", str(environment))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("HOME", str(home))
    found = [locate(NAME, named), locate(NAME)]
    monkeypatch.delenv("JAXRNN_DATA")
    found.append(locate(NAME))
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert [*found, locate(NAME)] == paths
    assert locate(NAME, "~/.cache/jaxrnn") == paths[-1]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"\n", CONTENT.swapcase(), b""])
def test_another_content_is_refused_each_time(tmp_path, content):
    path = put(tmp_path)
    assert read_text(locate(NAME, tmp_path)) == CONTENT.decode()
    path.write_bytes(content)
    message = (
        rf"{path} must have the SHA-256 {FILES[NAME].sha256}, got {hashlib.sha256(content).hexdigest()}.*Delete it"
    )
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            locate(NAME, tmp_path)
    assert path.read_bytes() == content


def test_an_unknown_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`name` must be one of mnist/.*, got 'plays/macbeth.txt'"):
        locate("plays/macbeth.txt", tmp_path)


def test_a_missing_file_is_downloaded_once(tmp_path, served):
    served.append(CONTENT)
    directory = tmp_path / "new" / "folder"
    path = locate(NAME, directory)
    assert path == directory / NAME and path.read_bytes() == CONTENT
    assert everything(directory) == [path.parent, path]  # nothing is left beside it
    assert locate(NAME, directory) == path and not served


@pytest.mark.parametrize("content", [CONTENT[:5], b"<html>Not found</html>", ConnectionError("no network")])
def test_a_download_that_fails_changes_nothing(tmp_path, served, content):
    served += [content, CONTENT]
    message = rf"{tmp_path / NAME} is missing, and downloading it failed: .*Put the file from {URL} there, or set JAX"
    with pytest.raises(ValueError, match=message):
        locate(NAME, tmp_path)
    assert not everything(tmp_path)
    assert locate(NAME, tmp_path).read_bytes() == CONTENT  # and can be tried again


def test_a_folder_that_cannot_be_made_is_named(tmp_path, served):
    served.append(CONTENT)
    (tmp_path / "plays").write_text("a file where the folder should be")
    with pytest.raises(ValueError, match=r"is missing, and downloading it failed: .*File exists"):
        locate(NAME, tmp_path)
    assert everything(tmp_path) == [tmp_path / "plays"]


def half_a_copy(source, target):
    Path(target).write_bytes(CONTENT[:5])
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("before", [(), ("plays",), ("plays", "plays/macbeth.txt")])
def test_a_copy_that_fails_leaves_the_directory_as_it_was(tmp_path, served, monkeypatch, before):
    for name in before:
        (tmp_path / name).touch() if name.endswith(".txt") else (tmp_path / name).mkdir()
    served += [CONTENT, CONTENT]
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", half_a_copy)
        with pytest.raises(ValueError, match=r"hamlet\.txt is missing, and downloading it failed: .*No space left"):
            locate(NAME, tmp_path)
    assert everything(tmp_path) == [tmp_path / name for name in before]
    assert locate(NAME, tmp_path).read_bytes() == CONTENT


def test_folders_made_above_are_removed_too(tmp_path, served, monkeypatch):
    served.append(CONTENT)
    monkeypatch.setattr(shutil, "copyfile", half_a_copy)
    with pytest.raises(ValueError, match="No space left"):
        locate(NAME, tmp_path / "new" / "folder")
    assert not everything(tmp_path)


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path):
    (tmp_path / NAME).mkdir(parents=True)
    with pytest.raises(ValueError, match=rf"{tmp_path / NAME} must be a file, got a folder.*Move it .*JAXRNN_DATA"):
        locate(NAME, tmp_path)


@pytest.mark.parametrize("call", ["stat", "open"])
def test_what_must_not_be_read_is_told(tmp_path, monkeypatch, call):
    path = put(tmp_path)
    real = getattr(Path, call)

    def closed(self, *arguments, **options):
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, call, closed)
    with pytest.raises(ValueError, match=rf"cannot read {path}: Permission denied\. Make it .* or set JAXRNN_DATA"):
        locate(NAME, tmp_path)


def test_without_pooch_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(
        ValueError, match=rf"failed: .*pooch.*from {URL} there.*JAXRNN_DATA.*holds {NAME}; .*pip install"
    ):
        locate(NAME, tmp_path)
    assert not everything(tmp_path)
    put(tmp_path)
    assert locate(NAME, tmp_path).is_file()  # what is there needs no pooch


def test_addresses_are_pinned():
    for name, file in FILES.items():
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.url.rsplit("/", 1)[1] == name.rsplit("/", 1)[1]
        assert (
            re.match(r"https://ossci-datasets|https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", file.url)
            or name == NAME
        )
    assert not hasattr(files, "pooch")


def test_the_real_files_have_the_pinned_contents(directory):
    for name in sorted(set(FILES) - {NAME}):
        assert locate(name, directory) == directory / name
