"""Checkpoints on disk: whole or not there, checked byte by byte, and refused by a run of another configuration.

    folder/000007-step-3500/      the seventh save, of step 3500
        arrays/                   the leaves of the state, as Orbax writes them
        manifest.json             configuration, step, score; path, dtype and shape of every leaf
        SHA256SUMS                of all files above: `sha256sum -c SHA256SUMS` checks them by hand

A checkpoint is written under a name that ends in `.partial`, forced to disk, and then renamed: that one step makes it
exist. Orbax notices most damage to its files, but flipped bytes inside compressed array data it returns as wrong
numbers; hence the sums. They are compared before a file is parsed.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import re
import shutil
import uuid
import warnings
from pathlib import Path
from typing import Any, NamedTuple, SupportsFloat, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from jaxrnn.cell import is_size

_ARRAYS, _MANIFEST, _SUMS = "arrays", "manifest.json", "SHA256SUMS"
_PARTIAL = ".partial"  # being written or removed; never read
_NAME = re.compile(r"(\d+)-step-(-?\d+)")
_ABSENT = "absent"

State = TypeVar("State")


class _Saved(NamedTuple):
    """A checkpoint on disk. `manifest` is None where it is damaged."""

    path: Path
    serial: int
    step: int
    manifest: dict[str, Any] | None

    @property
    def score(self) -> float | None:
        return None if self.manifest is None else self.manifest["score"]


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run in one folder: the last ones and, at the same time, the best ones.

    A crash at any moment, also in the middle of `save`, leaves every earlier checkpoint whole, and none that is half
    written is ever taken for good. What is damaged later, by so much as a byte, is noticed and passed over. "Last"
    goes by the order of saving: after a return to an earlier step the new saves count, not the abandoned ones. A state
    is any pytree of arrays with a field `step`, such as `TrainState`: typed keys, 16-bit, complex and empty arrays
    come back bit for bit. One process writes to a folder, one run at a time; others may read.

    Fields:
        folder: Where the checkpoints are; made if it does not exist. It may hold other files.
        configuration: What the numbers depend on, as a dict or a dataclass, nested as you like: dataclasses (cells,
            initialisers), dicts, lists, tuples, numbers, strings, None, dtypes and module-level functions. It is kept
            in each checkpoint. What may differ between a run and its resumption (length, paths) does not belong in it.
        keep_last: How many of the last ones to keep, at least 1. Default: 3.
        keep_best: How many of those with the lowest score to keep besides. Default: 1.

    Raises:
        ValueError: `keep_last` is below 1 or `keep_best` below 0; the folder's checkpoints have another configuration,
            of which the message names the first difference.
        TypeError: a value in `configuration` is of another kind.
        OSError: the folder cannot be made.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> class State(NamedTuple):
        ...     params: jax.Array
        ...     step: jax.Array
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     checkpoints = Checkpoints(folder, {"learning_rate": 0.1})
        ...     for step, score in enumerate([0.5, 0.2, 0.3, 0.4, 0.6]):
        ...         checkpoints.save(State(jnp.full(2, step, jnp.float32), jnp.int32(step)), score)
        ...     like = State(jnp.zeros(2, jnp.float32), jnp.int32(0))
        ...     int(checkpoints.restore(like).step), int(checkpoints.restore_best(like).step)
        (4, 1)
    """

    folder: str | os.PathLike[str]
    configuration: Any
    keep_last: int = 3
    keep_best: int = 1

    def __post_init__(self):  # noqa: D105
        for name, least, value in (("keep_last", 1, self.keep_last), ("keep_best", 0, self.keep_best)):
            if not is_size(value + 1 - least):
                raise ValueError(f"Checkpoints: `{name}` must be a whole number of at least {least}, got {value!r}.")
        _flatten(self.configuration)
        path = Path(self.folder).absolute()
        object.__setattr__(self, "folder", path)  # so that a later change of the working directory moves nothing
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"Checkpoints: cannot make the folder {path} ({error.strerror}). Give one that can be written to."
            ) from error
        self._saved()

    def save(self, state: PyTree, score: SupportsFloat | None = None) -> None:
        """Writes a checkpoint of `state` and then removes those that are neither among the last nor the best.

        Saving a step once more supersedes what was saved under it before, which goes when the new one is whole.

        Args:
            state: A pytree of arrays with a field `step`; of several runs at once the furthest step counts.
            score: Lower is better; NaN counts as infinity. None: the checkpoint counts for the last ones only.

        Raises:
            TypeError: a leaf of `state` is no array.
            ValueError: the folder holds checkpoints of another configuration.
            OSError: it cannot be written, because the disk is full or read-only; those saved before are unharmed.
        """
        leaves = _leaves(state, "state")
        step = int(np.max(state.step))
        if score is not None:
            score = math.inf if math.isnan(float(score)) else float(score)
        serial = 1 + max((saved.serial for saved in self._saved()), default=0)
        name = f"{serial:06d}-step-{step}"
        partial = Path(self.folder, f"{name}-{uuid.uuid4().hex}{_PARTIAL}")
        manifest = {
            "configuration": _flatten(self.configuration),
            "step": step,
            "score": score,
            "leaves": {path: _describe(leaf) for path, leaf in leaves.items()},
            "key_implementations": {p: str(jax.random.key_impl(x)) for p, x in leaves.items() if _is_key(x)},
        }
        try:
            for leftover in Path(self.folder).glob(f"*-step-*{_PARTIAL}"):
                shutil.rmtree(leftover)
            partial.mkdir()
            _write_arrays(partial / _ARRAYS, leaves)
            (partial / _MANIFEST).write_text(json.dumps(manifest, indent=1))
            (partial / _SUMS).write_text(_sums(partial))
            for path in (*partial.rglob("*"), partial):
                _force_to_disk(path)
            partial.rename(Path(self.folder, name))
            _force_to_disk(self.folder)
            self._prune()
        except Exception as error:  # Orbax and TensorStore raise many kinds
            shutil.rmtree(partial, ignore_errors=True)
            reason = re.split(r" \[\w+=", str(error))[0]  # without the specification that TensorStore appends
            raise OSError(
                f"Checkpoints.save: cannot save step {step} in {self.folder} ({reason}). Make room, or give a folder "
                "that can be written to; the checkpoints saved before are unharmed."
            ) from error

    def restore(self, like: State) -> State | None:
        """The checkpoint saved last that is undamaged, or None if there is none at all.

        Args:
            like: A state with the structure, shapes and dtypes of the one saved, such as a fresh one, or one of
                `jax.ShapeDtypeStruct`. Arrays come back of its kind, JAX or NumPy, and on its devices.

        Raises:
            ValueError: all are damaged, or `like` differs from the checkpoint; the first leaf that does is named.

        Warns:
            UserWarning: damaged ones were passed over; says which, and which was taken.
        """
        return self._restore(like, self._saved())

    def restore_best(self, like: State) -> State | None:
        """The undamaged checkpoint with the lowest score, or None if none was saved with a score; as `restore`."""
        saved = self._saved()
        unknown = [one for one in saved if one.manifest is None]
        return self._restore(like, unknown + _best(saved))

    def _restore(self, like, candidates: list[_Saved]):
        damaged = []
        for saved in candidates:
            if not _is_intact(saved.path):
                damaged.append(f"step {saved.step} ({saved.path.name})")
                continue
            state = _read(saved, like)
            if damaged:
                warnings.warn(
                    f"Checkpoints: passed over {', '.join(damaged)} in {self.folder}, whose files do not match "
                    f"{_SUMS}; took step {saved.step} ({saved.path.name}) instead.",
                    stacklevel=3,
                )
            return state
        if damaged:
            raise ValueError(
                f"Checkpoints: all that could be restored from {self.folder} is damaged: {', '.join(damaged)}; the "
                f"files do not match {_SUMS}. Remove them to start anew, or bring back a copy."
            )
        return None

    def _saved(self) -> list[_Saved]:
        """All checkpoints in the folder, the last one first; refuses those of another configuration."""
        found = []
        for path in Path(self.folder).iterdir():
            if match := _NAME.fullmatch(path.name):
                found.append(_Saved(path, int(match[1]), int(match[2]), _manifest(path)))
        own = _flatten(self.configuration)
        for saved in found:
            stored = own if saved.manifest is None else saved.manifest["configuration"]
            for name in {**stored, **own}:
                before, now = (json.dumps(c[name]) if name in c else _ABSENT for c in (stored, own))
                if before != now:
                    raise ValueError(
                        f"Checkpoints: {saved.path} was saved under another configuration: `{name}` was {before}, now "
                        f"it is {now}. Go back to that configuration, or give another folder."
                    )
        return sorted(found, key=lambda one: one.serial, reverse=True)

    def _prune(self) -> None:
        saved = self._saved()
        last = _distinct([one for one in saved if one.manifest is not None])[: self.keep_last]
        kept = {one.path for one in last + _best(saved)[: self.keep_best]}
        for one in saved:
            if one.path not in kept:
                leaving = one.path.rename(f"{one.path}{_PARTIAL}")  # half removed it must not be taken for good
                shutil.rmtree(leaving)


