import jax
import numpy as np
import pytest

from jaxrnn.data import ContextWindows, batches

KEY = jax.random.key(3)
PLACES = np.arange(4, 64)  # a stream in which a word tells its place


def kept_words(source, epoch):
    return np.concatenate([batch.centre for batch in batches(source, epoch)])


def test_every_word_once_an_epoch_in_a_new_order():
    source = ContextWindows(PLACES, window=3, batch=12, key=KEY, noise=5)
    assert len(source) == 5
    epochs = [kept_words(source, epoch) for epoch in range(2)]
    assert all(sorted(epoch) == PLACES.tolist() for epoch in epochs)
    assert not np.array_equal(*epochs) and not np.array_equal(epochs[0], PLACES)


def test_words_around_stand_beside_it_as_far_as_was_drawn():
    source, widths = ContextWindows(PLACES, window=3, batch=12, key=KEY, noise=5), []
    for position in range(40):
        centre, around, mask, noise = source.at(position)
        assert around.shape == mask.shape == (12, 6) and noise.shape == (5,)
        assert {part.dtype for part in (centre, around, noise)} == {np.dtype(np.int32)} and mask.dtype == bool
        beside = centre[:, None] + np.array([-3, -2, -1, 1, 2, 3])
        np.testing.assert_array_equal(around[mask], beside[mask])
        for word, places, counted in zip(centre, beside, mask, strict=True):
            width = np.abs(places[counted] - word).max()
            inside = (places >= PLACES[0]) & (places <= PLACES[-1])
            np.testing.assert_array_equal(counted, inside & (np.abs(places - word) <= width))
            if 6 < word < 61:
                widths.append(width)
    share = np.bincount(widths, minlength=4)[1:] / len(widths)
    np.testing.assert_allclose(share, 1 / 3, atol=0.08)


def test_frequent_words_are_kept_less_often_and_windows_are_laid_over_the_kept():
    generator = np.random.default_rng(0)
    tokens = np.where(generator.random(4000) < 0.5, 4, 5 + np.arange(4000))  # 4 at half of all places
    source = ContextWindows(tokens, window=1, batch=50, key=KEY, threshold=0.02, noise=1)
    count = (tokens == 4).sum()
    expected = count * np.sqrt(0.02 / (count / 4000))
    assert len(source) == round((expected + 4000 - count) / 50)
    words = [source.at(position) for position in range(len(source))]
    kept = np.mean([(batch.centre == 4).sum() for batch in words]) * len(source)
    np.testing.assert_allclose(kept, expected, rtol=0.15)
    wide = sum((batch.mask & (np.abs(batch.around - batch.centre[:, None]) > 1)).sum() for batch in words)
    assert wide > 500  # neighbours that were not so before


def test_noise_is_drawn_by_the_power_of_counts_the_last_word_too():
    tokens = np.repeat([0, 2, 3], [16, 81, 1])
    counts = np.array([16, 0, 81, 1, 0, 256, 0])
    for given, weights in ((None, [8, 0, 27, 1]), (counts, [8, 0, 27, 1, 0, 64, 0])):
        source = ContextWindows(tokens, window=1, batch=4, key=KEY, noise=20_000, counts=given)
        drawn = np.bincount(source.at(0).noise, minlength=len(weights))
        expected = np.array(weights) / sum(weights)
        np.testing.assert_allclose(drawn / 20_000, expected, atol=0.012)
        assert (drawn[expected == 0] == 0).all() and drawn[np.flatnonzero(expected)[-1]] > 0


def test_a_batch_is_a_pure_function_of_its_position():
    def make(key=KEY):
        return ContextWindows(PLACES, window=2, batch=7, key=key, noise=3, threshold=0.01)

    first, second = make(), make()
    there = [first.at(position) for position in range(30)]
    back = [second.at(position) for position in reversed(range(30))][::-1]
    for one, other in zip(there, back, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(there[0].centre, make(jax.random.key(4)).at(0).centre)
    assert not np.array_equal(there[0].noise, there[1].noise)


def test_a_stream_of_which_hardly_any_word_is_kept_still_gives_batches():
    source = ContextWindows(np.array([0, 0, 0]), window=1, batch=2, key=KEY, threshold=1e-30)
    centre, _, mask, _ = source.at(0)
    assert len(source) == 1 and centre.tolist() == [0, 0] and not mask.any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"window": 0}, r"ContextWindows: `window` must be a whole number of at least 1, got 0"),
        ({"batch": 0}, r"`batch` must be"),
        ({"noise": 0}, r"`noise` must be"),
        ({"key": None}, r"`key` must be a single key, got None\. Give jax\.random\.key"),
        ({"key": jax.random.split(KEY)}, r"`key` must be a single key"),
        ({"tokens": np.array([1])}, r"at least 2 whole numbers, none below 0, got int64\[1\], the least 1\."),
        ({"tokens": np.array([1, -1])}, r"none below 0, got int64\[2\], the least -1\."),
        ({"tokens": np.array([1.0, 2.0])}, r"whole numbers, none below 0, got float64\[2\]"),
        ({"tokens": np.array([1, 2**40])}, r"must fit into int32"),
        ({"counts": np.array([0, 1])}, r"`counts` must be at least 1 for each word"),
        (
            {"counts": np.zeros(99, int)},
            r"`counts` must be at least 1 .*, got counts of 99 words, 99 of them 0",
        ),
        ({"threshold": 0.0}, r"`threshold` must be above 0, got 0\.0"),
        ({"threshold": float("nan")}, r"`threshold` must be above 0, got nan"),
        ({"power": -1.0}, r"`power` must be at least 0, got -1\.0"),
    ],
)
def test_bad_input_is_refused(change, words, without_type_checks):
    with pytest.raises(ValueError, match=words):
        ContextWindows(**({"tokens": PLACES, "window": 1, "batch": 2, "key": KEY} | change))
