"""The one contract: every exported cell and made-up user's cells, on every backend that does not refuse."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import LRU, Associative, ChunkedScan, LinearCell, Pallas, PeepholeLSTM, Scan, UnsupportedBackend, unroll
from tests.checks import (
    BATCH,
    TIME,
    Acts,
    Arguments,
    Case,
    assert_close,
    draw_arguments,
    inner,
    noise_like,
    plus,
    value_and_gradient,
)
from tests.examples import CELLS, FEATURES, USERS, build, name

WAYS = [
    (Scan(unroll=2, checkpoint_every=4), True),
    (ChunkedScan(chunk=4), False),
    (ChunkedScan(chunk=4, keep_gates=True), True),
    (ChunkedScan(chunk=4, checkpoint_every=6), False),
    (ChunkedScan(chunk=TIME), True),
    (Associative(), False),
    (Associative(), True),
]
PRECISIONS = [
    (None, jnp.float32),
    (Scan(), jnp.bfloat16),
    (ChunkedScan(chunk=4), jnp.bfloat16),
    (Associative(), jnp.bfloat16),
    (Pallas(interpret=True), jnp.float32),
]


def label(value) -> str:
    """The id of a backend, direction or dtype."""
    if isinstance(value, bool):
        return "reverse" if value else "forward"
    return name(value) if dataclasses.is_dataclass(value) else getattr(value, "__name__", "default")


both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


@pytest.fixture(scope="session", params=CELLS, ids=name)
def case(request):
    return Case(request.param)


@both_directions
def test_values_follow_the_equations(case, reverse):
    case.check_equations(reverse)


@both_directions
def test_step_is_unroll(case, reverse):
    value, _ = case.reference(reverse)
    assert_close(value, case.loop(case.own_step, reverse), 1e-12)


@both_directions
def test_gradient_follows_the_equations(case, reverse):
    """Against central differences of the oracle, along one direction for each argument."""
    _, gradient = case.reference(reverse)
    draws = noise_like(np.random.default_rng(7), case.arguments)
    zeros = jax.tree.map(np.zeros_like, draws)

    def loss(direction, step):
        return inner(case.loop(case.oracle_step, reverse, plus(case.arguments, direction, step)), case.cotangents)

    for field in Arguments._fields:
        direction = zeros._replace(**{field: getattr(draws, field)})
        difference = (loss(direction, 1e-5) - loss(direction, -1e-5)) / 2e-5
        assert_close(inner(gradient, direction), difference, 1e-7)


@pytest.mark.parametrize("backend, reverse", WAYS, ids=label)
def test_backends_agree(case, backend, reverse):
    if backend.refuses(case.cell, case.arguments.xs):
        with pytest.raises(UnsupportedBackend):
            case.run(backend, reverse)
    else:
        case.check(backend, reverse)


@pytest.mark.parametrize("backend, dtype", PRECISIONS, ids=label)
def test_precision(case, backend, dtype):
    """Against float64 on the same rounded arguments; outputs in the dtype of xs, carries in at least float32."""
    if backend is not None and backend.refuses(case.cell, case.arguments.xs):
        return
    arguments = case.at(dtype)
    value, gradient = case.run(backend, False, dtype)
    expected_value, expected_gradient = case.reference(False, dtype)
    forward, backward = (1e-5, 1e-5) if dtype == jnp.float32 else (1e-2, 2e-2)
    assert_close(value, expected_value, forward)
    assert_close(gradient, expected_gradient, backward)
    assert value[1].dtype == dtype
    for actual, given in ((value[0], arguments.carry), (gradient, arguments)):
        jax.tree.map(lambda a, g: np.testing.assert_equal(a.dtype, g.dtype), actual, given)


def test_several_batch_axes(case):
    """(2, 2) batch axes are the same as one of 4."""

    def grid(tree, axis):
        return jax.tree.map(lambda x: np.reshape(x, (*x.shape[:axis], 2, 2, *x.shape[axis + 1 :])), tree)

    params, xs, carry = case.arguments
    lengths, mask, resets = case.acts
    acts = {"lengths": grid(lengths, 0), "mask": grid(mask, 1), "resets": grid(resets, 1)}
    end, ys = case.reference(False)[0]
    assert_close(unroll(case.cell, params, grid(xs, 1), grid(carry, 0), **acts), (grid(end, 0), grid(ys, 1)), 1e-11)


def test_no_batch_axis_under_vmap(case):
    """Without a batch axis, mapped over samples, each with parameters of its own, inside jit."""
    params, xs, carry = case.arguments
    each = jax.tree.map(lambda p: np.stack([p] * BATCH), params)
    mapped = jax.vmap(
        lambda *sample: value_and_gradient(unroll, case.cell, None, True, *sample),
        (Arguments(0, 1, 0), Acts(0, 1, 1), (0, 1)), ((0, 1), Arguments(0, 1, 0)),
    )  # fmt: skip
    value, gradient = jax.jit(mapped)(Arguments(each, xs, carry), case.acts, case.cotangents)
    expected_value, expected = case.reference(True)
    assert_close(value, expected_value, 1e-11)
    summed = jax.tree.map(lambda p: p.sum(0), gradient.params)
    assert_close(gradient._replace(params=summed), expected, 1e-11)


@pytest.mark.parametrize("cell", [*USERS, build(PeepholeLSTM), build(LRU)], ids=name)
def test_second_order(cell):
    """One of each form: reverse over reverse is the product with the Hessian that forward over reverse gives."""
    arguments = jax.tree.map(jnp.asarray, draw_arguments(cell, time=5, batch=(2,)))
    acts = Acts(np.array([5, 3]), None, np.arange(10).reshape(5, 2) % 4 == 3)
    direction = jax.tree.map(jnp.asarray, noise_like(np.random.default_rng(3), arguments))

    def gradient(arguments, backend):
        def loss(arguments):
            end, ys = unroll(cell, *arguments, **acts._asdict(), backend=backend)
            return (ys**2).sum() + sum((abs(leaf) ** 2).sum() for leaf in jax.tree.leaves(end))

        return jax.grad(loss)(arguments)

    @functools.partial(jax.jit, static_argnums=1)
    def reverse_over_reverse(arguments, backend):
        def slope(arguments):
            products = jax.tree.map(lambda g, d: (g * d).real.sum(), gradient(arguments, backend), direction)
            return sum(jax.tree.leaves(products))

        return jax.grad(slope)(arguments)

    @jax.jit
    def forward_over_reverse(arguments):
        return jax.jvp(lambda a: gradient(a, Scan()), (arguments,), (direction,))[1]

    best = Associative() if isinstance(cell, LinearCell) else ChunkedScan(chunk=2)
    assert_close(reverse_over_reverse(arguments, best), forward_over_reverse(arguments), 1e-10)


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_records(cell):
    """Equal cells hash equal and are traced once; parameters, carry and output are what the contract says."""

    @functools.partial(jax.jit, static_argnums=0)
    @chex.assert_max_traces(n=1)
    def start(cell):
        return cell.init_carry((2,))

    again = dataclasses.replace(cell)
    assert again is not cell and again == cell and hash(again) == hash(cell)
    start(cell)
    start(again)
    assert f"hidden_size={cell.hidden_size}" in repr(cell)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.hidden_size = 1
    params, carry = jax.eval_shape(lambda: (cell.init(jax.random.key(0), FEATURES), cell.init_carry((2, 3))))
    assert isinstance(params, tuple) and isinstance(carry, tuple) and hasattr(carry, "_fields")
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    assert jax.eval_shape(lambda c: c.h, carry).shape == (2, 3, cell.hidden_size)
    assert_close(cell.init(jax.random.key(1), FEATURES), again.init(jax.random.key(1), FEATURES), 0)
