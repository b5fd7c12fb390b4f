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
from typing import NamedTuple

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_SHAKESPEARE = "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
_CHORALES = "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d"
_BROWNLEE = "https://raw.githubusercontent.com/jbrownlee/Datasets/d20fcb6402ae34e653d4513b00f39257bb37ed7f"
_STATSMODELS = "https://raw.githubusercontent.com/statsmodels/statsmodels/82c59e378bdfb5ae324006c477954879ad3e24be"
_ETT = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07"


class File(NamedTuple):
    """What the content of a file must hash to, and a public address that serves it."""

    sha256: str
    url: str


FILES = {
    "mnist/train-images-idx3-ubyte.gz": File(
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", f"{_MNIST}/train-images-idx3-ubyte.gz"
    ),
    "mnist/train-labels-idx1-ubyte.gz": File(
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", f"{_MNIST}/train-labels-idx1-ubyte.gz"
    ),
    "mnist/t10k-images-idx3-ubyte.gz": File(
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", f"{_MNIST}/t10k-images-idx3-ubyte.gz"
    ),
    "mnist/t10k-labels-idx1-ubyte.gz": File(
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", f"{_MNIST}/t10k-labels-idx1-ubyte.gz"
    ),
    "tinyshakespeare/input.txt": File(
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        f"{_SHAKESPEARE}/data/tinyshakespeare/input.txt",
    ),
    "jsb-chorales/jsb-chorales-quarter.json": File(
        "2db9329f1881a1d3f49703ec556bf1d6f84b4f6c1d702c156536e93cf31e1c91", f"{_CHORALES}/jsb-chorales-quarter.json"
    ),
    "time-series/airline-passengers.csv": File(
        "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621", f"{_BROWNLEE}/airline-passengers.csv"
    ),
    "time-series/daily-min-temperatures.csv": File(
        "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da", f"{_BROWNLEE}/daily-min-temperatures.csv"
    ),
    "time-series/monthly-sunspots.csv": File(
        "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3", f"{_BROWNLEE}/monthly-sunspots.csv"
    ),
    "time-series/sunspots.csv": File(
        "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b",
        f"{_STATSMODELS}/statsmodels/datasets/sunspots/sunspots.csv",
    ),
    "time-series/co2.csv": File(
        "16695fa2786e53414e5a6b54767a3fdf5de99cfbc68617f69d1362d92776a92f",
        f"{_STATSMODELS}/statsmodels/datasets/co2/co2.csv",
    ),
    "etth1/ETTh1.csv": File(
        "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066", f"{_ETT}/ETT-small/ETTh1.csv"
    ),
}


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
