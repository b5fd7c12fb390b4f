"""Mean field theory against numbers by quadrature elsewhere, closed forms, and gradients that are measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import Elman
from jaxrnn.cell import GatedParams
from jaxrnn.gradients import adjoint_norms, critical_weight_scale, mean_field, root_mean_square
from jaxrnn.initializers import Gaussian, Identity


@pytest.mark.parametrize(
    ("scale", "variance", "q", "chi", "root"),
    [
        (0.9, 0.25, 0.461168, 0.492092, 0.701493),
        (1.0, 0.05, 0.193593, 0.759032, 0.871224),
        (1.0, 0.25, 0.534649, 0.579884, 0.761501),
        (1.5, 0.0, 0.793354, 1.139323, 1.067391),
        (1.5, 0.25, 1.218208, 0.967097, 0.983411),
        (2.0, 0.05, 2.195494, 1.342402, 1.158621),
        (3.0, 1.0, 7.508766, 1.710920, 1.308022),  # 201 Gauss-Hermite nodes, too few for these slopes, give 1.711224
    ],
)
def test_tanh_networks(scale, variance, q, chi, root):
    found = mean_field(scale, variance)
    np.testing.assert_allclose([found.q, found.chi, np.exp(found.rate)], [q, chi, root], rtol=1e-5)
    np.testing.assert_allclose(found.correlation_length, 1 / abs(np.log(chi)), rtol=1e-4)


@pytest.mark.parametrize(
    ("variance", "square"),
    [(0.0, 1), (0.01, 1.424205), (0.05, 1.760955), (0.1, 1.986073), (0.25, 2.401489), (0.5, 2.843167), (1.0, 3.443210)]
    + [(10.0, 7.630), (100.0, 20.54)],
)
def test_critical_line(variance, square):
    np.testing.assert_allclose(critical_weight_scale(variance) ** 2, square, rtol=1e-5 if variance <= 1 else 5e-4)


@pytest.mark.parametrize(("scale", "chi"), [(5.0, 2.90), (10.0, 5.545), (20.0, 10.86), (50.0, 26.81)])
def test_large_weights(scale, chi):
    """Slopes of saturated units are narrow peaks, which a fixed set of nodes would miss; by a dense grid."""
    found = mean_field(scale, 0.0)
    z = np.linspace(-9, 9, 1_000_001)
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    slope = 1 - np.tanh(np.sqrt(found.q) * z) ** 2
    np.testing.assert_allclose(found.chi, scale**2 * np.trapezoid(slope**2 * density, z), rtol=1e-8)
    np.testing.assert_allclose(found.q, scale**2 * (1 - np.trapezoid(slope * density, z)), rtol=1e-8)
    np.testing.assert_allclose(found.chi, chi, rtol=2e-3)


def test_below_the_critical_line_without_input_all_is_still():
    found = mean_field(0.8, 0.0)
    assert (
        found.q == 0
        and found.chi == pytest.approx(0.64)
        and found.correlation_length == pytest.approx(-1 / np.log(0.64))
    )


def test_tiny_inputs_and_weights():
    """By series of tanh on the critical line sw^2 = 1 + 2 q and s^2 = 4 q^3 / 3, to the lowest order."""
    for variance in (1e-12, 1e-20):
        q = (0.75 * variance) ** (1 / 3)
        np.testing.assert_allclose(critical_weight_scale(variance) ** 2 - 1, 2 * q, rtol=0.03)
    np.testing.assert_allclose(
        [mean_field(0.5, s).q for s in (1e-13, 1e-200)], [4 / 3 * 1e-13, 4 / 3 * 1e-200], rtol=1e-10
    )
    assert mean_field(1e-200, 0.1).chi == 0 and mean_field(1e-200, 0.1).rate == -np.inf


def test_relu_networks():
    found = mean_field(1.2, 0.3, "relu")
    np.testing.assert_allclose([found.q, found.chi, found.rate], [0.3 / (1 - 0.72), 0.72, 0.5 * np.log(0.72)])
    z = np.random.default_rng(0).normal(size=400_000) * np.sqrt(found.q)
    np.testing.assert_allclose(1.44 * np.mean(np.maximum(z, 0) ** 2) + 0.3, found.q, rtol=0.01)
    assert critical_weight_scale(0.3, "relu") == np.sqrt(2)
    with pytest.raises(ValueError, match="below sqrt.2. for relu.*no fixed point"):
        mean_field(np.sqrt(2), 0.3, "relu")


@pytest.mark.parametrize(
    ("scale", "variance", "activation"),
    [(0.9, 0.25, "tanh"), (1.0, 0.05, "tanh"), (1.5, 0.25, "tanh"), (2.0, 0.05, "tanh"), (1.2, 0.3, "relu")],
)
def test_measured_gradients_agree(scale, variance, activation):
    """400 units read noise of their own; the root mean square adjoint, lags 10 to 60.

    Over each network's samples; of relu, whose networks differ more, over those of all networks.
    """
    size = 400
    cell = Elman(size, activation)

    def adjoints(key):
        keys = jax.random.split(key, 3)
        xs = jax.random.normal(keys[0], (90, 4, size), jnp.float32)
        projection = jax.random.normal(keys[1], (size,), jnp.float32)
        weights = {"input": Identity(variance**0.5), "recurrent": Gaussian(scale)}
        drawn = {name: init(keys[2], (size, size)) for name, init in weights.items()}
        params = GatedParams(**drawn, bias=jnp.zeros(size, jnp.float32))
        return adjoint_norms(cell, params, xs, lambda ys: ys[-1] @ projection)

    logs = jnp.stack([adjoints(key) for key in jax.random.split(jax.random.key(0), 3)])
    curves = root_mean_square(logs, (0, 2) if activation == "relu" else 2)
    rates = (curves[..., -61] - curves[..., -11]) / 50
    np.testing.assert_allclose(np.exp(rates), np.exp(mean_field(scale, variance, activation).rate), rtol=0.03)


def test_errors():
    for arguments, words in [
        ((0.0, 0.1), "`weight_scale` must be a finite number above 0"),
        ((1.0, -0.1), "`input_variance` must be a finite number of 0 or more"),
        ((1.0, np.inf), "`input_variance`"),
    ]:
        with pytest.raises(ValueError, match=words):
            mean_field(*arguments)
