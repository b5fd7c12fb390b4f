"""Trains the networks of one group with a linear readout on the source's own objective, all runs in one call."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from benchmarks.configurations import Configuration, Sizes
from benchmarks.measure import Dtype, Keys, draw, sample
from benchmarks.source import Objective, Source
from jaxrnn.cell import Cell
from jaxrnn.initializers import Glorot
from jaxrnn.numerics import affine, carry_dtype, cast
from jaxrnn.tasks import Batch
from jaxrnn.train import Trainer, TrainState, losses
from jaxrnn.unroll import unroll

LOSSES = {
    "squared error": losses.squared_error,
    "cross-entropy": losses.cross_entropy,
    "binary cross-entropy": losses.binary_cross_entropy,
}
CLIP = 1.0  # the largest global norm of a gradient
EVALUATION = 32  # batches on which the loss before and after is taken, one after the other


class Model(NamedTuple):
    """A cell and z = y @ weight + bias."""

    cell: PyTree
    weight: Float[Array, "*runs hidden output"]
    bias: Float[Array, "*runs output"]


class Method(NamedTuple):
    """How to train: `updates` by Adam with this learning rate, `batch` sequences for each."""

    updates: int
    learning_rate: float
    batch: int
    dtype: Dtype


class Training(NamedTuple):
    """What training gave one configuration; arrays (seeds,).

    `updates` are those that were applied, `skipped` those that were not because they were not finite.
    """

    loss_before: np.ndarray
    loss_after: np.ndarray
    updates: np.ndarray
    skipped: np.ndarray


@dataclass(frozen=True)
class Problem:
    """A cell with a linear readout and the update that trains them, for all initialisers and seeds side by side.

    Parameters are (initialisers, seeds, ...), batches (seeds, ...). The network is computed in `dtype`, its parameters
    are updated in at least float32.
    """

    cell: Cell
    objective: Objective
    learning_rate: float
    dtype: Dtype

    @property
    def trainer(self) -> Trainer:
        """Adam (Kingma & Ba, 2015, https://arxiv.org/abs/1412.6980), gradients clipped by their global norm."""
        return Trainer(self.loss_fn, optax.adam(self.learning_rate), clip=optax.clip_by_global_norm(CLIP))

    def loss_fn(self, model: Model, batch: Batch, key=None):
        """The objective's loss of one run, and nothing besides."""
        model, xs = cast((model, batch.inputs), jnp.dtype(self.dtype))
        _, ys = unroll(self.cell, model.cell, xs)
        outputs = affine(ys, model.weight, model.bias)
        return LOSSES[self.objective.loss](outputs, batch.targets, batch.mask), ()

    @functools.partial(jax.jit, static_argnums=0)
    def init(self, params: PyTree, keys: Keys) -> TrainState:
        """The state from which training starts: the cells' parameters and readouts drawn for each seed."""

        def one(params, keys: Keys):
            outputs = self.objective.outputs
            weight = Glorot()(keys.readout, (self.cell.output_size, outputs))
            model = Model(params, weight, jnp.zeros(outputs, jnp.float32))
            return self.trainer.init(cast(model, carry_dtype(jnp.dtype(self.dtype))), keys.training)

        return jax.vmap(jax.vmap(one), (0, None))(params, keys)

    @functools.partial(jax.jit, static_argnums=0)
    def update(self, state: TrainState, batch: Batch) -> TrainState:
        """One update of every run."""
        return jax.vmap(jax.vmap(self.trainer.update), (0, None))(state, batch)[0]

    @functools.partial(jax.jit, static_argnums=0)
    def evaluate(self, model: Model, batch: Batch):
        """The loss of every run."""
        return jax.vmap(jax.vmap(lambda model, batch: self.loss_fn(model, batch)[0]), (0, None))(model, batch)


def train(
    group: Sequence[Configuration],
    source: Source,
    sizes: Sizes,
    keys: Keys,
    method: Method,
    report: Callable[[int], None],
) -> tuple[PyTree, dict[str, Training]]:
    """Trains all runs of a group; every update draws new sequences, the same for all initialisers of a seed.

    The loss is taken before and after on the same sequences, drawn apart from those of training, though of real data
    from the same set. `report` is called after each update with their number up to now.

    Returns:
        The cells' parameters, leaves (initialisers, seeds, ...) as `draw` gives and `measure` takes them, and what
        training gave each configuration.
    """
    assert source.objective is not None, "checked with the settings"
    problem = Problem(group[0].build(sizes), source.objective, method.learning_rate, method.dtype)
    state = problem.init(draw(group, sizes, keys), keys)

    def evaluate() -> np.ndarray:
        held = (sample(source, keys.evaluation, number, sizes.length, method.batch) for number in range(EVALUATION))
        return np.mean([problem.evaluate(state.params, batch) for batch in held], axis=0)

    before = evaluate()
    for position in range(method.updates):
        batch = sample(source, keys.training, position, sizes.length, method.batch)
        state = jax.block_until_ready(problem.update(state, batch))
        report(position + 1)
    after, skipped = evaluate(), np.asarray(state.skipped)
    made = np.asarray(state.step) - skipped
    found = (Training(*row) for row in zip(before, after, made, skipped, strict=True))
    return state.params.cell, {c.name: training for c, training in zip(group, found, strict=True)}
