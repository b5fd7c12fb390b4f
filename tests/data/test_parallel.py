"""Pairs of token sequences in batches: what is special to them, and what holds for batches of every kind."""

import jax
import numpy as np
import pytest

from jaxrnn.data import ParallelText, Source, Vocabulary, batches, multi30k, tokenize

# Lengths of source and target of each pair; tokens tell the pair, the side and the step.
LENGTHS = [(3, 2), (7, 9), (1, 1), (4, 6), (4, 3), (7, 5), (2, 8), (5, 5), (3, 4), (9, 7), (6, 6), (2, 1), (8, 4)]
IN_ORDER = sorted(range(13), key=lambda number: (max(LENGTHS[number]), LENGTHS[number][0]))


def pairs(dtype=np.int32):
    sides = [
        [np.arange(length, dtype=dtype) + 100 * number + 50 * side for number, length in enumerate(lengths, start=1)]
        for side, lengths in enumerate(zip(*LENGTHS, strict=True))
    ]
    return sides[0], sides[1]


def source(key=None, batch=3, buckets=3):
    return ParallelText(*pairs(), batch, key, buckets)


def numbers(made):
    """The pairs that count in a batch, by column; None for a column that fills it up."""
    return [
        int(made.sources[0, column]) // 100 - 1 if made.source_lengths[column] else None
        for column in range(made.sources.shape[1])
    ]


def equal(one, other):
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("key", [None, 0, 1])
@pytest.mark.parametrize(("batch", "buckets"), [(2, 1), (3, 3), (4, 5), (1, 13), (5, 40), (50, 2)])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16])
def test_every_pair_once_by_a_plain_loop(key, batch, buckets, dtype):
    sources, targets = pairs(dtype)
    made_of = ParallelText(sources, targets, batch, None if key is None else jax.random.key(key), buckets)
    seen = []
    for made in batches(made_of, epoch=2):
        assert all(type(array) is np.ndarray and array.dtype == np.int32 for array in made)
        assert made.sources.shape[1] == made.targets.shape[1] == batch
        assert made.source_lengths.shape == made.target_lengths.shape == (batch,)
        for column, number in enumerate(numbers(made)):
            if number is None:
                assert made.source_lengths[column] == made.target_lengths[column] == 0
                continue
            seen.append(number)
            assert (made.source_lengths[column], made.target_lengths[column]) == LENGTHS[number]
            for side, sequence in ((made.sources, sources[number]), (made.targets, targets[number])):
                np.testing.assert_array_equal(side[: len(sequence), column], sequence)
                assert not side[len(sequence) :, column].any()
    assert sorted(seen) == list(range(13))


def test_batches_of_a_group_have_one_shape_and_similar_lengths():
    groups = [IN_ORDER[:5], IN_ORDER[5:9], IN_ORDER[9:]]
    for key in (None, jax.random.key(0)):
        found = [[], [], []]
        for made in batches(source(key, batch=2)):
            shape = (len(made.sources), len(made.targets))
            places = [
                place
                for place, group in enumerate(groups)
                if shape == tuple(max(LENGTHS[number][side] for number in group) for side in (0, 1))
            ]
            assert len(places) == 1
            found[places[0]] += [number for number in numbers(made) if number is not None]
        assert [sorted(group) for group in found] == [sorted(group) for group in groups]


def test_without_a_key_the_order_is_that_of_the_lengths():
    made = list(batches(ParallelText(*pairs(), batch=13, buckets=1)))
    assert len(made) == 1 and numbers(made[0]) == IN_ORDER


def test_columns_that_fill_a_batch_are_real_and_count_for_nothing():
    made = list(batches(source(batch=4)))
    fills = [column for batch in made for column in range(4) if not batch.source_lengths[column]]
    assert len(fills) == 4 * len(made) - 13 > 0
    assert all((batch.sources[0] > 0).all() and (batch.targets[0] > 0).all() for batch in made)


