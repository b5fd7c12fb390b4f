import jax
import numpy as np
import pytest

from jaxrnn.data import Buckets, batches, jsb_chorales, lengths, next_step

LENGTHS = (3, 9, 4, 4, 7, 2, 8, 5, 6, 3, 9, 2, 5)


def tagged():
    """Sequences (time, 2) whose every step names its sequence and place, from 1."""
    return [
        np.stack([np.full(length, number), 1 + np.arange(length)], axis=1).astype(np.float32)
        for number, length in enumerate(LENGTHS)
    ]


@pytest.mark.parametrize("key", [None, 0, 1])
@pytest.mark.parametrize(("batch", "buckets"), [(2, 1), (3, 3), (4, 5), (1, 13), (5, 40)])
def test_next_steps_by_a_plain_loop(key, batch, buckets):
    sequences = tagged()
    key = None if key is None else jax.random.key(key)
    source = Buckets(*next_step(sequences), batch=batch, key=key, buckets=buckets)
    seen = []
    for made in batches(source, epoch=2):
        time = len(made.mask)
        for row, length in enumerate(made.mask.sum(axis=0).tolist()):
            if length:
                number = int(made.inputs[0, row, 0])
                seen.append(number)
                assert length == LENGTHS[number] - 1
                np.testing.assert_array_equal(made.inputs[:length, row], sequences[number][:-1])
                np.testing.assert_array_equal(made.targets[:length, row], sequences[number][1:])
                assert made.mask[:length, row].all() and not made.mask[length:, row].any()
                assert not made.inputs[length:, row].any() and not made.targets[length:, row].any()
        assert made.inputs.shape == made.targets.shape == (time, batch, 2)
    assert sorted(seen) == list(range(13))


def test_groups_are_of_similar_length():
    shapes = {}
    for made in batches(Buckets(tagged(), np.arange(13), batch=2, key=jax.random.key(0), buckets=3)):
        shapes.setdefault(len(made.mask), []).extend((np.argwhere(made.mask)[:, 0] + 1).tolist())
    by_length = sorted(LENGTHS)
    assert {time: sorted(found) for time, found in shapes.items()} == {
        4: by_length[:5],
        6: by_length[5:9],
        9: by_length[9:],
    }


def test_one_target_a_sequence_is_scored_at_its_last_step():
    targets = np.arange(26, dtype=np.float32).reshape(13, 2)
    for chosen, dtype in ((targets, np.float32), (np.arange(13, dtype=np.int64), np.int32)):
        for made in batches(Buckets(tagged(), chosen, batch=3, key=jax.random.key(0))):
            numbers = made.inputs[0, :, 0].astype(int)
            np.testing.assert_array_equal(made.targets, chosen[numbers])
            assert made.targets.dtype == dtype
            for row in range(3):
                expected = [LENGTHS[numbers[row]] - 1] if made.mask[:, row].any() else []
                assert np.flatnonzero(made.mask[:, row]).tolist() == expected


def test_tokens_with_a_class_each_step():
    words = [np.array([5, 6, 7]), np.array([8])]
    made = Buckets(words, [word % 3 for word in words], batch=2, buckets=1).at(0)
    assert made.inputs.T.tolist() == [[8, 0, 0], [5, 6, 7]] and made.targets.T.tolist() == [[2, 0, 0], [2, 0, 1]]
    assert made.targets.dtype == np.int32


def test_lengths_are_told_inside_a_compiled_call():
    mask = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)
    got = jax.jit(lengths)(mask)
    assert got.dtype == np.int32 and got.tolist() == [2, 3, 0]


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        ([], [], r"`inputs` and `targets` must be as many, at least 1, got 0 and 0\."),
        (tagged(), np.arange(12), r"got 13 and 12\. Give one target"),
        ([np.zeros((2, 1)), np.zeros((0, 1))], np.arange(2), r"must have a step, got none in number 1\. Leave it out"),
        (*next_step([np.zeros((1, 1))]), r"must have a step, got none in number 0\."),
        ([np.zeros((2, 1))], [np.zeros((3, 1))], r"as long as their sequences, got 3 steps for the 2 of number 0"),
    ],
)
def test_what_does_not_fit_is_refused(inputs, targets, message):
    with pytest.raises(ValueError, match=message):
        Buckets(inputs, targets, batch=2)


def test_no_buckets_are_refused():
    with pytest.raises(ValueError, match=r"Buckets: `buckets` must be a whole number of at least 1, got 0\."):
        Buckets(tagged(), np.arange(13), batch=2, buckets=0)


def test_the_real_pieces_once(directory):
    rolls = jsb_chorales("test", directory)
    source = Buckets(*next_step(rolls), batch=16)
    assert sum(int(batch.mask.sum()) for batch in batches(source)) == 4_725 - 77
    notes = sum(float(batch.targets[batch.mask].sum()) for batch in batches(source))
    assert notes == sum(float(roll[1:].sum()) for roll in rolls)
    assert len({batch.mask.shape for batch in batches(source)}) == 4
