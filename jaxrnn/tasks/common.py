"""What the tasks share: checks of their fields, whole random numbers, and the judgement of outputs."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrnn.cell import is_size
from jaxrnn.numerics import zero_unless
from jaxrnn.tasks.batch import Batch


def check_size(task, name: str, least: int, reason: str) -> None:
    """Raises ValueError unless a field of a task is a whole number that leaves room for what the task holds."""
    value = getattr(task, name)
    if not is_size(value) or value < least:
        raise ValueError(
            f"{type(task).__name__}: `{name}` must be a whole number of at least {least}, {reason}, got {value!r}."
        )


def check_choice(task, name: str, choices: tuple) -> None:
    """Raises ValueError unless a field of a task is one of the choices: a word or a whole number."""
    value = getattr(task, name)
    if value not in choices or not (isinstance(value, str) or is_size(value)):
        raise ValueError(f"{type(task).__name__}: `{name}` must be one of {choices}, got {value!r}.")


def check_batch(task, batch) -> None:
    """Raises ValueError unless as many sequences can be drawn."""
    if not is_size(batch):
        raise ValueError(
            f"{type(task).__name__}.sample: `batch` must be a whole number of at least 1, got {batch!r}. "
            "Give the number of sequences to draw."
        )


def integers(key, batch: int, low, high):
    """Whole numbers (batch,) of `low`, ..., `high` - 1, int32 whether 64 bits are on or off."""
    return jax.random.randint(key, (batch,), low, high, jnp.int32)


def steps_of(length: int):
    """The numbers of the steps, (length, 1), to be compared with one number a sequence."""
    return jnp.arange(length, dtype=jnp.int32)[:, None]


def final(task, outputs: Float[Array, "time batch output"], batch: Batch) -> Float[Array, "batch output"]:
    """The output at the one scored step of each sequence, in float32."""
    check_outputs(task, outputs, batch)
    return jnp.sum(zero_unless(batch.mask, outputs.astype(jnp.float32)), axis=0)


def final_error(task, outputs: Float[Array, "time batch 1"], batch: Batch) -> Float[Array, " batch"]:
    """Output minus target at the one scored step of each sequence, in float32."""
    return (final(task, outputs, batch) - jnp.asarray(batch.targets, jnp.float32))[:, 0]


def leads(outputs: Float[Array, "*batch output"], members: Bool[Array, "*batch output"]) -> Bool[Array, "*batch"]:
    """Whether each output among the members is larger than each other one; a tie does not lead, nor does any NaN.

    NaN is looked for by itself, because XLA may compile a minimum that passes over it.
    """
    least = jnp.min(jnp.where(members, outputs, jnp.inf), axis=-1)
    most = jnp.max(jnp.where(members, -jnp.inf, outputs), axis=-1)
    return (least > most) & ~jnp.any(jnp.isnan(outputs), axis=-1)


def check_outputs(task, outputs, batch: Batch) -> None:
    """Raises ValueError unless the outputs are (time, batch, output_size)."""
    expected = (*batch.mask.shape, task.output_size)
    if outputs.shape != expected:
        raise ValueError(
            f"{type(task).__name__}.wrong: `outputs` must be (time, batch, output_size) = {expected}, got "
            f"{outputs.shape}. Hand in what the readout gives at every step, as it is."
        )
