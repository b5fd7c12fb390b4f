"""The leaves of a state as files and back: the only place that knows Orbax."""

import contextlib
import logging
import math
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

_ABSENT = "absent"


def leaves_of(tree: PyTree, name: str) -> dict[str, Any]:
    """The leaves by their paths.

    Raises:
        TypeError: a leaf is no array of numbers, truth values or typed keys; `name` is what the message calls the tree.
    """
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    for path, leaf in leaves.items():
        dtype = getattr(leaf, "dtype", None)
        kinds = (np.number, np.bool_, jax.dtypes.prng_key)
        if dtype is None or not any(jnp.issubdtype(dtype, kind) for kind in kinds):
            raise TypeError(
                f"Checkpoints: {name}{path} must be an array of numbers, got {leaf!r}. Convert it, for example by "
                "jnp.asarray, or leave it out."
            )
    return leaves


def describe(leaves: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What must be known besides the files: dtype and shape of every leaf, and how the keys among them are made."""
    return {
        "leaves": _forms(leaves),
        "key_implementations": {p: str(jax.random.key_impl(x)) for p, x in leaves.items() if _is_key(x)},
    }


def write_arrays(path: Path, leaves: dict[str, Any]) -> None:
    """Writes the leaves to a new folder.

    Raises:
        OSError: whatever went wrong.
    """
    arrays = {p: np.asarray(jax.random.key_data(x) if _is_key(x) else x) for p, x in leaves.items()}
    arrays = {p: array for p, array in arrays.items() if array.size}  # Orbax refuses empty arrays
    with _orbax() as checkpointer:
        checkpointer.save(path, args=ocp.args.PyTreeSave(arrays))


def read_arrays(path: Path, described: dict[str, Any], like: PyTree) -> PyTree:
    """The leaves in the form of `like`, from a folder of `write_arrays` and what `describe` told of them.

    Raises:
        ValueError: `like` has other leaves, of which the message names the first, or 64 bits are off that it needs.
        OSError: the folder cannot be read.
    """
    wanted = leaves_of(like, "like")
    before, now = described["leaves"], _forms(wanted)
    for name in {**now, **before}:
        if before.get(name) != now.get(name):
            raise ValueError(
                f"Checkpoints: `like` is not the state that was saved in {path.parent}: `like{name}` is "
                f"{now.get(name, _ABSENT)}, the checkpoint has {before.get(name, _ABSENT)} there. Make `like` from the "
                "model and the optimizer of that run."
            )
    data = {p: jax.eval_shape(jax.random.key_data, x) if _is_key(x) else x for p, x in wanted.items()}
    arrays = {p: np.zeros(x.shape, x.dtype) for p, x in data.items() if not math.prod(x.shape)}
    restore_args = {p: ocp.RestoreArgs(restore_type=np.ndarray) for p in data if p not in arrays}
    with _orbax() as checkpointer:
        request = ocp.args.PyTreeRestore(item=dict.fromkeys(restore_args, 0), restore_args=restore_args)
        arrays |= checkpointer.restore(path, args=request)
    implementations = described["key_implementations"]
    leaves = [_place(arrays[name], leaf, implementations.get(name)) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _forms(leaves: dict[str, Any]) -> dict[str, str]:
    return {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves.items()}


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _place(array, like, key_implementation: str | None):
    """The array in the form of `like`: a typed key, of NumPy, or on its devices if it was put there explicitly."""
    if isinstance(like, np.ndarray | np.generic):
        return array
    if key_implementation is not None:
        array = jax.random.wrap_key_data(jnp.asarray(array), impl=key_implementation)
    placed = jax.device_put(array, like.sharding if getattr(like, "committed", True) else None)
    if placed.dtype != like.dtype:
        raise ValueError(
            f"Checkpoints: `like` has an array of {like.dtype}, which JAX would restore as {placed.dtype}. Turn 64 "
            'bits on by jax.config.update("jax_enable_x64", True).'
        )
    return placed


@contextlib.contextmanager
def _orbax():
    """A checkpointer without its log: what goes wrong it raises as well, in many kinds, of which this makes one."""
    logger = logging.getLogger("absl")

    def drop(record):
        return False

    logger.addFilter(drop)
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            yield checkpointer
    except Exception as error:
        reason = re.split(r" \[\w+=", str(error))[0]  # without the specification that TensorStore appends
        raise OSError(reason) from error
    finally:
        logger.removeFilter(drop)
