"""decay_fit on curves whose rate is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.gradients import decay_fit


def curve(rate, time=50):
    return jnp.asarray(rate * np.arange(time)[::-1] + 2.0)


@pytest.mark.parametrize("rate", [-0.7, -1e-3, 0.3])
def test_a_line_is_found(rate):
    fit = decay_fit(curve(rate))
    np.testing.assert_allclose(fit.rate, rate, rtol=1e-9)
    np.testing.assert_allclose(fit.half_life, np.log(2) / -rate if rate < 0 else np.inf, rtol=1e-9)
    np.testing.assert_allclose(fit.r_squared, 1.0, rtol=1e-9)
    assert [int(lag) for lag in fit.window] == [5, 49]


def test_a_level_line_has_no_half_life():
    fit = decay_fit(jnp.zeros(20))
    assert fit.rate == 0 and fit.half_life == np.inf and fit.r_squared == 1


def test_window_is_used_and_checked():
    bent = jnp.concatenate([curve(-0.1, 30), jnp.asarray(2.0 - np.arange(1, 21)[::-1] * 0.0)])
    fit = decay_fit(bent, window=(20, 40))
    np.testing.assert_allclose(fit.rate, -0.1, rtol=1e-6)
    for window in [(5, 5), (-1, 4), (0, 50)]:
        with pytest.raises(ValueError, match=r"`window` must be two lags .*got .*Choose lags"):
            decay_fit(bent, window)


def test_each_sample_ends_at_its_first_exact_zero():
    norms = jnp.stack([curve(-0.2), curve(-0.2).at[:20].set(-jnp.inf), jnp.full(50, -jnp.inf)], axis=1)
    fit = decay_fit(norms)
    np.testing.assert_allclose(fit.rate[:2], [-0.2, -0.2], rtol=1e-9)
    assert [int(lag) for lag in fit.window[1]][:2] == [49, 29]
    assert np.isnan(fit.rate[2]) and np.isnan(fit.half_life[2]) and np.isnan(fit.r_squared[2])


def test_nan_shows():
    assert np.isnan(decay_fit(curve(-0.1).at[3].set(jnp.nan)).rate)


def test_a_curve_that_is_no_line_has_a_small_r_squared():
    fit = decay_fit(jnp.asarray(np.sin(np.arange(200) / 3.0)))
    assert 0 <= fit.r_squared < 0.1
