"""The loop around the compiled update: blocks of updates, a log, evaluation, checkpoints, a stop that loses nothing."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.cell import is_size
from jaxrnn.train.checkpoint import Checkpoints
from jaxrnn.train.log import MetricsLog
from jaxrnn.train.state import Metrics, TrainState
from jaxrnn.train.trainer import Trainer


class Diverged(RuntimeError):
    """Too many updates in a row were not finite; `state` holds the last good parameters."""

    def __init__(self, message: str, state: TrainState):
        """Keeps the state beside the message."""
        super().__init__(message)
        self.state = state


def run(
    trainer: Trainer,
    state: TrainState,
    batch_at: Callable[[int], Any],
    until: int,
    *,
    block: int = 1,
    every: int | None = None,
    evaluate: Callable[[TrainState], float] | None = None,
    checkpoints: Checkpoints | None = None,
    log: MetricsLog | None = None,
    report: Callable[[int, Metrics], None] | None = None,
) -> TrainState:
    """Trains until `state.step` has reached `until`.

    Args:
        trainer: Makes the updates.
        state: Where the run starts: `trainer.init`, or what `checkpoints.restore` gave. It is donated.
        batch_at: The batch at a position in the data, a pure function of it, such as `Segments(...).at`. Because the
            position is `state.step`, a run that resumes sees the batches that one never stopped would have seen.
        until: The number of batches after which to end, counted from the very first.
        block: Updates in one compiled call, whose batches are stacked; fewer where the next batch has other shapes.
        every: Updates between two evaluations and checkpoints; there is one at the end too. Default: at the end only.
        evaluate: The score of a state, lower is better; the checkpoints keep the best by it.
        checkpoints: Where states are saved.
        log: Where the metrics of every update are written.
        report: Called after each block with the step reached and the block's metrics, for a display of progress.

    Returns:
        The last state.

    The bits of a result depend on how its updates are cut into compiled calls: a run that resumes ends as one never
    stopped with the same `block` and `every`, and where `until` cuts a block, with the same `until`.

    An interrupt from the keyboard acts after the block at work, and after its state has been saved; a second one acts
    at once.

    Raises:
        ValueError: `until`, `block` or `every` is no whole number of at least 1.
        Diverged: the trainer's patience is over; the last good state has been saved and is the exception's `state`.

    Example:
        >>> import optax
        >>> trainer = Trainer(lambda params, batch, key: ((params - batch) ** 2, ()), optax.sgd(0.25))
        >>> state = trainer.init(jnp.float32(0), jax.random.key(0))
        >>> float(run(trainer, state, lambda position: jnp.float32(4), until=2).params)
        3.0
    """
    for name, value in (("until", until), ("block", block), ("every", until if every is None else every)):
        if not is_size(value):
            raise ValueError(f"run: `{name}` must be a whole number of at least 1, got {value!r}.")
    position, every = int(state.step), until if every is None else every
    while position < until:
        border = min(position + every - position % every, until)
        count = min(block, border - position)
        with _interrupt_deferred() as interrupted:
            state, metrics = _advance(trainer, state, batch_at, position, count)
            if log is not None:
                log.write(position, metrics)
            stopped, position = int(state.skipped_in_a_row) >= trainer.patience, int(state.step)
            score = None
            try:
                score = evaluate(state) if evaluate is not None and position == border else None
            finally:  # what was computed is saved, even if the evaluation fails
                if checkpoints is not None and (position == border or stopped or interrupted()):
                    checkpoints.save(state, score)
            if report is not None:
                report(position, metrics)
        if stopped:
            raise Diverged(
                f"run: {trainer.patience} updates in a row were not finite, the last at step {position - 1}. Look for "
                "NaN and for masks that exclude every step in the batches there; else lower the learning rate or "
                "clip. The state holds the last good parameters: start from it with "
                "state._replace(skipped_in_a_row=0 * state.skipped_in_a_row).",
                state,
            )
    return state


def _advance(trainer: Trainer, state: TrainState, batch_at, position: int, count: int) -> tuple[TrainState, Metrics]:
    """The state after at most `count` updates, fewer where batches change their shapes, and the metrics, stacked.

    Metrics are of the updates that were made before the run stopped.
    """
    batches = [batch_at(position)]
    while len(batches) < count and _form(following := batch_at(position + len(batches))) == _form(batches[0]):
        batches.append(following)
    count = len(batches)
    if count == 1:
        state, metrics = trainer.step(state, batches[0])
    else:
        state, metrics = trainer.steps(state, jax.tree.map(_stack, *batches))
    made = int(state.step) - position

    def of_those_made(x):
        x = x if jnp.issubdtype(x.dtype, jax.dtypes.extended) else np.asarray(x)  # NumPy has no typed keys
        return x.reshape(count, *x.shape[count > 1 :])[:made]

    return state, jax.tree.map(of_those_made, metrics)


def _form(batch):
    """What two batches have to share to be stacked."""
    return jax.tree.structure(batch), [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(batch)]


def _stack(*leaves):
    """On the device where the batches are there, else in NumPy."""
    return jnp.stack(leaves) if isinstance(leaves[0], jax.Array) else np.stack(leaves)


@contextlib.contextmanager
def _interrupt_deferred() -> Iterator[Callable[[], bool]]:
    """Holds a KeyboardInterrupt back until the block ends; yields a function that tells whether one came."""
    came: list[int] = []

    def note(number, frame):
        if came:
            raise KeyboardInterrupt
        came.append(number)

    own = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else interrupts are ignored, or a caller's
    if not own or threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
