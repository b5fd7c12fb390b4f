import jax
import numpy as np
import pytest

from jaxrnn.data import Shuffled, batches, many_to_one, mnist, pixel_sequences


def digits(images, labels):
    return many_to_one(pixel_sequences(images), labels)


def test_labels_stay_with_their_images():
    images = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((2, 3), np.uint8)
    labels = 7 * np.arange(10, dtype=np.uint8)
    for batch in batches(Shuffled((images, labels), digits, batch=3, key=jax.random.key(0))):
        assert batch.inputs.shape == (6, 3, 1) and batch.inputs.dtype == np.float32 and batch.targets.dtype == np.int32
        np.testing.assert_array_equal(np.round(batch.inputs * 255 * 7)[..., 0], np.tile(batch.targets, (6, 1)))
        assert not batch.mask[:-1].any()


def test_real_targets_keep_their_type():
    batch = many_to_one(np.zeros((4, 2, 1), np.float32), np.ones((2, 1), np.float32))
    assert batch.targets.dtype == np.float32 and batch.mask.sum(axis=0).tolist() == [1, 1] and batch.mask[-1].all()


def test_a_class_that_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"many_to_one: `targets` must fit into int32, got 4294967296\. Number classes"
    ):
        many_to_one(np.zeros((4, 2, 1), np.float32), np.array([0, 2**32]))


@pytest.mark.parametrize("arrays", [(), (np.zeros((0, 2)),), (np.zeros((3, 2)), np.zeros(2))])
def test_rows_that_are_none_or_unlike_are_refused(arrays):
    with pytest.raises(ValueError, match=rf"`arrays` must .*got \{[len(array) for array in arrays]} rows\. Give"):
        Shuffled(arrays, digits, 2)


def test_the_real_digits_in_order(directory):
    test = mnist("test", directory)
    source = Shuffled(test, digits, batch=3_000)
    assert len(source) == 4
    kept = [batch.targets[batch.mask[-1]] for batch in batches(source)]
    np.testing.assert_array_equal(np.concatenate(kept), test.labels)
    assert source.at(3).mask.sum() == 1_000
