"""Truncated backpropagation through time against a loop that cuts the gradient by hand."""

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxrnn
from jaxrnn import GRU, LSTM, Bidirectional, Stack
from jaxrnn.stochastic import regularize
from jaxrnn.train import Trainer, unroll_segment
from tests.checks import assert_close

TIME, CELL = 12, Stack((LSTM(3), GRU(2)))


@pytest.fixture(scope="module")
def given():
    xs = jax.random.normal(jax.random.key(0), (TIME, 2, 2), jnp.float64)
    return CELL.init(jax.random.key(1), 2, jnp.float64), xs


@pytest.mark.parametrize("window, stride", [(4, 4), (6, 2), (5, 3)])
def test_segments_follow_one_another(given, window, stride):
    """Every segment's outputs are those of the whole run: each starts where the run would be."""
    params, xs = given
    mask = jax.random.bernoulli(jax.random.key(2), 0.7, (TIME, 2))
    _, whole = jaxrnn.unroll(CELL, params, xs, mask=mask)
    carry = CELL.init_carry((2,), jnp.float64)
    for begin in range(0, TIME - window + 1, stride):
        here = slice(begin, begin + window)
        carry, ys = unroll_segment(CELL, params, xs[here], carry, stride=stride, mask=mask[here])
        assert_close(ys, whole[here], 1e-12)


def test_the_gradient_ends_at_the_border_of_the_segment(given):
    """Through the trainer: the sum of segments' gradients, each with its first carry taken as a constant."""
    params, xs = given
    segments = xs.reshape(3, 4, 2, 2)

    def loss_fn(params, carry, batch, key):
        carry, ys = unroll_segment(CELL, params, batch, carry)
        return (ys**2).sum(), (carry, ())

    trainer = Trainer(loss_fn, optax.sgd(0.1))
    start = CELL.init_carry((2,), jnp.float64)
    state, _ = trainer.steps(trainer.init(params, jax.random.key(0), start), segments)

    carry, expected = start, params
    for segment in segments:
        fixed = jax.tree.map(lambda x: jnp.asarray(x.tolist()), carry)  # numbers, nothing to differentiate
        gradient = jax.grad(lambda p, c=fixed, s=segment: (jaxrnn.unroll(CELL, p, s, c)[1] ** 2).sum())(expected)
        carry, _ = jaxrnn.unroll(CELL, expected, segment, fixed)
        expected = jax.tree.map(lambda p, g: p - 0.1 * g, expected, gradient)
    assert_close((state.params, state.carry), (expected, carry), 1e-10)


def test_the_carry_handed_on_is_cut_off(given):
    params, xs = given

    def later(params):
        carry, _ = unroll_segment(CELL, params, xs, CELL.init_carry((2,), jnp.float64), stride=3)
        return sum(leaf.sum() for leaf in jax.tree.leaves(carry))

    assert_close(jax.grad(later)(params), jax.tree.map(jnp.zeros_like, params), 0)


@pytest.mark.parametrize("stride", [0, 5])
def test_a_stride_outside_the_window(given, stride):
    params, xs = given
    with pytest.raises(ValueError, match="`stride` must lie between 1 and the window of 4"):
        unroll_segment(CELL, params, xs[:4], CELL.init_carry((2,), jnp.float64), stride=stride)


def test_the_gradient_reaches_back_across_the_stride(given):
    params, xs = given
    carry = CELL.init_carry((2,), jnp.float64)

    def scored(run):
        return jax.grad(lambda p: (run(p)[1][-2:] ** 2).sum())(params)

    segment = scored(lambda p: unroll_segment(CELL, p, xs[:6], carry, stride=2))
    assert_close(segment, scored(lambda p: jaxrnn.unroll(CELL, p, xs[:6], carry)), 1e-10)


@pytest.mark.parametrize(
    "wrap", [lambda cell: cell, lambda cell: Stack((GRU(2), Stack((cell,))))], ids=["bare", "inside"]
)
@pytest.mark.parametrize("noisy", [False, True])
def test_what_runs_backward_is_refused(given, wrap, noisy):
    _, xs = given
    cell = wrap(Bidirectional(GRU(2), GRU(2)))
    cell = regularize(cell, zoneout=0.1) if noisy else cell
    params, carry = cell.init(jax.random.key(0), 2, jnp.float64), cell.init_carry((2,), jnp.float64)
    with pytest.raises(ValueError, match="`cell` must run forward alone, got Bidirectional"):
        unroll_segment(cell, params, xs[:4], carry)
