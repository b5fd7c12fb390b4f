"""Output layers of taggers."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn.models import CRFHead, SoftmaxHead, bio_constraints
from tests.checks import assert_close
from tests.models import by_hand

TIME, BATCH, FEATURES = 4, 3, 2
NAMES = ["O", "B-X", "I-X", "B-Y", "I-Y"]
TAGS = len(NAMES)
LENGTHS = np.array([4, 0, 2])
VALID = np.arange(TIME)[:, None] < LENGTHS
RNG = np.random.default_rng(0)
FEATURE_ROWS = jnp.asarray(np.where(VALID[..., None], RNG.normal(size=(TIME, BATCH, FEATURES)), np.nan))
TARGETS = np.where(VALID, RNG.integers(0, TAGS, (TIME, BATCH)), -1)


def build(kind, dtype=jnp.float64):
    return by_hand.stirred(kind(FEATURES, TAGS, param_dtype=dtype, rngs=nnx.Rngs(0)), scale=1.0)


def log_probability(head, row):
    """Of the targets of a row, all sequences written out."""
    logits = by_hand.linear(head.linear, np.asarray(FEATURE_ROWS)[: LENGTHS[row], row])
    path = TARGETS[: LENGTHS[row], row]
    if isinstance(head, SoftmaxHead) or not len(path):
        return by_hand.log_softmax(logits)[np.arange(len(path)), path].sum()
    between, start, end = map(np.asarray, head.transitions)

    def score(path):
        total = logits[np.arange(len(path)), path].sum() + start[path[0]] + end[path[-1]]
        return total + sum(between[a, b] for a, b in itertools.pairwise(path))

    every = [score(np.array(path)) for path in itertools.product(range(TAGS), repeat=len(path))]
    return score(path) - np.log(np.exp(every).sum())


@pytest.mark.parametrize("kind", [SoftmaxHead, CRFHead])
def test_the_loss_is_in_nats_a_valid_step(kind):
    """Rows of length 0 count neither in the sum nor in the number of steps; NaN in padding reaches nothing."""
    head = build(kind)
    expected = -sum(log_probability(head, row) for row in range(BATCH)) / LENGTHS.sum()
    np.testing.assert_allclose(head.loss(FEATURE_ROWS, TARGETS, LENGTHS), expected, rtol=1e-12)
    by_hand.check_model_gradient(head, lambda head: head.loss(FEATURE_ROWS, TARGETS, LENGTHS))
    only = [0, 2]
    np.testing.assert_allclose(head.loss(FEATURE_ROWS[:, only], TARGETS[:, only], LENGTHS[only]), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [SoftmaxHead, CRFHead])
@pytest.mark.parametrize("tag", [-1, TAGS])
def test_a_tag_that_is_none_has_no_loss(kind, tag):
    tags = np.where(VALID, TARGETS, 0)
    assert np.isfinite(build(kind).loss(FEATURE_ROWS, tags, LENGTHS))
    tags[0, 0] = tag
    assert np.isnan(build(kind).loss(FEATURE_ROWS, tags, LENGTHS))


@pytest.mark.parametrize("kind", [SoftmaxHead, CRFHead])
def test_constraints_of_other_tags_are_refused(kind):
    with pytest.raises(ValueError, match="constrain: `allowed` must have the shapes"):
        build(kind).decode(FEATURE_ROWS, LENGTHS, bio_constraints(["O"]))


def test_a_fresh_field_is_the_softmax():
    softmax, field = (kind(FEATURES, TAGS, rngs=nnx.Rngs(0)) for kind in (SoftmaxHead, CRFHead))
    features = FEATURE_ROWS.astype(jnp.float32)
    loss = field.loss(features, TARGETS, LENGTHS)
    np.testing.assert_allclose(loss, softmax.loss(features, TARGETS, LENGTHS), rtol=1e-6)
    assert loss.dtype == jnp.float32
    np.testing.assert_array_equal(field.decode(features, LENGTHS), softmax.decode(features, LENGTHS))


def test_decoding_by_steps():
    head = build(SoftmaxHead)
    logits = by_hand.linear(head.linear, np.asarray(FEATURE_ROWS))
    tags = head.decode(FEATURE_ROWS, LENGTHS)
    np.testing.assert_array_equal(tags, np.where(VALID, np.argmax(np.nan_to_num(logits), axis=-1), 0))
    assert tags.dtype == jnp.int32
    assert_close(head.logits(FEATURE_ROWS)[:, 0], logits[:, 0], 1e-12)


@pytest.mark.parametrize("kind", [SoftmaxHead, CRFHead])
def test_constraints_hold_and_what_keeps_to_them_stays(kind):
    head, allowed = build(kind), bio_constraints(NAMES)
    features = jnp.asarray(np.random.default_rng(1).normal(size=(9, 20, FEATURES)) * 3)
    lengths = np.arange(20) % 10

    def breaks(tags):
        found = np.zeros(20, bool)
        for row, length in enumerate(lengths):
            names = ["O", *(NAMES[tag] for tag in tags[:length, row])]
            found[row] = any(b[0] == "I" and a not in ("B-" + b[2:], b) for a, b in itertools.pairwise(names))
        return found

    free, held = (np.asarray(head.decode(features, lengths, a)) for a in (None, allowed))
    assert breaks(free).any() and not breaks(held).any()
    np.testing.assert_array_equal(held[:, ~breaks(free)], free[:, ~breaks(free)])
    assert (held[np.arange(9)[:, None] >= lengths] == 0).all()


@pytest.mark.parametrize("head", [SoftmaxHead, CRFHead])
@pytest.mark.parametrize("names", [None, ["O", "B-X", "I-X"]])
def test_nan_at_a_valid_step_is_no_tag(head, names):
    allowed = None if names is None else bio_constraints(names)
    features = np.ones((4, 3, 5), np.float32)
    features[1, 0] = features[3, 1] = np.nan  # the second is padding
    tags = np.asarray(head(5, 3, rngs=nnx.Rngs(0)).decode(jnp.asarray(features), np.array([4, 3, 4]), allowed))
    assert tags[1, 0] == -1 and (tags[:, 1:] >= 0).all()