def test_a_run_that_resumes_sees_what_one_never_stopped_sees():
    once = source(jax.random.key(1))
    assert isinstance(once, Source)
    count = 3 * len(once) + 1
    run = [once.at(position) for position in range(count)]
    for position in np.random.default_rng(0).permutation(count):
        assert equal(source(jax.random.key(1)).at(int(position)), run[position])


def test_the_key_and_the_epoch_decide_the_order():
    def order(key, epoch):
        return [numbers(made) for made in batches(source(key), epoch)]

    orders = [order(jax.random.key(0), 0), order(jax.random.key(0), 1), order(jax.random.key(1), 0), order(None, 0)]
    assert all(a != b for n, a in enumerate(orders) for b in orders[:n])
    assert order(None, 7) == orders[3]


@pytest.mark.parametrize(
    ("sources", "targets", "message"),
    [
        ([], [], r"`sources` and `targets` must be as many, at least 1, got 0 and 0\. Give one target"),
        (pairs()[0], pairs()[1][1:], r"got 13 and 12\."),
        (
            [np.array([4])] * 2,
            [np.array([4]), np.zeros(0, int)],
            r"`targets` .* none in number 1: an empty line\. Leave",
        ),
        ([np.zeros(0, int)], [np.array([4])], r"every sequence of `sources` must have a token, got none in number 0"),
        (["some words"], [np.array([4])], r"number 0 of `sources` must be a NumPy array .* got str\. Encode"),
        ([np.array([4])], [["some", "words"]], r"number 0 of `targets` must be .* got list\. .*Vocabulary\.encode"),
        ([np.zeros(3)], [np.array([4])], r"got float64 of shape \(3,\)"),
        ([np.zeros((3, 1), int)], [np.array([4])], r"got int64 of shape \(3, 1\)"),
        ([np.array([2**31])], [np.array([4])], r"`sources` must fit into int32, got 2147483648\."),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_what_does_not_fit_is_refused(sources, targets, message):
    with pytest.raises(ValueError, match=f"ParallelText: .*{message}"):
        ParallelText(sources, targets, batch=2)


@pytest.mark.parametrize(("name", "sizes"), [("batch", (0, None, 1)), ("buckets", (1, None, 0))])
def test_sizes_below_one_are_refused(name, sizes):
    with pytest.raises(ValueError, match=rf"ParallelText: `{name}` must be a whole number of at least 1, got 0\."):
        ParallelText(*pairs(), *sizes)


@pytest.mark.usefixtures("without_type_checks")
def test_keys_and_positions_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"ParallelText: `key` must be a single key or None: "):
        source(7)
    for position in (-1, 1.5, "0"):
        with pytest.raises(ValueError, match=rf"ParallelText\.at: `position` .* got {position!r}\. Count"):
            source().at(position)


def test_real_captions_are_padded_little(directory):
    sides = [
        [tokenize(text) for text in side] for side in zip(*multi30k("validation", directory=directory), strict=True)
    ]
    coded = [list(map(Vocabulary.of(side).encode, side)) for side in sides]
    made = list(batches(ParallelText(*coded, batch=64, key=jax.random.key(0), buckets=8)))
    assert len({(batch.sources.shape, batch.targets.shape) for batch in made}) == 8
    tokens = [
        sum(int(lengths.sum()) for lengths in side) for side in zip(*(batch[1::2] for batch in made), strict=True)
    ]
    assert tokens == [sum(map(len, side)) for side in coded]
    columns = [int((batch.source_lengths > 0).sum()) for batch in made]
    assert sum(columns) == 1_014
    heights = zip(*((len(batch.sources), len(batch.targets)) for batch in made), strict=True)
    places = [np.dot(side, columns) for side in heights]
    longest = sum(max(map(len, side)) for side in coded)
    assert sum(places) < 1.3 * sum(tokens) < longest * sum(columns)
