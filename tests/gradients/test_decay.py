"""decay_fit on curves whose rate is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.gradients import decay_fit, float_floor


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
        with pytest.raises(ValueError, match=r"`window` must be two whole lags .*got .*Choose lags"):
            decay_fit(bent, window)


def test_what_cannot_be_fitted_is_refused(without_type_checks):
    with pytest.raises(ValueError, match="at least one step.* got 0 steps"):
        decay_fit(jnp.zeros(0))
    with pytest.raises(ValueError, match="`floor` be a number, got 20 steps and nan"):
        decay_fit(curve(-0.1, 20), floor=float("nan"))
    with pytest.raises(ValueError, match="two whole lags"):
        decay_fit(curve(-0.1, 20), window=(1, 5.5))


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


def test_a_power_law_is_told_from_an_exponential():
    lags = np.arange(400.0)
    power = decay_fit(jnp.asarray(-1.5 * np.log(np.maximum(lags, 1)))[::-1])
    np.testing.assert_allclose(power.power, -1.5, rtol=1e-9)
    np.testing.assert_allclose(power.power_r_squared, 1, rtol=1e-9)
    assert power.is_power_law and power.r_squared < 0.95 and power.bend > 0.1
    line = decay_fit(curve(-0.3, 400))
    assert not line.is_power_law and line.power_r_squared < 0.99
    np.testing.assert_allclose(line.bend, 0, atol=1e-10)


def test_bend_is_the_rise_of_a_parabola_to_the_ends_of_the_window():
    lags = np.arange(41.0)
    fit = decay_fit(jnp.asarray((1.0 - 0.2 * lags + 0.003 * (lags - 20) ** 2)[::-1]), window=(0, 40))
    np.testing.assert_allclose(fit.bend, 0.003 * 20**2, rtol=1e-9)
    assert np.isnan(decay_fit(curve(-0.1), window=(3, 4)).bend)


def test_nothing_is_fitted_through_the_floor_of_the_float():
    """Plain float32 norms of rate 1/2 stand still at the floor; the fit ends before it, or says that it would not."""
    plain = jnp.asarray(np.maximum(np.log(0.5) * np.arange(300), np.log(2.0**-149)))[::-1]
    floor = float_floor(jnp.float32)
    fit = decay_fit(plain, floor=floor)
    np.testing.assert_allclose(fit.rate, np.log(0.5), rtol=1e-9)
    assert int(fit.window[1]) == 126
    with pytest.raises(ValueError, match=r"reaches below the floor -87.34, from lag 127 on.*adjoint_norms"):
        decay_fit(plain, window=(10, 200), floor=floor)
    np.testing.assert_allclose(decay_fit(plain, window=(10, 126), floor=floor).rate, np.log(0.5), rtol=1e-9)


def test_zeros_before_the_curve_begins_are_passed_over():
    """The memory of an LSTM is not read at its last step."""
    fit = decay_fit(curve(-0.2).at[-1].set(-jnp.inf), window=(0, 30))
    np.testing.assert_allclose(fit.rate, -0.2, rtol=1e-9)
    assert [int(lag) for lag in fit.window] == [1, 30]


def test_the_power_law_has_no_lag_0():
    lags = np.arange(30.0)
    logs = jnp.asarray(np.where(lags == 0, 5.0, -2 * np.log(np.maximum(lags, 1)))[::-1])
    np.testing.assert_allclose(decay_fit(logs, window=(0, 29)).power, -2, rtol=1e-9)
