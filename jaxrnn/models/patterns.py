"""The patterns of recurrence in Goodfellow et al., Deep Learning (2016, https://www.deeplearningbook.org), chapter 10.

* An output at each step and recurrence between hidden units (figure 10.3): `Tagger` with a SoftmaxHead, which reads
  whole sequences, and `LanguageModel`, which tells each next token.
* An output at each step and recurrence from it to the hidden units alone (figure 10.4): `OutputRecurrence`, here.
* Recurrence between hidden units and a single output after the whole sequence (figure 10.5): `SequenceClassifier`.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxrnn.cells.jordan import Jordan
from jaxrnn.models.encoding import valid_steps
from jaxrnn.models.pooling import Lengths
from jaxrnn.nn import RNN
from jaxrnn.numerics import carry_dtype, zero_unless


class OutputRecurrence(nnx.Module):
    """Recurrence from the output alone: a Jordan network with a linear output.

        h_t = tanh(U x_t + W o_{t-1} + b)
        o_t = V h_t + c,    o_0 = 0

    Hidden units of two steps are not connected, so with the targets in place of o_{t-1} no step waits for another and
    all are computed at once: teacher forcing. What o does not hold is forgotten, which makes the network weaker than
    one with recurrence between hidden units.

    Shapes: xs (time, batch, in_features), os and targets (time, batch, outputs).

    Source: Goodfellow et al. (2016), figure 10.4 and section 10.2.1.

    Args:
        in_features: Features of the inputs.
        hidden: Hidden units.
        outputs: Features of the output.
        param_dtype: Of the parameters. Default: float32.
        rngs: The initial parameters come from its stream `params`.

    Raises:
        TypeError: inputs or targets are not in the dtype of the parameters.
        ValueError: a size is below 1; targets are not (time, batch, outputs).

    Example:
        >>> model = OutputRecurrence(3, hidden=5, outputs=2, rngs=nnx.Rngs(0))
        >>> xs = jnp.ones((6, 4, 3), jnp.float32)
        >>> model(xs).shape, model.teacher_forced(xs, jnp.zeros((6, 4, 2), jnp.float32)).shape
        ((6, 4, 2), (6, 4, 2))
    """

    def __init__(  # noqa: D107
        self, in_features: int, hidden: int, outputs: int, *, param_dtype=jnp.float32, rngs: nnx.Rngs
    ):
        cell = Jordan(hidden, outputs, output_activation="identity")
        self.rnn = RNN(cell, in_features, param_dtype=param_dtype, rngs=rngs)

    def __call__(
        self, xs: Float[Array, "time batch features"], lengths: Lengths = None
    ) -> Float[Array, "time batch outputs"]:
        """Runs step by step on its own outputs; they are zero in padding."""
        return self.rnn(xs, lengths=lengths)[1]

    def teacher_forced(
        self,
        xs: Float[Array, "time batch features"],
        targets: Float[Array, "time batch outputs"],
        lengths: Lengths = None,
    ) -> Float[Array, "time batch outputs"]:
        """The same with target_{t-1} in place of o_{t-1}: all steps in parallel, time as one more batch axis."""
        cell: Any = self.rnn.cell
        params = self.rnn.params
        expected = (*xs.shape[:-1], cell.outputs)
        if targets.shape != expected:
            raise ValueError(
                f"OutputRecurrence: `targets` must be (time, batch, outputs) = {expected}, got {targets.shape}. "
                "Give one target for each step of `xs`."
            )
        if not xs.dtype == targets.dtype == params.input.dtype:
            raise TypeError(
                f"OutputRecurrence: `xs` is {xs.dtype} and `targets` are {targets.dtype} while the parameters are "
                f"{params.input.dtype}. Cast them, or build the model with another param_dtype."
            )
        valid = None if lengths is None else valid_steps(xs.shape[0], lengths)
        xs, targets = zero_unless(valid, (xs, targets))
        before = jnp.concatenate([jnp.zeros_like(targets[:1]), targets[:-1]])
        dtype = carry_dtype(xs.dtype)  # in which the sequential run computes too
        carry = cell.init_carry(xs.shape[:-1], dtype)._replace(o=before.astype(dtype))
        _, os = cell.step(params, carry, cell.project(params, xs))
        return zero_unless(valid, os.astype(xs.dtype))
