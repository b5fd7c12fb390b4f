import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.data import Buckets, batches, jsb_chorales, lengths, next_step
from tests.data.sequences import LENGTHS, number_of, tagged


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
                number = int(number_of(made.inputs[0, row, 0]))
                seen.append(number)
                assert length == LENGTHS[number] - 1
                np.testing.assert_array_equal(made.inputs[:length, row], sequences[number][:-1])
                np.testing.assert_array_equal(made.targets[:length, row], sequences[number][1:])
                assert made.mask[:length, row].all() and not made.mask[length:, row].any()
                assert not made.inputs[length:, row].any() and not made.targets[length:, row].any()
        assert made.inputs.shape == made.targets.shape == (time, batch, 1)
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


def members_by_batch(key, epoch):
    """The sequences of each batch of an epoch in three groups, from the first batch to the last."""
    made = batches(Buckets(tagged(), np.arange(13), batch=2, key=key, buckets=3), epoch)
    return [frozenset(batch.targets[batch.mask.any(axis=0)].tolist()) for batch in made]


def test_batches_come_in_a_new_order():
    def groups(key, epoch):
        return [max(LENGTHS[number] for number in batch) for batch in members_by_batch(key, epoch)]

    in_order, drawn = groups(None, 0), [groups(jax.random.key(0), epoch) for epoch in range(3)]
    # Batches of one group cannot be told apart by their order alone: those of the longest third are counted.
    places = [[longest > 6 for longest in order] for order in [in_order, *drawn]]
    assert all(a != b for n, a in enumerate(places) for b in places[:n])
    assert groups(None, 1) == in_order


def test_members_of_a_group_meet_others_in_each_epoch():
    met = [set(members_by_batch(key, epoch)) for key, epoch in ((None, 0), *((jax.random.key(0), n) for n in range(3)))]
    groups = [set().union(*(batch for batch in epoch if max(LENGTHS[n] for n in batch) > 6)) for epoch in met]
    assert groups[0] == groups[1] == groups[2] == groups[3]
    assert all(a != b for n, a in enumerate(met) for b in met[:n])


def test_one_target_a_sequence_is_scored_at_its_last_step():
    targets, classes = np.arange(26, dtype=np.float32).reshape(13, 2), np.arange(13)
    for chosen, dtype in ((targets, np.float32), (classes, np.int32), (jnp.asarray(classes), np.int32)):
        for made in batches(Buckets(tagged(), chosen, batch=3, key=jax.random.key(0))):
            numbers = number_of(made.inputs[0, :, 0])
            np.testing.assert_array_equal(made.targets, chosen[numbers])
            assert type(made.targets) is np.ndarray and made.targets.dtype == dtype
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
        ([np.zeros(2), np.zeros(3, np.float32)], np.arange(2), r"`inputs` must have one dtype .*'float32'.* number 1"),
        (
            [np.zeros((2, 3)), np.zeros((2, 1))],
            np.arange(2),
            r"`inputs` .* got \('float64', 1\) in number 1 after .* 3\)",
        ),
        ([np.zeros(2)] * 2, [np.zeros(2), np.zeros(2, int)], r"`targets` must have one dtype .*'int64'.* in number 1"),
        (
            [np.zeros(2)] * 2,
            [np.zeros((2, 1)), np.zeros(2)],
            r"`targets` .* got \('float64',\) in number 1 after .* 1\)",
        ),
        ([np.zeros(2)] * 2, [0, 1], r"number 0 of `targets` must be an array .* got int\. .* all targets in one array"),
        ([np.zeros(2), [0, 1]], np.arange(2), r"number 1 of `inputs` must be an array .* got list\. Make an array"),
        ([np.zeros(2)], np.array([2**31]), r"`targets` must fit into int32, got 2147483648\."),
        ([np.zeros(2)], [np.array([0, -(2**31) - 1])], r"`targets` must fit into int32, got -2147483649\."),
        ([np.zeros((2, 1))], [np.zeros((3, 1))], r"as long as their sequences, got 3 steps for the 2 of number 0"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
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
