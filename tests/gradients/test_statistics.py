"""Statistics over samples, from logarithms to logarithms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.gradients import geometric_mean, mean, median, quantile, root_mean_square

NORMS = jax.random.uniform(jax.random.key(0), (5, 7, 3), jnp.float64, 0.1, 9.0)


@pytest.mark.parametrize("axis", [None, 1, (1, 2)])
def test_against_plain_formulas(axis):
    logs, norms = jnp.log(NORMS), np.asarray(NORMS)
    np.testing.assert_allclose(np.exp(median(logs, axis)), np.quantile(norms, 0.5, axis, method="nearest"), rtol=1e-12)
    np.testing.assert_allclose(
        np.exp(quantile(logs, 0.1, axis)), np.quantile(norms, 0.1, axis, method="nearest"), rtol=1e-12
    )
    np.testing.assert_allclose(np.exp(geometric_mean(logs, axis)), np.exp(np.log(norms).mean(axis)), rtol=1e-12)
    np.testing.assert_allclose(np.exp(mean(logs, axis)), norms.mean(axis), rtol=1e-12)
    np.testing.assert_allclose(np.exp(root_mean_square(logs, axis)), np.sqrt((norms**2).mean(axis)), rtol=1e-12)


def test_a_quantile_is_a_share():
    with pytest.raises(ValueError, match="`q` must lie between 0 and 1, got 1.5"):
        quantile(jnp.zeros(3), 1.5)


def test_far_below_the_range_of_floats_and_exact_zeros():
    logs = jnp.array([-5000.0, -5000.0, -jnp.inf])
    np.testing.assert_allclose(root_mean_square(logs), -5000 + 0.5 * np.log(2 / 3), rtol=1e-12)
    np.testing.assert_allclose(mean(logs), -5000 + np.log(2 / 3), rtol=1e-12)
    assert median(logs) == -5000 and geometric_mean(logs) == -jnp.inf
    assert root_mean_square(jnp.full(3, -jnp.inf)) == mean(jnp.full(3, -jnp.inf)) == -jnp.inf
    for q in (0.0, 0.1, 0.5, 0.9):
        assert not np.isnan(quantile(logs, q))
