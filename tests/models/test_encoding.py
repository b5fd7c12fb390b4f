"""Valid steps, whatever dtype lengths come in."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.models import MeanPooling, valid_steps


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_lengths_of_any_whole_dtype_are_read(dtype):
    lengths = np.array([200, 0, 7], dtype)
    valid = valid_steps(300, lengths)
    np.testing.assert_array_equal(valid.sum(axis=0), [200, 0, 7])
    np.testing.assert_array_equal(valid, np.arange(300)[:, None] < np.array([200, 0, 7]))
    ys = jnp.where(valid[..., None], jnp.float32(2), jnp.float32(jnp.nan))
    np.testing.assert_array_equal(MeanPooling()(ys, lengths)[:, 0], [2, 0, 2])
