import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import LSTM, ConstantErrorCarousel, Scan, unroll
from jaxrnn.initializers import ForgetBias
from tests.checks import Case, assert_close, draw_arguments
from tests.oracles import sigmoid


def test_cut_paths_leave_values_alone():
    Case(ConstantErrorCarousel(5, cut=True)).check_equations(False)


@pytest.mark.parametrize("backend", [Scan(), None], ids=["scan", "default"])
def test_error_along_a_cut_carousel_is_constant(backend):
    """Bit by bit, over any number of steps; and the recurrent weights still learn."""
    cell = ConstantErrorCarousel(5, cut=True)
    params, xs, start = jax.tree.map(jnp.asarray, draw_arguments(cell, time=100, batch=()))
    end, pullback = jax.vjp(lambda p, c: unroll(cell, p, xs, c, backend=backend)[0], params, start)
    error = jax.tree.map(lambda c: jnp.arange(1.0, 6.0).astype(c.dtype), end)
    d_params, d_start = pullback(error)
    np.testing.assert_array_equal(d_start.c, error.c)
    assert np.abs(d_params.recurrent).max() > 0


@pytest.mark.parametrize("bias, after_100", [(0.0, 7.89e-31), (1.0, 2.48e-14), (3.0, 7.76e-3), (5.0, 0.511)])
def test_without_weights_the_memory_keeps_sigmoid_of_the_forget_bias(bias, after_100):
    """dc_T/dc_0 = sigmoid(b)^T."""
    cell = LSTM(2, bias_init=ForgetBias(bias))
    params = cell.init(jax.random.key(0), 1, jnp.float64)
    params = params._replace(input=0 * params.input, recurrent=0 * params.recurrent)

    def memory(carry):
        return unroll(cell, params, np.zeros((100, 1)), carry)[0].c[0]

    slope = jax.grad(memory)(cell.init_carry((), jnp.float64)).c
    assert_close(slope, np.array([sigmoid(bias) ** 100, 0.0]), 1e-12)
    assert_close(slope[0], after_100, 2e-3)
