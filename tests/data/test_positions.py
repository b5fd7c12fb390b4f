"""What holds for batches of every kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.data import Buckets, Segments, Shuffled, Source, Windows, batches, many_to_one, next_step, positions
from tests.data.sequences import LENGTHS, tagged


def shuffled(key, batch=4):
    def make(rows, labels):
        return many_to_one(rows.T[..., None], labels)

    return Shuffled((np.arange(13.0)[:, None] + np.array([0, 0.5]), np.arange(13)), make, batch, key)


def windows(key, batch=4):
    return Windows(np.arange(20.0)[:, None], history=5, horizon=3, batch=batch, key=key)


def buckets(key, batch=3):
    return Buckets(*next_step(tagged()), batch=batch, key=key, buckets=3)


def labelled(key, batch=3):
    return Buckets(tagged(), np.arange(len(LENGTHS)), batch=batch, key=key, buckets=3)


def segments(key, batch=2):
    return Segments(np.arange(40, dtype=np.uint8), batch=batch, window=5, stride=3)


KINDS = [shuffled, windows, buckets, labelled, segments]
DRAWN = KINDS[:-1]  # from a key
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
drawn = pytest.mark.parametrize("kind", DRAWN, ids=lambda kind: kind.__name__)


unchecked = pytest.mark.usefixtures("without_type_checks")


def equal(one, other):
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def scored(source, epoch):
    """The targets scored in an epoch, each with its column of inputs, in no order."""
    found = []
    for batch in batches(source, epoch):
        each = batch.targets.ndim > 1  # a target for each step, else one for each sequence
        targets = batch.targets if each else np.broadcast_to(batch.targets, batch.mask.shape)
        for step, row in np.argwhere(batch.mask):
            found.append((batch.inputs[0, row].item(), targets[step, row].item()))
    return sorted(found)


@kinds
def test_batches_are_numpy_and_of_few_shapes(kind):
    source = kind(jax.random.key(0))
    assert isinstance(source, Source)
    shapes = set()
    for batch in batches(source):
        assert all(type(array) is np.ndarray for array in batch)
        assert batch.mask.dtype == bool and batch.mask.any()
        shapes.add(tuple(array.shape for array in batch))
    assert len(shapes) == (3 if kind in (buckets, labelled) else 1)


@kinds
def test_a_run_that_resumes_sees_what_one_never_stopped_sees(kind):
    source = kind(jax.random.key(1))
    count = 3 * len(source) + 1
    run = [source.at(position) for position in range(count)]
    for position in np.random.default_rng(0).permutation(count):  # in any order, from a source built anew
        assert equal(kind(jax.random.key(1)).at(int(position)), run[position])
    for epoch in range(3):
        first = epoch * len(source)
        assert all(equal(*pair) for pair in zip(batches(source, epoch), run[first : first + len(source)], strict=True))


@kinds
def test_every_epoch_scores_the_same_targets_once(kind):
    source = kind(jax.random.key(2))
    in_order = scored(kind(None), 0)
    assert (
        len(in_order) == {shuffled: 13, windows: 13 * 3, buckets: sum(LENGTHS) - 13, labelled: 13, segments: 39}[kind]
    )
    assert scored(source, 0) == scored(source, 1) == scored(source, 5) == in_order
    assert len(set(in_order)) == len(in_order)


@drawn
def test_the_key_and_the_epoch_decide_the_order(kind):
    def order(key, epoch):
        return [batch.inputs[0].ravel().tolist() for batch in batches(kind(key), epoch)]

    orders = [order(jax.random.key(0), 0), order(jax.random.key(0), 1), order(jax.random.key(1), 0), order(None, 0)]
    assert all(a != b for n, a in enumerate(orders) for b in orders[:n])
    assert order(jax.random.key(0), 1) == orders[1] and order(None, 7) == orders[3]
    assert order(jax.random.PRNGKey(0), 0) == orders[0]  # the older form of the same key


@drawn
@pytest.mark.parametrize("batch", [1, 5, 13, 50])
def test_a_batch_of_any_size_covers_all(kind, batch):
    assert scored(kind(jax.random.key(0), batch), 1) == scored(kind(None), 0)
    assert all(made.inputs.shape[1] == batch for made in batches(kind(None, batch)))


@drawn
def test_rows_that_fill_a_batch_are_real_and_not_scored(kind):
    real = {value for batch in batches(kind(None)) for value in batch.inputs[0, batch.mask.any(axis=0)].ravel()}
    fills = [batch.inputs[0, ~batch.mask.any(axis=0)].ravel() for batch in batches(kind(jax.random.key(0)))]
    assert sum(map(len, fills)) > 0 and set(np.concatenate(fills)) <= real


@kinds
@unchecked
def test_a_position_that_is_none_is_refused(kind):
    source = kind(jax.random.key(0))
    for position in (-1, 1.5, 2.0, "0", None):
        with pytest.raises(ValueError, match=rf"\.at: `position` must be a whole number .* got {position!r}\. Count"):
            source.at(position)
    assert equal(source.at(np.int64(1)), source.at(1)) and equal(source.at(jnp.int32(1)), source.at(1))


@drawn
@pytest.mark.parametrize(
    "key",
    [7, jax.random.split(jax.random.key(0)), jax.random.split(jax.random.PRNGKey(0)), np.zeros(2)],
    ids=["number", "keys", "older keys", "reals"],
)
@unchecked
def test_what_is_no_single_key_is_refused_at_once(kind, key):
    with pytest.raises(ValueError, match=r": `key` must be a single key or None: .*Give jax\.random\.key\(seed\)\."):
        kind(key)


@drawn
def test_the_order_of_an_epoch_is_drawn_once(kind):
    source = kind(jax.random.key(3), 2)
    positions._drawn.cache_clear()
    for position in range(2 * len(source)):
        source.at(position)
    assert len(source) > 2 and positions._drawn.cache_info().misses == 2


@kinds
@pytest.mark.parametrize("batch", [0, -2])
def test_a_batch_of_no_rows_is_refused(kind, batch):
    with pytest.raises(
        ValueError, match=rf"(Shuffled|Windows|Buckets|Segments): `batch` must .*at least 1, got {batch}\."
    ):
        kind(jax.random.key(0), batch)
