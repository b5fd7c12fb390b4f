"""The linear-chain conditional random field: the probability of a whole sequence of tags.

    score(x, y) = start[y_1] + sum_t x_t[y_t] + sum_{t > 1} between[y_{t-1}, y_t] + end[y_n]
    p(y | x) = exp(score(x, y)) / sum over all y' of exp(score(x, y'))

Pure functions of emissions (time, *batch, tags), in at least float32. What stands beyond the lengths, NaN too,
reaches neither value nor gradient; a sequence of length 0 has one path, of score 0.

Source: Lafferty et al. (2001, https://repository.upenn.edu/cis_papers/159); above recurrent layers Lample et al. (2016,
https://arxiv.org/abs/1603.01360).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Integer

from jaxrnn.models.encoding import valid_steps
from jaxrnn.numerics import as_classes, carry_dtype, select, zero_unless

Emissions = Float[Array | np.ndarray, "time *batch tags"]
Tags = Integer[Array | np.ndarray, "time *batch"]
Lengths = Integer[Array | np.ndarray, "*batch"]
NO_TAG = -1


class Transitions(NamedTuple):
    """Scores of tags next to each other, of the first and of the last; or, as booleans, which of them are allowed."""

    between: Float[Array, "tags tags"] | Bool[Array, "tags tags"]  # from the row's tag to the column's
    start: Float[Array, " tags"] | Bool[Array, " tags"]
    end: Float[Array, " tags"] | Bool[Array, " tags"]


def log_partition(emissions: Emissions, transitions: Transitions, lengths: Lengths) -> Float[Array, "*batch"]:
    """ln of the sum of exp(score) over all sequences of tags, by the forward recursion in log space.

        a_1 = start + x_1
        a_t[j] = x_t[j] + ln sum_i exp(a_{t-1}[i] + between[i, j])
        ln sum_j exp(a_n[j] + end[j])

    Its gradient by the emissions is the probability of each tag at each step.

    Raises:
        ValueError: shapes do not fit, or there is no step.

    Example:
        >>> zeros = Transitions(jnp.zeros((3, 3)), jnp.zeros(3), jnp.zeros(3))
        >>> lengths = jnp.array([4, 0])
        >>> jnp.exp(log_partition(jnp.zeros((4, 2, 3)), zeros, lengths)).round().tolist()  # 3^4 paths, and one
        [81.0, 1.0]
    """
    emissions, transitions, valid = _prepare("log_partition", emissions, transitions, lengths)

    def step(a, now):
        x, active = now
        following = x + jax.nn.logsumexp(a[..., :, None] + transitions.between, axis=-2)
        return select(active, following, a), None

    a, _ = lax.scan(step, transitions.start + emissions[0], (emissions[1:], valid[1:]))
    return zero_unless(valid[0], jax.nn.logsumexp(a + transitions.end, axis=-1))


def score(emissions: Emissions, tags: Tags, transitions: Transitions, lengths: Lengths) -> Float[Array, "*batch"]:
    """The score of one sequence of tags each; score - log_partition is its log probability.

    NaN where a tag at a valid step is not one of 0 ... tags - 1.

    Raises:
        ValueError: shapes do not fit, or there is no step.

    Example:
        >>> zeros = Transitions(jnp.zeros((3, 3)), jnp.zeros(3), jnp.zeros(3))
        >>> emissions = jnp.arange(6.0).reshape(2, 1, 3)
        >>> score(emissions, jnp.array([[1], [2]]), zeros, jnp.array([2])).tolist()  # 1 + 5
        [6.0]
    """
    emissions, transitions, valid = _prepare("score", emissions, transitions, lengths)
    if tags.shape != valid.shape:
        raise ValueError(
            f"score: `tags` must be (time, *batch) = {valid.shape}, got {tags.shape}. Give one tag for each step."
        )
    tags, known = as_classes(zero_unless(valid, jnp.asarray(tags)), emissions.shape[-1])
    own = jnp.take_along_axis(emissions, tags[..., None], axis=-1)[..., 0]
    between = zero_unless(valid[1:], transitions.between[tags[:-1], tags[1:]])
    last = jnp.take_along_axis(tags, jnp.maximum(jnp.sum(valid, axis=0) - 1, 0)[None], axis=0)[0]
    ends = zero_unless(valid[0], transitions.start[tags[0]] + transitions.end[last])
    found = ends + jnp.sum(zero_unless(valid, own), axis=0) + jnp.sum(between, axis=0)
    return jnp.where(jnp.all(known, axis=0), found, jnp.nan)


def viterbi(
    emissions: Emissions, transitions: Transitions, lengths: Lengths
) -> tuple[Int[Array, "time *batch"], Float[Array, "*batch"]]:
    """The sequence of tags of the highest score, int32, and that score. Padded steps are 0; of equals the lower tag.

    Where NaN is among the scores of a sequence its tags are -1 and its score is NaN.

    Raises:
        ValueError: shapes do not fit, or there is no step.

    Example:
        >>> stay = Transitions(jnp.array([[1.0, -1.0], [-1.0, 1.0]]), jnp.zeros(2), jnp.zeros(2))
        >>> emissions = jnp.array([[[2.0, 0.0]], [[0.0, 1.5]], [[2.0, 0.0]]])
        >>> tags, best = viterbi(emissions, stay, jnp.array([3]))
        >>> tags[:, 0].tolist(), best.tolist()
        ([0, 0, 0], [6.0])
    """
    emissions, transitions, valid = _prepare("viterbi", emissions, transitions, lengths)
    same = jnp.arange(emissions.shape[-1], dtype=jnp.int32)

    def step(best, now):
        x, active = now
        through = best[..., :, None] + transitions.between
        before = jnp.argmax(through, axis=-2).astype(jnp.int32)
        return select(active, (x + jnp.max(through, axis=-2), before), (best, jnp.broadcast_to(same, before.shape)))

    def back(tag, before):
        previous = jnp.take_along_axis(before, tag[..., None], axis=-1)[..., 0]
        return previous, tag

    best, before = lax.scan(step, transitions.start + emissions[0], (emissions[1:], valid[1:]))
    ends = best + transitions.end
    first, rest = lax.scan(back, jnp.argmax(ends, axis=-1).astype(jnp.int32), before, reverse=True)
    highest = jnp.max(ends, axis=-1)
    tags = jnp.where(jnp.isnan(highest), NO_TAG, jnp.concatenate([first[None], rest]))
    return zero_unless(valid, tags), zero_unless(valid[0], highest)


def constrain(transitions: Transitions, allowed: Transitions) -> Transitions:
    """Transitions with -inf where they are not allowed: for `viterbi`, which then takes no such path.

    Raises:
        ValueError: both are not of the same number of tags.

    Example:
        >>> zeros = Transitions(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
        >>> constrain(zeros, bio_constraints(["B-X", "I-X"])).start.tolist()
        [0.0, -inf]
    """
    shapes = [tuple(jnp.shape(part) for part in each) for each in (transitions, allowed)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"constrain: `allowed` must have the shapes {shapes[0]} of the transitions, got {shapes[1]}. Make it of "
            "the names of all tags, for example by bio_constraints(names)."
        )
    return jax.tree.map(lambda s, a: jnp.where(a, s, -jnp.inf), transitions, allowed)


def bio_constraints(names: Sequence[str]) -> Transitions:
    """Which tags may follow each other in the BIO scheme: I-X only after B-X or I-X.

    Args:
        names: Of the tags, by number: "O", "B-X" or "I-X" for each type X of entity.

    Returns:
        Transitions of booleans, for `constrain` and for the decoding of a head.

    Raises:
        ValueError: a name is of another form, or none of them may begin a sequence.

    Example:
        >>> bio_constraints(["O", "B-X", "I-X"]).between.tolist()
        [[True, True, False], [True, True, True], [True, True, True]]
    """
    for name in names:
        if name != "O" and (name[:2] not in ("B-", "I-") or len(name) < 3):
            raise ValueError(
                f'bio_constraints: `names` must be "O", "B-..." or "I-...", got {name!r}. '
                "Bring the tags into the BIO scheme first."
            )
    inside = np.array([name[0] == "I" for name in names], bool)
    if inside.all():
        raise ValueError(
            f'bio_constraints: `names` must hold "O" or a "B-...", with which a sequence begins, got {list(names)}. '
            "Add one."
        )
    same_type = np.array([[before[1:] == after[1:] for after in names] for before in names])
    between, start = ~inside | same_type, ~inside
    return Transitions(jnp.asarray(between), jnp.asarray(start), jnp.ones(len(names), bool))


def _prepare(name: str, emissions, transitions: Transitions, lengths):
    """Emissions, zero in padding, and transitions in one dtype of at least float32; and which steps are valid."""
    emissions, lengths = jnp.asarray(emissions), jnp.asarray(lengths)
    time, *batch, tags = emissions.shape
    if time == 0:
        raise ValueError(
            f"{name}: `emissions` must have at least one step, got shape {emissions.shape}. Pad an empty batch by one."
        )
    if lengths.shape != tuple(batch):
        raise ValueError(
            f"{name}: `lengths` must be {tuple(batch)} as the batch of emissions is, got {lengths.shape}. Give one for "
            "each sequence."
        )
    shapes = tuple(jnp.shape(part) for part in transitions)
    if shapes != ((tags, tags), (tags,), (tags,)):
        raise ValueError(
            f"{name}: `transitions` must be (tags, tags), (tags,), (tags,) for the {tags} tags of emissions, "
            f"got {shapes}. Give one score for each pair of tags."
        )
    wide = carry_dtype(emissions.dtype)
    valid = valid_steps(time, lengths)
    transitions = Transitions(*(jnp.asarray(part).astype(wide) for part in transitions))
    return zero_unless(valid, emissions.astype(wide)), transitions, valid
