"""What the tests of models share: a recurrent layer by the NumPy oracles, gradients by differences, one update."""

import jax
import numpy as np
import optax
from flax import nnx

from jaxrnn import Bidirectional, Stack
from jaxrnn.train import Trainer
from tests import oracles


def stirred(model, seed=0, scale=0.3):
    """The model with every parameter moved away from its start, biases too."""
    rng = np.random.default_rng(seed)
    structure, params = nnx.split(model, nnx.Param)
    return nnx.merge(structure, jax.tree.map(lambda p: p + (scale * rng.normal(size=p.shape)).astype(p.dtype), params))


def outputs(cell, params, xs, length, start=None, reverse=False):
    """Outputs (time, features) of one sequence, by the oracles; `start` is the carry of a single cell."""
    if isinstance(cell, Bidirectional):
        parts = [(cell.forward, params[0], reverse), (cell.backward, params[1], not reverse)]
        return np.concatenate([outputs(c, p, xs, length, reverse=r) for c, p, r in parts], axis=-1)
    if isinstance(cell, Stack):
        for part, weights in zip(cell.cells, params, strict=True):
            xs = outputs(part, weights, xs, length, reverse=reverse)
        return xs
    step = oracles.STEPS[type(cell).__name__]
    params = jax.tree.map(np.asarray, params)
    fresh = [np.asarray(leaf) for leaf in jax.tree.leaves(cell.init_carry((), np.float64))]
    carry = fresh if start is None else [np.asarray(leaf) for leaf in jax.tree.leaves(start)]

    def advance(carry, x):
        return step(cell, params, carry, x[0])

    return oracles.run(advance, fresh, carry, [xs], cell.output_size, length=length, reverse=reverse)[1]


def layer_outputs(layer, xs, lengths, start=None):
    """Outputs (time, batch, features) of a layer."""
    rows = [
        outputs(layer.cell, layer.params, xs[:, row], length, jax.tree.map(lambda leaf, row=row: leaf[row], start))
        for row, length in enumerate(lengths)
    ]
    return np.stack(rows, axis=1)


def linear(layer, x):
    """An nnx.Linear."""
    return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def check_gradient(loss, *arguments, seed=0, step=1e-5, tolerance=1e-6):
    """The gradient of `loss(*arguments)` along a random direction is that of central differences, in float64."""
    rng = np.random.default_rng(seed)
    direction = jax.tree.map(lambda x: rng.normal(size=x.shape), arguments)
    gradient = jax.jit(jax.grad(lambda arguments: loss(*arguments)))(arguments)
    products = jax.tree.map(lambda g, d: np.sum(np.asarray(g) * d), gradient, direction)
    found = sum(jax.tree.leaves(products))
    compiled = jax.jit(loss)

    def moved(scale):
        return float(compiled(*jax.tree.map(lambda x, d: x + scale * d, arguments, direction)))

    expected = (moved(step) - moved(-step)) / (2 * step)
    assert abs(expected) > 1e-3, "the direction shows nothing"
    np.testing.assert_allclose(found, expected, rtol=tolerance)


def check_model_gradient(model, loss, **options):
    """`check_gradient` by all parameters of a model; `loss(model)` is a scalar."""
    structure, params = nnx.split(model, nnx.Param)
    check_gradient(lambda params: loss(nnx.merge(structure, params)), params, **options)


def check_learns(model, loss):
    """Ten updates of the trainer, the model merged inside: the loss falls. `loss(model, key)` is a scalar."""
    structure, params = nnx.split(model, nnx.Param)

    def loss_fn(params, batch, key):
        return loss(nnx.merge(structure, params), key), ()

    trainer = Trainer(loss_fn, optax.sgd(0.1))
    state, metrics = trainer.steps(trainer.init(params, jax.random.key(0)), np.zeros(10))
    assert metrics.finite.all() and metrics.loss[-1] < 0.95 * metrics.loss[0]
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(state.params))


def check_noise(run, model):
    """Without a key always the same; a key draws, each its own; `eval` turns it off. `run(model, key)` is an array."""
    key, other = jax.random.key(1), jax.random.key(2)
    evaluated = np.asarray(run(model, None))
    np.testing.assert_array_equal(run(model, None), evaluated)
    drawn = np.asarray(run(model, key))
    np.testing.assert_array_equal(run(model, key), drawn)
    assert (drawn != evaluated).any() and (drawn != np.asarray(run(model, other))).any()
    model.eval()
    np.testing.assert_array_equal(run(model, key), evaluated)
    model.train()
    np.testing.assert_array_equal(run(model, key), drawn)
