"""Which checkpoints of a run are kept, which one it goes on from, and that it is of the same configuration."""

import dataclasses
import math
import numbers
import operator
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, SupportsFloat, TypeVar

import numpy as np
from jaxtyping import PyTree

from jaxrnn.train.checkpoint_arrays import leaves_of
from jaxrnn.train.checkpoint_files import Damaged, Saved, read, remove, saved_in, trouble_with, write
from jaxrnn.train.configuration import difference, flatten

State = TypeVar("State")


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
            initialisers), dicts, lists, tuples, numbers, strings, None, dtypes and functions that can be imported by
            name. It is kept in each checkpoint. What may differ between a run and its resumption (its end, paths) does
            not belong in it.
        keep_last: How many of the last ones to keep, at least 1. Default: 3.
        keep_best: How many of those with the lowest score to keep besides. Default: 1.

    Raises:
        ValueError: `keep_last` is no whole number of at least 1, or `keep_best` of at least 0; the folder's
            checkpoints have another configuration, of which the message names the first difference.
        TypeError: a value in `configuration` is of another kind, or a key is no string or has one of . [ ] in it.
        OSError: the folder cannot be made.

    Example:
        >>> import tempfile, jax, jax.numpy as jnp
        >>> from typing import NamedTuple
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
            if not isinstance(value, numbers.Integral) or isinstance(value, bool) or int(value) < least:
                raise ValueError(f"Checkpoints: `{name}` must be a whole number of at least {least}, got {value!r}.")
        flatten(self.configuration)
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
        Before any is removed all are read and compared with their sums, so that no good one gives way to a damaged
        one; one that cannot be read at that moment stays.

        Args:
            state: A pytree of arrays with a field `step`; of several runs at once the furthest step counts.
            score: Lower is better; NaN counts as infinity. None: the checkpoint counts for the last ones only.

        Raises:
            TypeError: a leaf of `state` is no array of numbers, there is no `step`, or it or the score is no number.
            ValueError: the folder holds checkpoints of another configuration.
            OSError: it cannot be written, because the disk is full or read-only; those saved before are unharmed.

        Warns:
            UserWarning: it is saved, but an older one could not be removed; the next save tries again.
        """
        if not hasattr(state, "step"):
            raise TypeError(
                f"Checkpoints.save: `state` must have a field `step`, got a {type(state).__name__}. Make it a "
                "TrainState, or a NamedTuple of your own."
            )
        leaves = leaves_of(state, "state")
        try:
            step = operator.index(np.max(state.step))
            score = None if score is None else _number(score)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(
                f"Checkpoints.save: `state.step` must be whole numbers and `score` one number or None, got "
                f"{state.step!r} and {score!r}. Convert them."
            ) from error
        score = math.inf if score is not None and math.isnan(score) else score
        try:
            self._saved()
            write(Path(self.folder), leaves, configuration=flatten(self.configuration), step=step, score=score)
        except OSError as error:
            raise OSError(
                f"Checkpoints.save: cannot save step {step} in {self.folder} ({error}). Make room, or give a folder "
                "that can be written to; the checkpoints saved before are unharmed."
            ) from error
        try:
            self._prune()
        except OSError as error:
            warnings.warn(
                f"Checkpoints.save: step {step} is saved in {self.folder}, but older ones that were to go could not "
                f"be removed ({error}); the next save tries again.",
                stacklevel=2,
            )

    def restore(self, like: State) -> State | None:
        """The checkpoint saved last that is undamaged, or None if there is none at all.

        Args:
            like: A state with the structure, shapes and dtypes of the one saved, such as a fresh one, or one of
                `jax.ShapeDtypeStruct`. Arrays come back of its kind, JAX or NumPy, and on its devices.

        Raises:
            ValueError: all are damaged or cannot be read, or `like` differs from the checkpoint; the first leaf that
                does is named.

        Warns:
            UserWarning: some were passed over, being damaged or not to be read; says which, and which was taken.
        """
        return self._restore(like, lambda saved: saved)

    def restore_best(self, like: State) -> State | None:
        """The undamaged checkpoint with the lowest score, or None if none was saved with a score; as `restore`."""
        return self._restore(like, lambda saved: [one for one in saved if one.trouble] + _best(saved))

    def _restore(self, like, choose: Callable[[list[Saved]], list[Saved]]):
        passed_over, candidates = [], choose(self._saved())
        while candidates:
            saved, *candidates = candidates
            state, trouble = None, trouble_with(saved)
            try:
                if trouble is None:
                    state = read(saved, like)
            except OSError as error:
                trouble = error
            if not saved.path.exists():  # the process that writes removed it under our hands, for a later one
                passed_over, candidates = [], choose(self._saved())
            elif trouble:
                what = "is damaged" if isinstance(trouble, Damaged) else "cannot be read"
                passed_over.append(f"step {saved.step} ({saved.path.name}), which {what} ({trouble})")
            else:
                if passed_over:
                    warnings.warn(
                        f"Checkpoints: in {self.folder} passed over {'; '.join(passed_over)}; took step {saved.step} "
                        f"({saved.path.name}) instead.",
                        stacklevel=3,
                    )
                return state
        if passed_over:
            raise ValueError(
                f"Checkpoints: nothing in {self.folder} can be restored: {'; '.join(passed_over)}. Bring back a copy "
                "or make them readable, or give another folder to start anew."
            )
        return None

    def _saved(self) -> list[Saved]:
        """All checkpoints in the folder, the last one first; refuses those of another configuration."""
        found, own = saved_in(Path(self.folder)), flatten(self.configuration)
        for saved in found:
            if saved.manifest is not None and (words := difference(saved.manifest["configuration"], own)):
                raise ValueError(
                    f"Checkpoints: {saved.path} was saved under another configuration: {words}. Go back to that "
                    "configuration, or give another folder."
                )
        return found

    def _prune(self) -> None:
        saved = self._saved()
        troubles = {one.path: trouble_with(one) for one in saved}
        good = [one for one in saved if troubles[one.path] is None]
        if not good:
            return  # `restore` names damaged ones; where there are none at all, a run starts anew
        kept = _distinct(good)[: self.keep_last] + _best(good)[: self.keep_best]
        for one in saved:
            if one not in kept and not isinstance(troubles[one.path], OSError):
                remove(one)


def _number(score: SupportsFloat) -> float:
    """A number as a float; text that looks like one is none."""
    if isinstance(score, str | bytes):
        raise TypeError(f"{score!r} is text")
    return float(score)


def _distinct(saved: list[Saved]) -> list[Saved]:
    """The first for each step."""
    found: dict[int, Saved] = {}
    for one in saved:
        found.setdefault(one.step, one)
    return list(found.values())


def _best(saved: list[Saved]) -> list[Saved]:
    """Those with a score, the lowest first; of equal ones the one saved first."""
    newest = _distinct([one for one in saved if one.score is not None])
    return sorted(newest, key=lambda one: (one.score, one.serial))
