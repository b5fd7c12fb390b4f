"""cuDNN's LSTM: its arguments and results, with JAX's own reference of it in its place, as it runs on GPUs alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

from jaxrnn import GRU, LSTM, CuDNN, Elman, PeepholeLSTM, Scan, UnsupportedBackend, unroll
from tests.checks import Acts, assert_close, cast, draw_arguments, noise_like, value_and_gradient

TIME, BATCH = 9, 5


@pytest.fixture
def in_its_place(monkeypatch):
    """cuDNN's two functions by their documented meaning, and its refusals of this machine lifted."""

    def reference(x, h, c, weights, lengths, *options):
        parts = rnn.unpack_lstm_weights(weights, *options[:3], options[4])
        return rnn.lstm_ref(x, h, c, *parts, lengths, *options[:-1])

    def forward(x, h, c, weights, lengths, *options):
        assert lengths.dtype == jnp.int32
        results = reference(x, h, c, weights, lengths, *options)
        return results, (x, h, c, weights, lengths, results[0], jnp.zeros(1))

    def backward(*inputs):
        options, (x, h, c, weights, lengths, ys, kept), cotangents = inputs[:-2], inputs[-2], inputs[-1]
        assert ys.shape[:2] == x.shape[:2] and kept.shape == (1,)
        pullback = jax.vjp(lambda *a: reference(*a, lengths, *options), x, h, c, weights)[1]
        return *pullback(cotangents), None

    monkeypatch.setattr(rnn, "lstm_fwd", forward)
    monkeypatch.setattr(rnn, "lstm_bwd", backward)
    monkeypatch.setattr(CuDNN, "refuses", lambda self, cell, xs: None)
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("lengths", [None, (9, 0, 4, 1, 8)], ids=["whole", "lengths"])
@pytest.mark.parametrize("batch", [(BATCH,), (BATCH, 2), ()], ids=str)
def test_against_float64(in_its_place, batch, lengths, reverse):
    cell = LSTM(6)
    if lengths is not None and batch != (BATCH,):
        lengths = np.resize(lengths, batch)
    arguments = cast(draw_arguments(cell, 0, TIME, batch), jnp.float32)
    acts = Acts(None if lengths is None else np.asarray(lengths))
    if acts.lengths is not None:
        beyond = np.arange(TIME).reshape(-1, *(1,) * len(batch)) >= acts.lengths
        arguments = arguments._replace(xs=jnp.where(beyond[..., None], jnp.nan, arguments.xs))
    shapes = arguments.carry, np.zeros((TIME, *batch, 6))
    cotangents = noise_like(np.random.default_rng(1), shapes)
    found = value_and_gradient(unroll, cell, CuDNN(), reverse, arguments, acts, cotangents)
    exact = cast(arguments, jnp.float64)
    assert_close(found, value_and_gradient(unroll, cell, Scan(), reverse, exact, acts, cotangents), 1e-5)


def test_second_derivatives_and_vmap(in_its_place):
    cell = LSTM(3)
    params, xs, carry = cast(draw_arguments(cell, 0, 4, (2,)), jnp.float32)

    def second(backend, carry):
        def loss(params):
            return jnp.sum(unroll(cell, params, xs, carry, backend=backend)[1] ** 2)

        gradient = jax.grad(loss)
        return jax.grad(lambda p: sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient(p))))(params)

    assert_close(second(CuDNN(), carry), second(Scan(), carry), 1e-4)
    carries = jax.tree.map(lambda x: jnp.stack([x, -x]), carry)
    one_by_one = [second(CuDNN(), jax.tree.map(lambda x, i=i: x[i], carries)) for i in range(2)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *one_by_one)
    assert_close(jax.vmap(lambda c: second(CuDNN(), c))(carries), stacked, 1e-6)


def test_flags_that_it_does_not_know(in_its_place):
    cell = LSTM(3)
    params, xs, carry = cast(draw_arguments(cell, 0, 4, (2,)), jnp.float32)
    for flags in ({"mask": np.ones((4, 2), bool)}, {"resets": np.zeros((4, 2), bool)}):
        with pytest.raises(UnsupportedBackend, match=f"knows lengths alone, and `{next(iter(flags))}` is given"):
            unroll(cell, params, xs, carry, backend=CuDNN(), **flags)


@pytest.mark.parametrize(
    "cell, dtype, words",
    [
        (GRU(4), "float32", "is that of an LSTM, and this is a GRU"),
        (PeepholeLSTM(4), "float32", "and this is a PeepholeLSTM"),
        (Elman(4), "float32", "and this is a Elman"),
        (LSTM(4, heads=2), "float32", "has no heads, and this one has 2"),
        (LSTM(4), "bfloat16", "takes float32, and `xs` is bfloat16"),
    ],
    ids=str,
)
def test_refuses_in_words(cell, dtype, words):
    assert words in CuDNN().refuses(cell, jnp.zeros((3, 2, 5), dtype))


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="here it runs")
def test_refuses_a_machine_without_a_gpu():
    assert "is for NVIDIA GPUs, and the first device is" in CuDNN().refuses(LSTM(4), jnp.zeros((3, 2, 5), jnp.float32))
