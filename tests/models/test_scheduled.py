import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.models import inverse_sigmoid


@pytest.mark.parametrize("k", [1, 7.5, 400.0])
def test_the_rate_is_one_minus_the_papers(k):
    schedule = inverse_sigmoid(k)
    updates = np.array([0, 1, 10, 55, 300, 3000])
    expected = 1 - k / (k + np.exp(np.minimum(updates / k, 700.0)))
    assert np.allclose([schedule(int(i)) for i in updates], expected, rtol=1e-5, atol=1e-7)
    assert np.isclose(schedule(0), 1 / (k + 1), rtol=1e-6)


def test_it_neither_overflows_nor_compiles_anew():
    schedule, traces = inverse_sigmoid(3), []

    @jax.jit
    def rate(count):
        traces.append(count)
        return schedule(count)

    rates = [float(rate(jnp.int32(i))) for i in (0, 3, 100, 2**31 - 1)]
    assert len(traces) == 1 and rates == sorted(rates) and rates[-1] == 1.0
    assert rate(jnp.int32(5)).dtype == jnp.float32


@pytest.mark.parametrize("k", [0.5, -1, float("nan")])
def test_k_below_1_is_refused(k):
    with pytest.raises(ValueError, match=r"inverse_sigmoid: `k` must be at least 1, got"):
        inverse_sigmoid(k)
