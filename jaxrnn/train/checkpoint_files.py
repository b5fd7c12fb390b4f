"""Checkpoints as folders on disk: written whole or not at all, and checked byte by byte.

    folder/000007-step-3500/      the seventh save, of step 3500
        arrays/                   the leaves of the state, as Orbax writes them
        manifest.json             configuration, step, score; path, dtype and shape of every leaf
        SHA256SUMS                of all files above: `sha256sum -c SHA256SUMS` checks them by hand

A checkpoint is written under a name that ends in `.partial`, forced to disk, and then renamed: that one step makes it
exist. Renamed back, it is gone, and can be removed file by file. Orbax notices most damage to its files, but flipped
bytes inside compressed array data it returns as wrong numbers; hence the sums. They are compared before a file is
parsed. Files that the sums do not name, such as those that a file browser leaves behind, do not count.
"""

import hashlib
import io
import json
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from jaxrnn.train.checkpoint_arrays import describe, read_arrays, write_arrays

_ARRAYS, _MANIFEST, _SUMS = "arrays", "manifest.json", "SHA256SUMS"
_NAME = re.compile(r"([0-9]{6,})-step-(-?[0-9]+)")
_PARTIAL_NAME = re.compile(_NAME.pattern + r"-[0-9a-f]{32}\.partial")  # being written or removed; never read
_SUM = re.compile(r"([0-9a-f]{64})  ([^\0\n]+)\n")


class Damaged(Exception):
    """A checkpoint lacks a file, or has one that does not match its sum."""


class Saved(NamedTuple):
    """A checkpoint on disk. Without a manifest there is `trouble`: `Damaged`, or OSError where it cannot be read."""

    path: Path
    serial: int
    step: int
    manifest: dict[str, Any] | None
    trouble: Damaged | OSError | None

    @property
    def score(self) -> float | None:
        """The score, None if there is none, or none that can be read."""
        return None if self.manifest is None else self.manifest["score"]


def saved_in(folder: Path) -> list[Saved]:
    """All checkpoints, the last one first, with their manifests; the arrays are not looked at."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    found = []
    for name in names:
        if match := _NAME.fullmatch(name):
            path, manifest, trouble = folder / name, None, None
            try:
                manifest = _read_manifest(path)
            except (Damaged, OSError) as error:
                trouble = error
            found.append(Saved(path, int(match[1]), int(match[2]), manifest, trouble))
    return sorted(found, key=lambda one: one.serial, reverse=True)


def trouble_with(saved: Saved) -> Damaged | OSError | None:
    """Reads all files: None if they are good, `Damaged` if they never will be, OSError if that cannot be told."""
    try:
        for name, digest in _read_sums(saved.path).items():
            if _digest(saved.path / name) != digest:
                return Damaged(f"{name} does not match {_SUMS}")
    except (Damaged, OSError) as error:
        return error
    return saved.trouble


def write(folder: Path, leaves: dict[str, Any], *, configuration: dict[str, Any], step: int, score: float | None):
    """Writes a checkpoint, or raises OSError and leaves nothing behind."""
    there = list(folder.iterdir())
    for path in there:
        if _PARTIAL_NAME.fullmatch(path.name) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # left by a crash; what cannot be removed now may be next time
    serial = 1 + max((int(match[1]) for path in there if (match := _NAME.fullmatch(path.name))), default=0)
    path = folder / f"{serial:06d}-step-{step}"
    partial = _partial(path)
    manifest = {"configuration": configuration, "step": step, "score": score, **describe(leaves)}
    try:
        partial.mkdir()
        write_arrays(partial / _ARRAYS, leaves)
        (partial / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        (partial / _SUMS).write_text(_sums(partial))
        for inner in (*partial.rglob("*"), partial):
            _force_to_disk(inner)
        partial.rename(path)
        _force_to_disk(folder)
    except Exception:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def read(saved: Saved, like):
    """The state, in the form of `like`; `ValueError` where that has other leaves, OSError where it cannot be read."""
    assert saved.manifest is not None
    return read_arrays(saved.path / _ARRAYS, saved.manifest, like)


def remove(saved: Saved) -> None:
    """Removes a checkpoint; half removed it is none any more."""
    shutil.rmtree(saved.path.rename(_partial(saved.path)))


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}-{uuid.uuid4().hex}.partial")


def _read_manifest(path: Path) -> dict[str, Any]:
    sums = _read_sums(path)
    with _open(path / _MANIFEST) as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != sums[_MANIFEST]:
        raise Damaged(f"{_MANIFEST} does not match {_SUMS}")
    return json.loads(content)


def _read_sums(path: Path) -> dict[str, str]:
    """The sum of each file, by name."""
    with _open(path / _SUMS) as file:
        lines = file.read().decode(errors="replace").splitlines(keepends=True)
    matches = [_SUM.fullmatch(line) for line in lines]
    sums = {match[2]: match[1] for match in matches if match}
    if None in matches or _MANIFEST not in sums:
        raise Damaged(f"{_SUMS} is not as it was written")
    return sums


def _sums(path: Path) -> str:
    """What SHA256SUMS is to hold; the manifest, which every reader asks for, last, lest the end be cut off unseen."""
    names = [file.relative_to(path).as_posix() for file in sorted((path / _ARRAYS).rglob("*")) if file.is_file()]
    return "".join(f"{_digest(path / name)}  {name}\n" for name in (*names, _MANIFEST))


def _digest(path: Path) -> str:
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise Damaged(f"{path.name} is missing") from None


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
