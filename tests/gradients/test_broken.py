"""Broken runs and states, for all of the laboratory alike: an error in words, NaN where none can be raised."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, Int

from jaxrnn import Cell, Elman, unroll
from jaxrnn.gradients import (
    adjoint_norms,
    contributions,
    extreme_transport,
    lyapunov_spectrum,
    mean_log_determinant,
    omega,
    omega_squared,
    product_bound,
    sensitivity,
    step_bound,
    step_jacobians,
    transport,
)

KEY = jax.random.key(3)


def last(ys):
    return ys[-1].sum(axis=-1)


MEASURES = {
    "adjoint_norms": lambda *run: adjoint_norms(*run, last)[0],
    "contributions": lambda *run: jnp.broadcast_to(contributions(*run, last).log_norms[0], (2,)),
    "extreme_transport": lambda *run: extreme_transport(*run, KEY, (2,), 2, 2).log_largest[0],
    "lyapunov_spectrum": lambda *run: lyapunov_spectrum(*run).exponents[:, 0],
    "mean_log_determinant": mean_log_determinant,
    "omega": lambda *run: omega(*run, last).omega,
    "omega_squared": lambda *run: omega_squared(*run, last).omega,
    "product_bound": lambda *run: product_bound(*run, (3,)).log_values[0],
    "sensitivity": lambda *run: sensitivity(*run).parameters[-1],
    "step_bound": lambda *run: step_bound(*run, (3,)).log_values[0],
    "step_jacobians": lambda *run: step_jacobians(*run)[-1].sum(axis=(-2, -1)),
    "transport": lambda *run: transport(*run, (3,)).log_largest[0],
}


@pytest.mark.parametrize("name", MEASURES)
def test_nan_of_one_sample_is_named_and_in_a_compiled_function_stays_nan(name):
    cell = Elman(2, "relu")
    params = cell.init(KEY, 1)._replace(recurrent=0.5 * jnp.eye(2, dtype=jnp.float32), bias=jnp.ones(2, jnp.float32))
    xs = jnp.ones((4, 2, 1), jnp.float32).at[1, 0].set(jnp.nan)
    with pytest.raises(FloatingPointError, match=f"{name.replace('step_bound', 'step_jacobians')}: .* from step 1 on"):
        MEASURES[name](cell, params, xs)
    broken, good = np.asarray(jax.jit(lambda xs: MEASURES[name](cell, params, xs))(xs))
    assert np.isnan(broken)
    assert np.isnan(good) if name == "contributions" else np.isfinite(good)  # contributions are summed over samples


class Counting(NamedTuple):
    """A state and how many steps it is old."""

    h: Float[Array, "*batch hidden"]
    steps: Int[Array, "*batch one"]


@dataclass(frozen=True)
class Counter(Cell):
    """A user's cell with a whole number in its carry."""

    @property
    def output_size(self):
        return 2

    def init(self, key, input_size, dtype=jnp.float32):
        return (jnp.ones((input_size, 2), dtype),)

    def init_carry(self, batch_shape=(), dtype=jnp.float32):
        return Counting(jnp.zeros((*batch_shape, 2), dtype), jnp.zeros((*batch_shape, 1), jnp.int32))

    def project(self, params, xs):
        return xs @ params[0]

    def advance(self, params, carry, u):
        return Counting(jnp.tanh(carry.h + u), carry.steps + 1)


@pytest.mark.parametrize("name", sorted(MEASURES.keys() - {"omega_squared", "product_bound"}))  # which refuse the cell
def test_whole_numbers_in_a_carry_are_refused(name):
    cell, xs = Counter(), jnp.ones((4, 2, 1), jnp.float32)
    params = cell.init(KEY, 1)
    assert unroll(cell, params, xs)[0].steps.tolist() == [[4], [4]]
    with pytest.raises(TypeError, match="Counter: a carry .* numbers alone, got float32, int32. Count in floating"):
        MEASURES[name](cell, params, xs)
