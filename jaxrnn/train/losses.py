"""Losses over the steps that count: many-to-one, one-to-many and synced many-to-many are one mask apart.

Outputs are (time, batch, ...), targets broadcast against them, the mask (time, batch) says which steps are scored:
the last alone (many-to-one), those after the input has ended (one-to-many), or all (many-to-many). Each loss is the
mean over the scored steps, in at least float32; what stands at the others, NaN too, reaches neither its value nor
its gradient.
"""

import jax.numpy as jnp
import numpy as np
import optax
from jax import core
from jaxtyping import Array, Float, Num, Shaped

from jaxrnn.numerics import as_classes, carry_dtype, zero_unless

Mask = Shaped[Array | np.ndarray, "..."]  # (time, batch), boolean
Targets = Num[Array | np.ndarray, "..."]


def masked_mean(values: Float[Array, "time batch"], mask: Mask) -> Float[Array, ""]:
    """The mean of the values where the mask holds.

    Raises:
        ValueError: the mask excludes every step, or is of another shape. Where it is traced the mean of nothing is NaN
            instead, and a trainer skips the update.
        TypeError: the mask is not boolean.

    Example:
        >>> float(masked_mean(jnp.array([[1.0], [5.0]]), jnp.array([[False], [True]])))
        5.0
    """
    if mask.dtype != bool:
        raise TypeError(f"`mask` must be boolean, got {mask.dtype}. Convert it, for example mask != 0.")
    if mask.shape != values.shape:
        raise ValueError(f"`mask` must be (time, batch) = {values.shape} as the values are, got {mask.shape}.")
    if not isinstance(mask, core.Tracer) and not np.any(mask):
        raise ValueError(
            f"`mask` of shape {mask.shape} excludes every step, and the mean of none has no value. "
            "Leave at least one step in, or leave the batch out."
        )
    return jnp.sum(zero_unless(mask, values)) / jnp.sum(mask, dtype=values.dtype)


def squared_error(
    outputs: Float[Array | np.ndarray, "time batch output"], targets: Targets, mask: Mask
) -> Float[Array, ""]:
    """The mean of (output - target)^2 over scored steps and output features.

    `targets` are (time, batch, output), or (batch, output) for one target a sequence.

    Example:
        >>> ys, mask = jnp.full((3, 2, 1), 0.5), jnp.array([[False], [False], [True]]) & jnp.ones(2, bool)
        >>> float(squared_error(ys, jnp.ones((2, 1)), mask))
        0.25
    """
    outputs, targets = _scored(outputs, targets, mask, outputs.shape)
    return masked_mean(jnp.mean((outputs - targets.astype(outputs.dtype)) ** 2, axis=-1), mask)


def cross_entropy(
    logits: Float[Array | np.ndarray, "time batch classes"], labels: Targets, mask: Mask
) -> Float[Array, ""]:
    """-ln softmax(logits)[label] in nats, over scored steps; over ln 2 it is in bits.

    `labels` are whole numbers (time, batch), or (batch,) for one label a sequence. The loss is NaN where one at a
    scored step is not in 0 ... classes - 1; steps to be ignored are for the mask.

    Raises:
        TypeError: `labels` are no whole numbers.

    Example:
        >>> round(float(cross_entropy(jnp.zeros((4, 2, 3)), jnp.array([0, 2]), jnp.ones((4, 2), bool))), 4)  # ln 3
        1.0986
    """
    logits, labels, known = _labelled(logits, labels, mask)
    each = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    return masked_mean(jnp.where(known, each, jnp.nan), mask)


def binary_cross_entropy(
    logits: Float[Array | np.ndarray, "time batch output"], targets: Targets, mask: Mask
) -> Float[Array, ""]:
    """-sum_k (y_k ln s(z_k) + (1 - y_k) ln(1 - s(z_k))), summed over the outputs k, s the logistic function.

    The mean over scored steps is the negative log-likelihood a frame of polyphonic music, in nats, over its 88 keys.

    Example:
        >>> frames, mask = jnp.zeros((5, 2, 88)), jnp.ones((5, 2), bool)
        >>> round(float(binary_cross_entropy(frames, frames, mask) / np.log(2)), 4)
        88.0
    """
    logits, targets = _scored(logits, targets, mask, logits.shape)
    each = optax.losses.sigmoid_binary_cross_entropy(logits, targets.astype(logits.dtype))
    return masked_mean(jnp.sum(each, axis=-1), mask)


def accuracy(logits: Float[Array | np.ndarray, "time batch classes"], labels: Targets, mask: Mask) -> Float[Array, ""]:
    """The share of scored steps whose largest logit is that of the label; where one is NaN, none is.

    Raises:
        TypeError: `labels` are no whole numbers.

    Example:
        >>> float(accuracy(jnp.zeros((4, 2, 3)), jnp.array([0, 2]), jnp.ones((4, 2), bool)))
        0.5
    """
    logits, labels, known = _labelled(logits, labels, mask)
    told = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    right = (told == labels) & known & ~jnp.isnan(logits).any(axis=-1)
    return masked_mean(right.astype(logits.dtype), mask)


def _labelled(logits, labels, mask):
    """As `_scored`, and which labels are classes."""
    dtype = jnp.asarray(labels).dtype
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(f"`labels` must be whole numbers, the numbers of classes, got {dtype}. Cast them to int32.")
    logits, labels = _scored(logits, jnp.asarray(labels), mask, logits.shape[:2])
    return logits, *as_classes(labels, logits.shape[-1])


def _scored(outputs, targets, mask, shape):
    """Outputs, and targets spread over all steps, both zero where nothing is scored."""
    if mask.shape != outputs.shape[:2]:
        raise ValueError(
            f"`mask` must be (time, batch) = {outputs.shape[:2]} as the outputs {outputs.shape} are, got {mask.shape}."
        )
    try:
        targets = jnp.broadcast_to(targets, shape)
    except ValueError as error:
        raise ValueError(
            f"targets {jnp.shape(targets)} do not fit outputs {outputs.shape}: they must broadcast against {shape}."
        ) from error
    outputs = jnp.asarray(outputs)
    wide = outputs.astype(carry_dtype(outputs.dtype))
    return zero_unless(mask, wide), zero_unless(mask, targets)
