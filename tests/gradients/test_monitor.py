"""Taps and the monitor: adjoints as adjoint_norms has them, gradients to the bit those without, on every backend."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn import (
    GRU,
    LRU,
    LSTM,
    Associative,
    Bidirectional,
    Cell,
    ChunkedScan,
    Elman,
    PeepholeLSTM,
    Stack,
    unroll,
)
from jaxrnn.gradients import (
    Monitor,
    WithTap,
    adjoint_norms,
    median_log_norms,
    output_saturation,
    parameter_norms,
    tapped,
)
from jaxrnn.initializers import Orthogonal
from jaxrnn.stochastic import zoneout
from jaxrnn.train import MetricsLog, Trainer, read_log
from tests.examples import UserPlain, UserReadout, name

KEY = jax.random.key(13)
FLOAT = jnp.float64
KINDS = [PeepholeLSTM(3), LRU(2, 3), UserReadout(3), UserPlain(3)]


def every_output(ys):
    return (ys**2).sum(axis=(0, -1))


@pytest.mark.parametrize("cell", KINDS, ids=name)
def test_taps_read_the_adjoints_of_every_kind_of_cell(cell):
    params, xs = cell.init(KEY, 3, FLOAT), jax.random.normal(KEY, (5, 2, 3), FLOAT)

    def total(params, xs, tap):
        return every_output(unroll(tapped(cell), params, WithTap(xs, tap))[1]).sum()

    tap = jnp.zeros((5, 2, 1), FLOAT)
    value, (gradient, norms) = jax.jit(jax.value_and_grad(total, (0, 2)))(params, xs, tap)
    np.testing.assert_allclose(
        np.log(norms[..., 0]), adjoint_norms(cell, params, xs, every_output), rtol=1e-9, atol=1e-10
    )
    plain = jax.value_and_grad(lambda p: every_output(unroll(cell, p, xs)[1]).sum())
    expected, expected_gradient = plain(params)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-12), gradient, expected_gradient)


@pytest.mark.parametrize("backend", [ChunkedScan(chunk=2, checkpoint_every=3), Associative()], ids=name)
def test_taps_on_every_backend_with_lengths(backend):
    cell = LRU(3, 2)
    params, xs = cell.init(KEY, 2, FLOAT), jax.random.normal(KEY, (7, 2, 2), FLOAT)
    tap = jnp.zeros((7, 2, 1), FLOAT)

    def total(tap):
        ys = unroll(tapped(cell), params, WithTap(xs, tap), lengths=jnp.array([7, 4]), backend=backend)[1]
        return every_output(ys).sum()

    norms = jax.grad(total)(tap)[..., 0]
    for sample, length in enumerate((7, 4)):
        exact = adjoint_norms(cell, params, xs[:length, sample], every_output)
        np.testing.assert_allclose(np.log(norms[:length, sample]), exact, rtol=1e-9, atol=1e-10)
    assert (norms[4:, 1] == 0).all()


class MatrixCarry(NamedTuple):
    h: jax.Array
    total: jax.Array


@dataclass(frozen=True)
class MatrixCell(Cell):
    """A matrix and a number for each sample in its carry."""

    @property
    def output_size(self):
        return 2

    def init(self, key, input_size, dtype=jnp.float32):
        return jax.random.normal(key, (input_size, 2), dtype)

    def init_carry(self, batch_shape=(), dtype=jnp.float32):
        return MatrixCarry(jnp.zeros((*batch_shape, 2, 2), dtype), jnp.zeros(batch_shape, dtype))

    def project(self, params, xs):
        return xs @ params

    def advance(self, params, carry, u):
        h = 0.5 * jnp.tanh(carry.h + u[..., None, :] + carry.total[..., None, None])
        return MatrixCarry(h, 0.9 * carry.total + h.sum(axis=(-1, -2)))

    def output(self, params, carry, u):
        return carry.h[..., 0]


@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_taps_read_all_that_the_floats_of_the_adjoints_hold(radius):
    cell = Elman(5, "identity", recurrent_init=Orthogonal(radius))
    params, xs = cell.init(jax.random.key(0), 2), jnp.zeros((120, 1, 2), jnp.float32)
    weights = jnp.eye(5, dtype=jnp.float32)[0]
    run = lambda tap: (unroll(tapped(cell), params, WithTap(xs, tap))[1][-1] @ weights).sum()  # noqa: E731
    norms = jax.grad(run)(jnp.zeros((120, 1, 1), jnp.float32))[:, 0, 0]
    np.testing.assert_allclose(np.log2(norms[::-1][:110]), np.arange(110) * np.log2(radius), atol=1e-3)


def test_taps_know_the_batch_whatever_the_carry_looks_like():
    cell, xs = MatrixCell(), jax.random.normal(KEY, (4, 3, 2), FLOAT)
    params = cell.init(KEY, 2, FLOAT)
    run = lambda tap: every_output(unroll(tapped(cell), params, WithTap(xs, tap))[1]).sum()  # noqa: E731
    norms = jax.grad(run)(jnp.zeros((4, 3, 1), FLOAT))[..., 0]
    np.testing.assert_allclose(np.log(norms), adjoint_norms(cell, params, xs, every_output), rtol=1e-9, atol=1e-10)


def regression(network, every=1, quantities=(median_log_norms,)):
    """A trainer, its state and batches for a network that is to answer with the mean of its inputs."""

    def loss_fn(params, batch, key, watch=jaxrnn):
        _, ys = watch.unroll(network, params, batch)
        return jnp.mean((ys[-1].mean(axis=-1) - batch.mean(axis=(0, -1))) ** 2), ()

    trainer = Trainer(loss_fn, optax.sgd(0.1), monitor=Monitor(quantities, every))
    plain = Trainer(loss_fn, optax.sgd(0.1))
    params = network.init(KEY, 2)
    return trainer, plain, params, jax.random.normal(KEY, (6, 5, 3, 2), jnp.float32)


def test_monitored_training_is_training_and_measures_every_n_updates():
    network = Stack((LSTM(3), Bidirectional(GRU(2), Elman(2))))
    trainer, plain, params, batches = regression(network, every=3)
    state, metrics = trainer.steps(trainer.init(params, KEY), batches)
    expected, plain_metrics = plain.steps(plain.init(params, KEY), batches)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.params, expected.params)
    np.testing.assert_allclose(metrics.loss, plain_metrics.loss, rtol=1e-5)
    assert plain_metrics.quantities == ()
    found = metrics.quantities["median_log_norms"]
    assert len(found) == 3 and all(curve.shape == (6, 5) for curve in found)  # three cells, six updates, five steps
    for curve in found:
        assert (np.isnan(curve).all(axis=1) == [False, True, True, False, True, True]).all()
    assert np.isfinite(found[0][::3]).all() and np.isfinite(found[1][::3]).all()

    def mean_loss(ys):
        return (ys[-1].mean(axis=-1) - batches[0].mean(axis=(0, -1))) ** 2 / 3

    exact = jaxrnn.gradients.adjoint_parts(network, params, batches[0], mean_loss)
    lstm = 0.5 * np.logaddexp(2 * exact[0].h, 2 * exact[0].c)
    np.testing.assert_allclose(found[0][0], np.median(lstm, axis=1), rtol=1e-4, atol=1e-4)


def test_quantities_read_the_observation():
    def parameters_seen(observation):
        return jnp.float32(len(jax.tree.leaves(observation.params)))

    quantities = (output_saturation, parameter_norms, parameters_seen)
    trainer, _, params, batches = regression(LSTM(3), quantities=quantities)
    _, metrics = trainer.step(trainer.init(params, KEY), 100 * batches[0])
    assert set(metrics.quantities) == {"output_saturation", "parameter_norms", "parameters_seen"}
    _, ys = unroll(LSTM(3), params, 100 * batches[0])
    np.testing.assert_allclose(metrics.quantities["output_saturation"][0], np.mean(np.abs(ys) > 0.95), rtol=1e-6)
    norms = jax.tree.leaves(metrics.quantities["parameter_norms"])
    np.testing.assert_allclose(np.sqrt(sum(float(n) ** 2 for n in norms)), metrics.gradient_norm, rtol=1e-5)
    assert metrics.quantities["parameters_seen"] == len(jax.tree.leaves(params))


def test_scalar_quantities_stand_in_the_log(tmp_path):
    def rate(observation):
        return observation.runs[0].log_norms[0].mean()

    trainer, _, params, batches = regression(GRU(3), every=2, quantities=(rate, median_log_norms))
    _, metrics = trainer.steps(trainer.init(params, KEY), batches)
    with MetricsLog(tmp_path / "log.jsonl", step=0) as log:
        log.write(0, metrics)
    written = read_log(tmp_path / "log.jsonl")
    np.testing.assert_allclose(written["quantities.rate"], metrics.quantities["rate"], rtol=1e-6)
    assert np.isnan(written["quantities.rate"][1]) and "quantities.median_log_norms" not in written


def test_noise_and_a_carry_pass_through():
    cell = zoneout(GRU(3), 0.3)
    params, xs = cell.init(KEY, 2), jax.random.normal(KEY, (5, 4, 2), jnp.float32)
    start = jax.tree.map(lambda c: c + 0.5, cell.init_carry((4,)))

    def loss_fn(params, watch):
        end, ys = watch.unroll(cell, params, cell.with_masks(KEY, xs), start)
        return jnp.sum(ys[-1]) + jnp.sum(end.h), ()

    found = Monitor().value_and_grad(loss_fn, params, jnp.int32(0))
    expected, gradient = jax.value_and_grad(lambda p: loss_fn(p, jaxrnn)[0])(params)
    np.testing.assert_allclose(found.loss, expected, rtol=1e-6)
    jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-6), found.gradient, gradient)
    np.testing.assert_allclose(found.quantities["median_log_norms"][0][-1], np.log(2 * np.sqrt(3)), rtol=1e-6)


def test_errors(without_type_checks):
    with pytest.raises(ValueError, match="`every` must be a whole number of at least 1, got 0"):
        Monitor(every=0)
    for quantities in (median_log_norms, (functools.partial(median_log_norms),)):
        with pytest.raises(TypeError, match="`quantities` must be functions with names in a tuple"):
            Monitor(quantities)
    with pytest.raises(ValueError, match=r"`quantities` must be one or more .*got \['<lambda>', '<lambda>'\]"):
        Monitor((lambda o: o.loss, lambda o: o.loss))
    cell, xs = GRU(2), jnp.ones((3, 1), jnp.float32)
    with pytest.raises(TypeError, match="`counted` must give floating-point arrays.*got int32.*astype"):

        def counted(observation):
            return jnp.int32(3)

        loss_fn = lambda params, watch: (watch.unroll(cell, params, xs)[1].sum(), ())  # noqa: E731
        Monitor((counted,)).value_and_grad(loss_fn, cell.init(KEY, 1), jnp.int32(0))
    with pytest.raises(ValueError, match=r"unrolls nothing by `watch`. Call watch.unroll"):
        Monitor().value_and_grad(lambda params, watch: (params.sum(), ()), jnp.ones(3), jnp.int32(0))