def _distinct(saved: list[_Saved]) -> list[_Saved]:
    """The first for each step."""
    found: dict[int, _Saved] = {}
    for one in saved:
        found.setdefault(one.step, one)
    return list(found.values())


def _best(saved: list[_Saved]) -> list[_Saved]:
    """Those with a score, the lowest first; of equal ones the one saved first."""
    newest = _distinct([one for one in saved if one.score is not None])
    return sorted(newest, key=lambda one: (one.score, one.serial))


def _flatten(value: Any, name: str = "") -> dict[str, Any]:
    """A configuration as names and plain values: {"cell": "LSTM", "cell.hidden_size": 64, "layers.0": 8, ...}."""
    if value is None or isinstance(value, str | int | float):
        return {name: value}
    if isinstance(value, np.dtype):
        return {name: str(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = {name: type(value).__name__} if name else {}
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, dict):
        own, parts = ({} if value or not name else {name: {}}), value
    elif isinstance(value, list | tuple):
        own, parts = ({} if value else {name: []}), dict(enumerate(value))
    elif "<" not in getattr(value, "__qualname__", "<"):  # a class or module-level function
        return {name: value.__qualname__}
    else:
        raise TypeError(
            f"Checkpoints: `configuration` must hold dataclasses, dicts, lists, numbers, strings, None and "
            f"module-level functions, got {value!r} at `{name}`. Describe it by such values."
        )
    prefix = f"{name}." if name else ""
    return own | {k: v for part, inner in parts.items() for k, v in _flatten(inner, f"{prefix}{part}").items()}


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _leaves(tree: PyTree, name: str) -> dict[str, Any]:
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    for path, leaf in leaves.items():
        if not hasattr(leaf, "dtype"):
            raise TypeError(
                f"Checkpoints: {name}{path} must be an array, got {leaf!r}. Convert it, for example by jnp.asarray."
            )
    return leaves


def _describe(leaf) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _write_arrays(path: Path, leaves: dict[str, Any]) -> None:
    arrays = {p: np.asarray(jax.random.key_data(x) if _is_key(x) else x) for p, x in leaves.items()}
    arrays = {p: array for p, array in arrays.items() if array.size}  # Orbax refuses empty arrays
    with _quiet(), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(path, args=ocp.args.PyTreeSave(arrays))


def _read(saved: _Saved, like):
    assert saved.manifest is not None
    wanted, stored = _leaves(like, "like"), saved.manifest["leaves"]
    described = {path: _describe(leaf) for path, leaf in wanted.items()}
    for path in {**described, **stored}:
        before, now = stored.get(path, _ABSENT), described.get(path, _ABSENT)
        if before != now:
            raise ValueError(
                f"Checkpoints: `like` is not the state that was saved in {saved.path}: `like{path}` is {now}, the "
                f"checkpoint has {before} there. Make `like` from the model and the optimizer of that run."
            )
    data = {p: jax.eval_shape(jax.random.key_data, x) if _is_key(x) else x for p, x in wanted.items()}
    arrays = {p: np.zeros(x.shape, x.dtype) for p, x in data.items() if not math.prod(x.shape)}
    restore_args = {p: ocp.RestoreArgs(restore_type=np.ndarray) for p in data if p not in arrays}
    with _quiet(), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        request = ocp.args.PyTreeRestore(item=dict.fromkeys(restore_args, 0), restore_args=restore_args)
        arrays |= checkpointer.restore(saved.path / _ARRAYS, args=request)
    implementations = saved.manifest["key_implementations"]
    leaves = [_place(arrays[path], leaf, implementations.get(path)) for path, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _place(array, like, key_implementation: str | None):
    """The array in the form of `like`: a typed key, of NumPy, or on its devices if it was put there explicitly."""
    if isinstance(like, np.ndarray | np.generic):
        return array
    if key_implementation is not None:
        array = jax.random.wrap_key_data(jnp.asarray(array), impl=key_implementation)
    return jax.device_put(array, like.sharding if getattr(like, "committed", True) else None)


@contextlib.contextmanager
def _quiet():
    """Mutes the log of Orbax: what goes wrong it raises as well."""
    logger = logging.getLogger("absl")

    def drop(record):
        return False

    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)


def _sums(path: Path) -> str:
    """What SHA256SUMS must hold: a line for each file but itself."""
    lines = []
    for file in sorted(path.rglob("*")):
        if file.is_file() and file != path / _SUMS:
            with file.open("rb") as content:
                lines.append(_sum(hashlib.file_digest(content, "sha256"), file.relative_to(path).as_posix()))
    return "".join(lines)


def _sum(digest, name: str) -> str:
    return f"{digest.hexdigest()}  {name}\n"


def _is_intact(path: Path) -> bool:
    try:
        return (path / _SUMS).read_bytes() == _sums(path).encode()
    except OSError:
        return False


def _manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a checkpoint, or None if it does not match its sum."""
    try:
        content, sums = (path / _MANIFEST).read_bytes(), (path / _SUMS).read_bytes()
    except OSError:
        return None
    return json.loads(content) if _sum(hashlib.sha256(content), _MANIFEST).encode() in sums else None


def _force_to_disk(path: str | os.PathLike[str]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
