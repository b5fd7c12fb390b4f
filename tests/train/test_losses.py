"""Losses against loops over the scored steps, and what must not reach them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.train import losses

TIME, BATCH, CLASSES = 5, 3, 4
RANDOM = np.random.default_rng(0)
OUTPUTS = RANDOM.normal(size=(TIME, BATCH, CLASSES))
LABELS = RANDOM.integers(0, CLASSES, (TIME, BATCH))
FRAMES = RANDOM.integers(0, 2, (TIME, BATCH, CLASSES)).astype(float)
MASKS = {
    "many-to-one": np.arange(TIME)[:, None] == np.array([4, 2, 0]),
    "one-to-many": np.broadcast_to(np.arange(TIME)[:, None] >= 3, (TIME, BATCH)),
    "many-to-many": np.arange(TIME)[:, None] < np.array([5, 3, 1]),
}


def softmax_loss(z, label):
    return np.log(np.exp(z).sum()) - z[label]


def logistic_loss(z, y):
    p = 1 / (1 + np.exp(-z))
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum()


FORMS = {
    losses.squared_error: (FRAMES, lambda z, y: ((z - y) ** 2).mean()),
    losses.cross_entropy: (LABELS, softmax_loss),
    losses.binary_cross_entropy: (FRAMES, logistic_loss),
    losses.accuracy: (LABELS, lambda z, label: float(z.argmax() == label)),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("loss", FORMS, ids=lambda f: f.__name__)
def test_each_is_the_mean_over_scored_steps(loss, mask):
    targets, one = FORMS[loss]
    scored = [(t, b) for t in range(TIME) for b in range(BATCH) if mask[t, b]]
    expected = np.mean([one(OUTPUTS[t, b], targets[t, b]) for t, b in scored])
    np.testing.assert_allclose(loss(jnp.asarray(OUTPUTS), jnp.asarray(targets), mask), expected, rtol=1e-12)
    whole = targets[-1]  # one target a sequence
    expected = np.mean([one(OUTPUTS[t, b], whole[b]) for t, b in scored])
    np.testing.assert_allclose(loss(jnp.asarray(OUTPUTS), jnp.asarray(whole), mask), expected, rtol=1e-12)


@pytest.mark.parametrize("loss", FORMS, ids=lambda f: f.__name__)
def test_padding_reaches_neither_value_nor_gradient(loss):
    targets, mask = FORMS[loss][0], MASKS["many-to-many"]
    spoilt = jnp.where(mask[..., None], OUTPUTS, jnp.nan)
    outside = np.where(mask.reshape(mask.shape + (1,) * (targets.ndim - 2)), targets, -7)
    value, gradient = jax.value_and_grad(loss)(spoilt, jnp.asarray(outside), mask)
    clean, expected = jax.value_and_grad(loss)(jnp.asarray(OUTPUTS), jnp.asarray(targets), mask)
    assert value == clean
    np.testing.assert_array_equal(gradient, expected)
    assert (np.asarray(gradient)[~mask] == 0).all()


def test_a_mask_that_excludes_everything():
    nothing = np.zeros((TIME, BATCH), bool)
    with pytest.raises(ValueError, match="`mask` of shape \\(5, 3\\) excludes every step"):
        losses.cross_entropy(jnp.asarray(OUTPUTS), jnp.asarray(LABELS), nothing)
    assert np.isnan(jax.jit(losses.cross_entropy)(OUTPUTS, LABELS, nothing))


def test_16_bits_are_summed_in_32():
    ones = jnp.ones((1000, 3, 1), jnp.bfloat16)
    loss = losses.squared_error(3 * ones, jnp.zeros((3, 1), jnp.float32), np.ones((1000, 3), bool))
    assert loss == 9 and loss.dtype == jnp.float32


def test_masks_that_are_none():
    values = jnp.ones((TIME, BATCH))
    with pytest.raises(TypeError, match="`mask` must be boolean, got float64"):
        losses.masked_mean(values, np.full((TIME, BATCH), 0.5))
    with pytest.raises(ValueError, match="`mask` must be \\(time, batch\\) = \\(5, 3\\)"):
        losses.masked_mean(values, np.ones(BATCH, bool))


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="`mask` must be \\(time, batch\\)"):
        losses.squared_error(jnp.asarray(OUTPUTS), jnp.asarray(FRAMES), np.ones((2, BATCH), bool))
    with pytest.raises(ValueError, match="targets \\(2, 3\\) do not fit outputs \\(5, 3, 4\\)"):
        losses.cross_entropy(jnp.asarray(OUTPUTS), jnp.asarray(LABELS[:2]), MASKS["many-to-one"])


@pytest.mark.parametrize("label", [-1, -4, 3, 2**32 + 1])
def test_a_label_that_is_none_has_no_loss_unless_it_is_not_scored(label):
    logits, mask = np.zeros((2, 1, 3)), np.array([[True], [False]])
    labels = np.array([[1], [label]])
    np.testing.assert_allclose(losses.cross_entropy(logits, labels, mask), np.log(3), rtol=1e-12)
    assert np.isnan(losses.cross_entropy(logits, labels, ~mask)) and losses.accuracy(logits, labels, ~mask) == 0


@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.accuracy])
@pytest.mark.parametrize("label", [1.0, np.nan, True])
def test_labels_that_are_no_whole_numbers_are_refused(loss, label, without_type_checks):
    with pytest.raises(TypeError, match="`labels` must be whole numbers, the numbers of classes, got .* Cast them"):
        loss(np.zeros((1, 1, 3)), np.full((1, 1), label), np.ones((1, 1), bool))


def test_labels_of_8_bits_tell_300_classes_apart():
    logits = 9.0 * np.eye(300)[[[257]]]
    for label, kind, share in ((1, np.uint8, 0.0), (1, np.int8, 0.0), (257, np.int32, 1.0)):
        assert float(losses.accuracy(logits, np.array([[label]], kind), np.ones((1, 1), bool))) == share
    nats = [losses.cross_entropy(logits, np.array([[1]], kind), np.ones((1, 1), bool)) for kind in (np.int8, np.int32)]
    assert nats[0] == nats[1]


def test_what_is_not_a_number_is_never_right():
    logits = np.full((2, 2, 3), np.nan)
    logits[:, 1] = [2.0, 1.0, np.nan]
    assert float(losses.accuracy(logits, np.zeros(2, int), np.ones((2, 2), bool))) == 0
