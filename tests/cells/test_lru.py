import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import LRU


def test_eigenvalues_are_drawn_on_the_ring():
    """|lambda|^2 uniform between the radii, phase uniform up to its bound, gain sqrt(1 - |lambda|^2)."""
    params = LRU(4000, features=1, min_radius=0.6, max_radius=0.9, max_phase=1.0).init(
        jax.random.key(0), 1, jnp.float64
    )
    square = np.exp(-2 * np.exp(params.log_decay))
    phase = np.exp(params.log_phase)
    assert 0.36 <= square.min() < 0.361 and 0.809 < square.max() <= 0.81
    assert np.isclose(square.mean(), (0.36 + 0.81) / 2, rtol=0.01)
    assert 0 < phase.min() < 0.001 and 0.999 < phase.max() <= 1.0 and np.isclose(phase.mean(), 0.5, rtol=0.02)
    np.testing.assert_allclose(np.exp(params.log_gain), np.sqrt(1 - square), rtol=1e-12)


def test_input_and_output_matrices_have_the_variances_of_the_paper():
    params = LRU(300, features=50).init(jax.random.key(0), 50, jnp.float64)
    for part in (params.input_real, params.input_imag):
        assert np.isclose(part.var(), 1 / 100, rtol=0.05)
    for part in (params.output_real, params.output_imag):
        assert np.isclose(part.var(), 1 / 300, rtol=0.05)
