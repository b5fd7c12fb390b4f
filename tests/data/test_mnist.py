import numpy as np
import pytest

from jaxrnn.data import fixed_permutation, mnist, pixel_sequences, read_idx


def images(count=3):
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)


def test_pixels_come_one_a_step_row_by_row():
    pictures = images()
    got = pixel_sequences(pictures)
    assert got.shape == (784, 3, 1) and got.dtype == np.float32
    for image in range(3):
        for row, column in [(0, 0), (0, 1), (1, 0), (13, 5), (27, 27)]:
            assert got[28 * row + column, image, 0] == np.float32(pictures[image, row, column]) / np.float32(255)


def test_pixels_in_a_fixed_order():
    permutation = fixed_permutation()
    got = pixel_sequences(images(), permutation)
    np.testing.assert_array_equal(got, pixel_sequences(images())[permutation])
    assert pixel_sequences(images()[:, :4, :5], fixed_permutation(20)).shape == (20, 3, 1)


def test_the_permutation_is_the_recorded_one():
    permutation = fixed_permutation()
    assert permutation[:8].tolist() == [319, 576, 323, 107, 355, 716, 197, 20]
    assert permutation[-3:].tolist() == [102, 39, 346]
    assert sorted(permutation) == list(range(784))
    assert fixed_permutation(seed=1).tolist() != permutation.tolist()


@pytest.mark.parametrize("permutation", [np.arange(783), np.arange(1, 785), np.zeros(784, int)])
def test_what_is_no_permutation_is_refused(permutation):
    with pytest.raises(
        ValueError, match=r"`permutation` must hold each of 0 to 783 once, got .*fixed_permutation\(784\)"
    ):
        pixel_sequences(images(), permutation)


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`split` must be one of train, validation, test, got 'valid'"):
        mnist("valid", tmp_path)


def test_the_real_splits(directory):
    train, validation = mnist("train", directory), mnist("validation", directory)
    assert train.images.shape == (55_000, 28, 28) and validation.images.shape == (5_000, 28, 28)
    labels = read_idx(directory / "mnist" / "train-labels-idx1-ubyte.gz")
    np.testing.assert_array_equal(train.labels, labels[:55_000])
    np.testing.assert_array_equal(validation.labels, labels[55_000:])
    total = train.images.sum(dtype=np.int64) + validation.images.sum(dtype=np.int64)
    assert round(total / (60_000 * 784 * 255), 4) == 0.1307  # the mean by which MNIST is commonly centred
    test = mnist("test", directory)
    assert test.images.shape == (10_000, 28, 28) and test.images.dtype == test.labels.dtype == np.uint8
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4] and set(test.labels.tolist()) == set(range(10))
