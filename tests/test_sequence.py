"""Stack and Bidirectional against the same thing composed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import GRU, LRU, LSTM, Bidirectional, ChunkedScan, Elman, MinGRU, Scan, Stack, unroll
from tests.checks import (
    BATCH,
    TIME,
    Acts,
    Arguments,
    assert_close,
    draw_acts,
    noise_like,
    plus,
    spoil,
    value_and_gradient,
)
from tests.examples import FEATURES

both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
NETWORKS = {
    "stack": Stack((LSTM(4), GRU(3), MinGRU(5))),
    "residual-stack": Stack((GRU(FEATURES), LSTM(5), LRU(4, features=5)), residual=True),
    "bidirectional": Bidirectional(LSTM(4), GRU(2)),
    "residual-bidirectional": Bidirectional(Elman(1), MinGRU(2), residual=True),
    "nested": Stack((Bidirectional(Stack((GRU(4), Elman(2))), LSTM(1)), GRU(3)), residual=True),
}


def by_hand(network, params, xs, carry, reverse, acts):
    """(carry, ys) with every cell unrolled by itself and the outputs put together here."""
    active = acts.mask & (np.arange(TIME)[:, None] < acts.lengths)

    def residual(ys, xs):
        return ys + jnp.where(active[..., None], xs, 0)

    if isinstance(network, Stack):
        ends = []
        for cell, weights, start in zip(network.cells, params, carry, strict=True):
            end, ys = by_hand(cell, weights, xs, start, reverse, acts)
            ends.append(end)
            xs = residual(ys, xs) if network.residual and ys.shape == xs.shape else ys
        return tuple(ends), xs
    if isinstance(network, Bidirectional):
        ahead, forward = by_hand(network.forward, params[0], xs, carry[0], reverse, acts)
        back, backward = by_hand(network.backward, params[1], xs, carry[1], not reverse, acts)
        ys = jnp.concatenate([forward, backward], axis=-1)
        return (ahead, back), residual(ys, xs) if network.residual else ys
    return unroll(network, params, xs, carry, **acts._asdict(), reverse=reverse, backend=Scan())


def drawn(network) -> tuple[Arguments, Acts]:
    rng = np.random.default_rng(5)
    params = network.init(jax.random.key(5), FEATURES, jnp.float64)
    carry = network.init_carry((BATCH,), jnp.float64)
    acts = draw_acts(5)
    xs = spoil(rng.normal(size=(TIME, BATCH, FEATURES)), acts)
    return Arguments(params, xs, plus(carry, noise_like(rng, carry))), acts


@both_directions
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_networks_are_their_cells_put_together(network, reverse):
    arguments, acts = drawn(network)
    cotangents = arguments.carry, np.random.default_rng(6).normal(size=(TIME, BATCH, network.output_size))
    value, gradient = value_and_gradient(unroll, network, None, reverse, arguments, acts, cotangents)

    @jax.jit
    def expected(arguments):
        value, pullback = jax.vjp(lambda a: by_hand(network, *a, reverse, acts), arguments)
        return value, pullback(cotangents)[0]

    assert_close((value, gradient), expected(arguments), 1e-11)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_carries_and_sizes(network):
    """Carries are always returned, in the shape in which they begin; a part starts from its own where none is given."""
    params = network.init(jax.random.key(0), FEATURES)
    xs = np.ones((TIME, FEATURES), np.float32)
    carry, ys = jax.eval_shape(lambda: unroll(network, params, xs))
    start = jax.eval_shape(network.init_carry)
    assert (carry, ys.shape) == (start, (TIME, network.output_size))
    again = eval(repr(network), vars(jaxrnn) | vars(jaxrnn.initializers))
    assert network == again and hash(network) == hash(again)


def test_a_layer_without_a_carry_starts_afresh():
    stack = NETWORKS["stack"]
    (params, xs, carry), acts = drawn(stack)
    some = unroll(stack, params, xs, (carry[0], None, carry[2]), **acts._asdict())
    fresh = stack.init_carry((BATCH,), jnp.float64)
    assert_close(some, unroll(stack, params, xs, (carry[0], fresh[1], carry[2]), **acts._asdict()), 0)


def test_the_backend_named_serves_every_layer():
    stack = Stack((GRU(3), LSTM(4)))
    (params, xs, carry), acts = drawn(stack)
    named = unroll(stack, params, xs, carry, **acts._asdict(), backend=ChunkedScan(chunk=3))
    assert_close(named, unroll(stack, params, xs, carry, **acts._asdict(), backend=Scan()), 1e-12)


def test_residual_where_sizes_differ_is_left_out():
    wide, plain = Stack((GRU(5),), residual=True), Stack((GRU(5),))
    (params, xs, carry), acts = drawn(plain)
    assert_close(
        unroll(wide, params, xs, carry, **acts._asdict()), unroll(plain, params, xs, carry, **acts._asdict()), 0
    )


def test_padding_of_half_precision_stays_zero():
    """Residual or not, outputs are zero where nothing acts, in the dtype of the inputs."""
    network = NETWORKS["residual-stack"]
    acts = draw_acts(2)
    xs = spoil(np.ones((TIME, BATCH, FEATURES)), acts)
    params = network.init(jax.random.key(0), FEATURES, jnp.bfloat16)
    _, ys = unroll(network, params, jnp.asarray(xs, jnp.bfloat16), **acts._asdict())
    assert ys.dtype == jnp.bfloat16
    assert (np.asarray(ys[np.isnan(xs).any(-1)], np.float32) == 0).all() and np.isfinite(
        np.asarray(ys, np.float32)
    ).all()
