"""The debug mode names the first step and the value that turned non-finite."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import GRU, LSTM, Elman, GatedCell, HiddenCarry, Stack
from jaxrnn.debug import check_finite

LINEAR = Elman(2, "identity")


@pytest.fixture
def xs():
    return jax.random.normal(jax.random.key(1), (6, 3, 2), jnp.float32)


def exploding(cell, value):
    params = cell.init(jax.random.key(0), 2)
    return params._replace(recurrent=jnp.full_like(params.recurrent, value))


def test_a_finite_run_is_that_of_unroll(xs):
    cell = Stack((LSTM(3), GRU(2)))
    params = cell.init(jax.random.key(0), 2)
    lengths, resets = jnp.array([6, 4, 0]), jnp.zeros((6, 3), bool).at[2].set(True)
    how = {"lengths": lengths, "resets": resets, "reverse": True}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        check_finite(cell, params, xs, **how),
        jaxrnn.unroll(cell, params, xs, **how),
    )


def test_the_first_step_and_the_carry_are_named(xs):
    """|h_t| grows by 2e15 a step: h_0 ~ 1, h_1 ~ 1e15, h_2 ~ 1e30, and h_3 leaves float32."""
    with pytest.raises(FloatingPointError, match=r"the carry of Elman\.h is not finite, first at step 3 of 6"):
        check_finite(LINEAR, exploding(LINEAR, 1e15), jnp.ones_like(xs))


def test_in_reverse_the_first_of_the_run(xs):
    with pytest.raises(FloatingPointError, match=r"carry of Elman\.h .* first at step 2 of 6"):
        check_finite(LINEAR, exploding(LINEAR, 1e15), jnp.ones_like(xs), reverse=True)


def test_inputs_come_first_and_padding_does_not_count(xs):
    params = LINEAR.init(jax.random.key(0), 2)
    spoilt = xs.at[4, 1, 0].set(jnp.nan)
    with pytest.raises(FloatingPointError, match=r"projection of the inputs to Elman\.0 .* first at step 4 of 6"):
        check_finite(LINEAR, params, spoilt)
    lengths = jnp.array([6, 4, 6])
    assert np.isfinite(check_finite(LINEAR, params, spoilt, lengths=lengths)[1]).all()


@dataclass(frozen=True)
class Reciprocal(GatedCell):
    """Not finite where the input is zero, as it is taken to be in padding; u holds a name that has to be quoted."""

    hidden_size: int
    gates: ClassVar[int] = 1

    def project(self, params, xs):
        return jnp.zeros((*xs.shape[:-1], self.hidden_size), xs.dtype), {"it's": 1 / xs[..., :1]}

    def update(self, pointwise, carry, u, v):
        return HiddenCarry(jnp.tanh(u[0] + u[1]["it's"] + v[0]))


def test_steps_that_do_not_act_are_not_looked_at(xs):
    cell = Reciprocal(3)
    params, lengths = cell.init(jax.random.key(0), 2), jnp.array([6, 4, 5])
    check_finite(cell, params, jnp.exp(xs), lengths=lengths)
    with pytest.raises(FloatingPointError, match=r"projection of the inputs to Reciprocal\.1\.it's .* at step 2 of 6"):
        check_finite(cell, params, jnp.exp(xs).at[2, 1].set(0), lengths=lengths)


def test_lengths_are_those_of_unroll(xs):
    with pytest.raises(ValueError, match="`lengths` must lie between 0 and the 6 steps"):
        check_finite(LINEAR, LINEAR.init(jax.random.key(0), 2), xs, lengths=jnp.array([9, 1, 1]))


def test_the_layer_of_a_stack_is_named(xs):
    cell = Stack((GRU(2), LINEAR))
    params = cell.init(jax.random.key(0), 2)
    params = (params[0], exploding(LINEAR, 1e30))
    with pytest.raises(FloatingPointError, match="Elman"):
        check_finite(cell, params, 1 + xs)


@dataclass(frozen=True)
class LoudElman(Elman):
    """Its output alone leaves the range of the floats."""

    def output(self, params, carry, u):
        return carry.h * jnp.float32(1e38) * jnp.float32(1e38)


def test_the_output_is_watched_too(xs):
    cell = LoudElman(2)
    with pytest.raises(FloatingPointError, match=r"the output of LoudElman is not finite, first at step 0 of 6"):
        check_finite(cell, cell.init(jax.random.key(0), 2), xs)


def test_nan_before_the_first_step_is_named(xs):
    params, carry = LINEAR.init(jax.random.key(0), 2), LINEAR.init_carry((3,))
    with pytest.raises(FloatingPointError, match=r"params\.bias is NaN before the first step"):
        check_finite(LINEAR, params._replace(bias=params.bias.at[1].set(jnp.nan)), xs)
    with pytest.raises(FloatingPointError, match=r"carry\.h is NaN before the first step"):
        check_finite(LINEAR, params, xs, HiddenCarry(carry.h.at[2, 0].set(jnp.nan)))


def test_nan_in_a_starting_carry_that_no_step_reads_is_harmless(xs):
    """A reset before the first step, or a length of 0, discards it."""
    params, carry = LINEAR.init(jax.random.key(0), 2), LINEAR.init_carry((3,))
    broken = HiddenCarry(carry.h.at[2, 0].set(jnp.nan))
    resets = jnp.zeros(xs.shape[:2], bool).at[0].set(True)
    _, ys = check_finite(LINEAR, params, xs, broken, resets=resets)
    assert jnp.isfinite(ys).all()
    check_finite(LINEAR, params, xs, broken, lengths=jnp.array([6, 3, 0]))
