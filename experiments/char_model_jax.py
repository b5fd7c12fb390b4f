"""The character model in jaxrnn: the LSTM and its readout, one segment's loss, training, and text drawn from it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import jaxrnn
from jaxrnn.data import Alphabet
from jaxrnn.initializers import Glorot
from jaxrnn.tasks import Batch
from jaxrnn.train import Trainer, losses, run, unroll_segment

Placed = tuple[Batch, np.bool_]  # a segment, and whether the carry begins anew before it


def init(key, characters: int, hidden_size: int) -> dict[str, Any]:
    """The weights from which both start."""
    cell_key, readout_key = jax.random.split(key)
    readout = {"weight": Glorot()(readout_key, (hidden_size, characters)), "bias": jnp.zeros(characters, jnp.float32)}
    return {"cell": jaxrnn.LSTM(hidden_size).init(cell_key, characters), "readout": readout}


def logits_of(params, tokens, carry):
    """The carry after the tokens, and logits of each next one."""
    weight, bias = params["readout"]["weight"], params["readout"]["bias"]
    xs = jax.nn.one_hot(tokens, len(bias), dtype=jnp.float32)
    carry, ys = unroll_segment(jaxrnn.LSTM(len(weight)), params["cell"], xs, carry)
    return carry, ys @ weight + bias


def loss_fn(params, carry, batch: Placed, key):
    """Mean nats a character of one segment, and the carry for the next."""
    segment, begins = batch
    carry = jax.tree.map(lambda c: jnp.where(begins, jnp.zeros_like(c), c), carry)
    carry, logits = logits_of(params, segment.inputs, carry)
    return losses.cross_entropy(logits, segment.targets, segment.mask), (carry, ())


class JaxSide:
    """The model in jaxrnn."""

    def __init__(self, params, rate: float, clip: float, batch: int, batch_at: Callable[[int], Placed]):
        """Starts from `params`; `batch_at` gives the segment of each update."""
        self._fresh = jaxrnn.LSTM(len(params["readout"]["weight"])).init_carry((batch,))
        self._trainer = Trainer(loss_fn, optax.adam(rate), clip=optax.clip_by_global_norm(clip))
        self._batch_at, self._score = batch_at, jax.jit(loss_fn)
        self.state = self._trainer.init(params, jax.random.key(0), self._fresh)

    def advance(self, count: int) -> np.ndarray:
        """Makes so many updates, in one compiled call; the loss of each, in nats."""
        found: list[np.ndarray] = []

        def report(step, metrics):
            found.append(metrics.loss)

        until = int(self.state.step) + count
        self.state = run(self._trainer, self.state, self._batch_at, until, block=count, report=report)
        return np.concatenate(found)

    def score(self, carry, batch: Placed) -> tuple[Any, float]:
        """The carry after a segment, and its mean loss in nats; a carry of None is a fresh one."""
        loss, (carry, _) = self._score(self.state.params, self._fresh if carry is None else carry, batch, None)
        return carry, float(loss)


def generate(params, alphabet: Alphabet, key, length: int) -> str:
    """Text drawn character by character from the model's own distribution, after a line's end."""

    def draw_next(state, key):
        carry, token = state
        carry, logits = logits_of(params, token[None], carry)
        token = jax.random.categorical(key, logits[0]).astype(jnp.int32)
        return (carry, token), token

    fresh = jaxrnn.LSTM(len(params["readout"]["weight"])).init_carry()
    _, tokens = lax.scan(draw_next, (fresh, jnp.int32(0)), jax.random.split(key, length))
    return alphabet.decode(np.asarray(tokens))
