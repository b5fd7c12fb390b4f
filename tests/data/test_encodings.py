import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.data import one_hot


@pytest.mark.parametrize("shape", [(), (5,), (4, 3), (2, 3, 4), (0, 3)])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_it_is_what_jax_makes(shape, dtype):
    tokens = np.random.default_rng(0).integers(0, 7, shape).astype(dtype)
    expected = jax.nn.one_hot(tokens, 7, dtype=np.float32)
    for given in (tokens, jnp.asarray(tokens)):
        made = one_hot(given, 7)
        assert type(made) is np.ndarray and made.dtype == np.float32
        np.testing.assert_array_equal(made, expected)


def test_a_product_with_it_looks_rows_up():
    weights = np.random.default_rng(1).normal(size=(6, 4))
    tokens = np.array([[5, 0, 3], [2, 2, 1]])
    np.testing.assert_array_equal(one_hot(tokens, 6) @ weights, weights[tokens])


@pytest.mark.parametrize("token", [-1, 3, 300])
def test_a_token_out_of_range_is_refused(token):
    with pytest.raises(ValueError, match=rf"one_hot: `tokens` must lie between 0 and 2, got {token}\. Give the size"):
        one_hot(np.array([[0, token], [1, 2]]), 3)


@pytest.mark.parametrize("size", [0, -2, 2.0])
@pytest.mark.usefixtures("without_type_checks")
def test_no_size_is_refused(size):
    with pytest.raises(ValueError, match=rf"one_hot: `size` must be a whole number of at least 1, got {size}\."):
        one_hot(np.array([0]), size)


@pytest.mark.usefixtures("without_type_checks")
def test_reals_are_refused():
    with pytest.raises(ValueError, match=r"one_hot: `tokens` must be whole numbers, got float64\."):
        one_hot(np.array([0.5]), 3)
