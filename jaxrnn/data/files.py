"""Files: those of the data sets, in a folder of the user's, checked by SHA-256, downloaded when missing; and any."""

import contextlib
import hashlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from jaxrnn.data.catalogue import FILES as FILES
from jaxrnn.data.catalogue import File as File


def locate(name: str, directory: str | PathLike[str] | None = None) -> Path:
    """The path of a file of `FILES`, whose content is checked on every call, and which is downloaded if missing.

    Args:
        name: `<data set>/<file>`, a key of `FILES`, and the path inside the directory.
        directory: Where the data sets lie. Default: the environment variable JAXRNN_DATA, else `jaxrnn` in the user's
            cache folder (XDG_CACHE_HOME, else ~/.cache).

    A download needs pooch, `pip install 'jaxrnn[data]'`. It is checked outside the directory and then put in its place
    in one piece: a download that fails leaves the directory as it was.

    Raises:
        ValueError: the name is unknown, the path is no file or cannot be read, the content is not what it should be, or
            a missing file cannot be downloaded.
    """
    check_known("locate", "name", name, FILES)
    path, file = _root(directory) / name, FILES[name]
    try:
        if not path.exists():
            _download(path, name)
        if not path.is_file():
            raise ValueError(
                f"locate: {path} must be a file, got a folder or the like. Move it away, or {_elsewhere(name)}."
            )
        with path.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(
            f"locate: cannot read {path}: {error.strerror}. Make it and its folders readable, or {_elsewhere(name)}."
        ) from error
    if found != file.sha256:
        raise ValueError(
            f"locate: {path} must have the SHA-256 {file.sha256}, got {found}: it is cut short or another file. "
            f"Delete it, and it is downloaded again, or put the file from {file.url} in its place."
        )
    return path


def is_present(name: str, directory: str | PathLike[str] | None = None) -> bool:
    """Whether `locate` would find a file without a download; what it holds is not looked at."""
    check_known("is_present", "name", name, FILES)
    return (_root(directory) / name).is_file()


def check_known(function: str, argument: str, value: str, known: Iterable[str]) -> None:
    """Raises ValueError unless the value of a function's argument is one of those known."""
    if value not in (names := tuple(known)):
        raise ValueError(
            f"{function}: `{argument}` must be one of {', '.join(names)}, got {value!r}. Choose one of them."
        )


def read_content(function: str, path: str | PathLike[str]) -> bytes:
    """The bytes of any file.

    Raises:
        ValueError: it is missing or cannot be read; named is the function that a user called.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{function}: cannot read {path}: {error.strerror}. Give the path of a file.") from error


def _root(directory) -> Path:
    if directory is None:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        directory = os.environ.get("JAXRNN_DATA") or Path(cache) / "jaxrnn"
    return Path(directory).expanduser()


def _download(path: Path, name: str) -> None:
    file, missing = FILES[name], [folder for folder in path.parents if not folder.exists()]
    try:
        pooch = importlib.import_module("pooch")
        with tempfile.TemporaryDirectory() as scratch:
            fetched = pooch.retrieve(file.url, f"sha256:{file.sha256}", fname=path.name, path=scratch)
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as beside:  # the same disk, so that moving is atomic
                os.replace(shutil.copyfile(fetched, Path(beside) / path.name), path)
    except (ImportError, OSError, ValueError) as error:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise ValueError(
            f"locate: {path} is missing, and downloading it failed: {error}. Put the file from {file.url} there, or "
            f"{_elsewhere(name)}; downloads need pip install 'jaxrnn[data]' and a network."
        ) from error


def _elsewhere(name: str) -> str:
    return f"set JAXRNN_DATA to a folder that holds {name}"
