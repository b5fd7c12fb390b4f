import numpy as np
import pytest

from jaxrnn.data import Alphabet, Segments, batches, tinyshakespeare

SIZES = [
    (length, batch, window, stride)
    for batch in (1, 2, 3)
    for window in (1, 3, 4)
    for stride in range(1, window + 1)
    for length in sorted({batch * window + extra for extra in (1, 2, 5, 12)})
]


def tokens(length):
    return np.random.default_rng(length).permutation(length) + 1000


@pytest.mark.parametrize(("length", "batch", "window", "stride"), SIZES)
def test_segments_by_a_plain_loop(length, batch, window, stride):
    stream = tokens(length).tolist()
    source = Segments(tokens(length), batch, window, stride)
    told = []
    for row in range(batch):
        start, stop = row * (length - 1) // batch, (row + 1) * (length - 1) // batch
        last = start - 1  # the last step that was scored
        for segment in range(len(source)):
            made = source.at(segment)
            assert made.inputs.shape == made.targets.shape == made.mask.shape == (window, batch)
            for place in range(window):
                step = start + segment * stride + place
                new = segment == 0 or place >= window - stride
                assert made.mask[place, row] == (step < stop and new)
                assert made.inputs[place, row] == stream[min(step, stop - 1)]
                if made.mask[place, row]:
                    assert step == last + 1  # one after the other, none left out
                    last = step
                    told.append(made.targets[place, row])
                    assert made.targets[place, row] == stream[step + 1]
        assert last == stop - 1
    assert told == stream[1:]
    assert source.at(len(source) - 1).mask.any()


@pytest.mark.parametrize(("length", "batch", "window", "stride"), SIZES[::3])
def test_the_carry_handed_on_is_that_of_a_run_without_segments(length, batch, window, stride):
    def step(carry, x):
        return (31 * carry + x) % 1_000_003

    stream = tokens(length)
    starts = np.arange(batch) * (length - 1) // batch
    source = Segments(stream, batch, window, stride)
    whole, carry = np.zeros(batch, int), np.zeros(batch, int)
    expected: dict[int, np.ndarray] = {}
    for place in range(length):
        expected[place] = whole
        whole = step(whole, stream[np.minimum(starts + place, length - 1)])
    for position in range(3 * len(source)):
        if source.begins(position):
            carry = np.zeros(batch, int)
        np.testing.assert_array_equal(carry, expected[position % len(source) * stride])
        for inputs in source.at(position).inputs[:stride]:
            carry = step(carry, inputs)


def test_the_first_of_each_epoch_begins():
    source = Segments(np.arange(30), batch=1, window=4, stride=2)
    assert len(source) == 14
    assert [position for position in range(43) if source.begins(position)] == [0, 14, 28, 42]
    with pytest.raises(ValueError, match="`position` must be a whole number of at least 0"):
        source.begins(-1)


def test_tokens_of_any_width_come_as_int32():
    for dtype in (np.uint8, np.int64):
        batch = Segments(np.arange(9, dtype=dtype), batch=2, window=4).at(0)
        assert batch.inputs.dtype == batch.targets.dtype == np.int32
        assert batch.inputs.T.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_series_of_values_comes_as_it_is(dtype):
    series = np.random.default_rng(0).normal(size=(9, 2)).astype(dtype)
    batch = Segments(series, batch=2, window=4).at(0)
    assert batch.inputs.dtype == batch.targets.dtype == dtype
    np.testing.assert_array_equal(batch.inputs, np.stack([series[:4], series[4:8]], axis=1))
    np.testing.assert_array_equal(batch.targets, np.stack([series[1:5], series[5:]], axis=1))


@pytest.mark.parametrize(
    ("stream", "got"),
    [
        ("to be or not to be", "str"),
        ([0, 1, 2, 3, 4, 5], "list"),
        (np.array([*"to be or not"]), r"<U1 of shape \(12,\)"),
        (np.array([*"to be or not"], object), r"object of shape \(12,\)"),
        (np.ones(9, bool), r"bool of shape \(9,\)"),
        (np.ones(9), r"float64 of shape \(9,\)"),
        (np.ones((9, 1), int), r"int64 of shape \(9, 1\)"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_what_is_no_stream_is_refused(stream, got):
    with pytest.raises(
        ValueError, match=rf"`tokens` must be .* got {got}\. Encode text with Alphabet\.encode; give .*None"
    ):
        Segments(stream, batch=1, window=4)


@pytest.mark.parametrize(("value", "dtype"), [(2**31, np.int64), (-(2**31) - 1, np.int64), (2**32 - 1, np.uint32)])
def test_a_token_that_does_not_fit_is_refused(value, dtype):
    with pytest.raises(ValueError, match=rf"Segments: `tokens` must fit into int32, got {value}\. Number"):
        Segments(np.array([0, 1, value], dtype), batch=1, window=1)
    assert Segments(np.array([0, 2**31 - 1], dtype), batch=1, window=1).at(0).targets.item() == 2**31 - 1


@pytest.mark.parametrize(("name", "sizes"), [("window", (1, 0)), ("stride", (1, 3, 0)), ("stride", (1, 3, -1))])
def test_sizes_below_one_are_refused(name, sizes):
    with pytest.raises(
        ValueError, match=rf"Segments: `{name}` must be a whole number of at least 1, got {sizes[-1]}\."
    ):
        Segments(np.arange(30), *sizes)


def test_a_stride_above_the_window_is_refused():
    with pytest.raises(ValueError, match=r"`stride` must not exceed the window of 3, got 4: .*Take a smaller stride"):
        Segments(np.arange(30), 1, 3, 4)


@pytest.mark.parametrize(("length", "batch", "window"), [(0, 1, 1), (5, 1, 5), (12, 3, 4)])
def test_a_short_text_is_refused(length, batch, window):
    with pytest.raises(ValueError, match=rf"= {batch * window + 1} of them, got {length}\. Take a smaller batch"):
        Segments(np.arange(length), batch, window)
    assert len(Segments(np.arange(batch * window + 1), batch, window)) == 1


def test_the_real_text_whole(directory):
    text = tinyshakespeare(directory)
    stream = Alphabet.of(text).encode(text)
    source = Segments(stream, batch=32, window=2000, stride=1500)
    counts = np.zeros(65, int)
    for batch in batches(source):
        counts += np.bincount(batch.targets[batch.mask], minlength=65)
    np.testing.assert_array_equal(counts, np.bincount(stream[1:]))
