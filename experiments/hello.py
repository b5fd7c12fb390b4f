"""Hello: a network reads "hell" letter by letter and tells the next letter each time, "ello".

Command:  python -m experiments.hello
Runtime:  5 seconds on 2 cores, nearly all of it importing and compiling
Expected: loss below 0.01 nats a letter in both forms, and the letters e, l, l, o read back

The second "l" is followed by "o", the first is not: only a network with memory can tell. The same model in two forms.
In pure functions, its parameters are a tree of arrays that every call is handed; in Flax NNX, an object holds them, and
is taken apart into such a tree for the trainer. Both train by the same update.
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import numpy as np
import optax
import tyro
from flax import nnx

import jaxrnn
import jaxrnn.nn
from jaxrnn.train import Trainer, losses

LETTERS = "helo"
INPUTS = np.eye(4, dtype=np.float32)[[[0], [1], [2], [2]]]  # h e l l, one-hot: 4 steps, a batch of 1, 4 features
TARGETS = np.array([[1], [2], [2], [3]], np.int32)  # e l l o: 4 steps, a batch of 1
SCORED = np.ones((4, 1), bool)  # every step counts
HIDDEN, UPDATES = 16, 200


def pure_functions(seed: int):
    """The parameters, and the function from them to the logits (4 steps, 1, 4 letters)."""
    cell = jaxrnn.Elman(HIDDEN)
    cell_key, readout_key = jax.random.split(jax.random.key(seed))
    readout = jax.nn.initializers.glorot_uniform()(readout_key, (HIDDEN, 4), np.float32)
    params = {"cell": cell.init(cell_key, input_size=4), "readout": readout}

    def logits(params):
        _, hs = jaxrnn.unroll(cell, params["cell"], INPUTS)
        return hs @ params["readout"]

    return params, logits


class Model(nnx.Module):
    """The same as an NNX module."""

    def __init__(self, rngs: nnx.Rngs):
        """Draws the parameters."""
        self.rnn = jaxrnn.nn.RNN(jaxrnn.Elman(HIDDEN), in_features=4, rngs=rngs)
        self.readout = nnx.Linear(HIDDEN, 4, use_bias=False, rngs=rngs)

    def __call__(self, xs):
        """The logits."""
        _, hs = self.rnn(xs)
        return self.readout(hs)


def flax_module(seed: int):
    """As `pure_functions`, from the module: its structure stays outside, its parameters are trained."""
    structure, params = nnx.split(Model(nnx.Rngs(seed)), nnx.Param)
    return params, lambda params: nnx.merge(structure, params)(INPUTS)


def train(params, logits: Callable, updates: int) -> tuple[list[float], str]:
    """The loss of every update, and the letter that the trained model gives most probability at each step."""

    def loss_fn(params, batch, key):
        return losses.cross_entropy(logits(params), TARGETS, SCORED), ()

    trainer = Trainer(loss_fn, optax.adam(0.03))
    state = trainer.init(params, jax.random.key(0))
    history = []
    for _ in range(updates):
        state, metrics = trainer.step(state, None)
        history.append(float(metrics.loss))
    guesses = np.argmax(logits(state.params), axis=-1)[:, 0]
    return history, "".join(LETTERS[guess] for guess in guesses)


def main(seed: int = 0, smoke: bool = False) -> None:
    """Trains a network to spell "hello", in pure functions and in Flax NNX, and prints what it learned.

    Args:
        seed: From which the parameters are drawn.
        smoke: A quick look that all works: 5 updates, after which the loss is still high.
    """
    if not 0 <= seed < 2**32:
        print(f"error: --seed: must lie between 0 and 2^32 - 1, got {seed}. Give another number.", file=sys.stderr)
        sys.exit(2)
    for name, form in {"pure functions": pure_functions, "Flax NNX": flax_module}.items():
        history, letters = train(*form(seed), updates=5 if smoke else UPDATES)
        spelled = "  ".join(f"{read} -> {told}" for read, told in zip("hell", letters, strict=True))
        print(f"{name:14}  loss {history[0]:.3f} at first, {history[-1]:.4f} at last    {spelled}")


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.FlagCreatePairsOff,))
