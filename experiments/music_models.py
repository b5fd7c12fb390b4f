"""The network that tells the next frame of a roll, its score on pieces, and how it goes on from given frames."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.fitting import mean_loss
from jaxrnn.backends import Scan
from jaxrnn.data import Source, batches
from jaxrnn.data.chorales import KEYS, LOWEST_PITCH
from jaxrnn.models import pure_step
from jaxrnn.models.encoding import drop
from jaxrnn.nn import RNN
from jaxrnn.train import losses


class NextFrame(nnx.Module):
    """From a roll up to a frame to the logits of the keys of the next one."""

    def __init__(self, cell, dropout: float, input_dropout: float, rngs: nnx.Rngs):
        """Draws the parameters."""
        self.rnn = RNN(cell, KEYS, input_dropout=input_dropout, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.head = nnx.Linear(cell.output_size, KEYS, rngs=rngs)

    def __call__(self, roll, key=None):
        """Logits (time, batch, keys); what pads a piece comes after it, where nothing before can see it."""
        layer_key, output_key = (None, None) if key is None else jax.random.split(key)
        ys = self.rnn(roll, key=layer_key)[1]
        return self.head(drop(self.dropout, ys, output_key))

    def step(self, carry, frame):
        """One frame (keys,): the carry, and the logits of the next frame."""
        carry, ys = self.rnn(frame[None], carry, backend=Scan())
        return carry, self.head(ys[0])


class Composer:
    """A kind of network, with its loss; both data sets share what is compiled of it."""

    def __init__(self, cell, dropout: float, input_dropout: float):
        """Nothing is drawn yet."""
        self._make = functools.partial(NextFrame, cell, dropout, input_dropout)
        self._graph = nnx.split(self._make(rngs=nnx.Rngs(0)), nnx.Param)[0]
        self._score = jax.jit(self.loss)

    def init(self, key):
        """The parameters before training."""
        return nnx.state(self._make(rngs=nnx.Rngs(key)), nnx.Param)

    def model(self, params) -> NextFrame:
        """The network with such parameters."""
        return nnx.merge(self._graph, params)

    def loss(self, params, batch, key):
        """Nats a frame, and the number of frames."""
        logits = self.model(params)(batch.inputs, key)
        aux = {"tokens": jnp.sum(batch.mask).astype(jnp.int32)}
        return losses.binary_cross_entropy(logits, batch.targets, batch.mask), aux

    def nats(self, params, source: Source) -> float:
        """The mean over all frames of all pieces."""
        return mean_loss(self._score(params, batch, None) for batch in batches(source))


@functools.partial(jax.jit, static_argnums=3)
def compose(step, carry, begun, frames: int, key):
    """Goes on from frames (time, keys): each key of each next one is drawn with its own probability."""

    def draw(state, key):
        carry, logits = state
        frame = jax.random.bernoulli(key, jax.nn.sigmoid(logits)).astype(begun.dtype)
        return step(carry, frame), frame

    carry, logits = jax.lax.scan(step, carry, begun)
    return jax.lax.scan(draw, (carry, logits[-1]), jax.random.split(key, frames))[1]


def piece(model: NextFrame, begun: np.ndarray, frames: int, key) -> list[list[int]]:
    """The MIDI pitches of every frame, those that it began from too."""
    step, carry = pure_step(model), model.rnn.cell.init_carry((), jnp.float32)
    drawn = compose(step, carry, jnp.asarray(begun), frames, key)
    roll = np.concatenate([begun, np.asarray(drawn)])
    return [(np.flatnonzero(frame) + LOWEST_PITCH).tolist() for frame in roll]
