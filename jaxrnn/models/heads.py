"""Output layers that tag each step: every tag by itself, or all tags of a sequence together.

Both have `loss(features, tags, lengths)`, the mean negative log-likelihood a valid step (token) in nats, and
`decode(features, lengths)`, the most likely tags. Rows of length 0, with which a batch is filled up, do not count. A
loss is NaN where a tag at a valid step is not one of 0 ... tags - 1; steps to be ignored lie beyond the lengths.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Integer

from jaxrnn.models import crf
from jaxrnn.models.crf import Transitions
from jaxrnn.models.encoding import valid_steps
from jaxrnn.numerics import zero_unless
from jaxrnn.train.losses import cross_entropy

Features = Float[Array, "time batch features"]
Tags = Integer[Array | np.ndarray, "time batch"]
Lengths = Integer[Array | np.ndarray, " batch"]


class SoftmaxHead(nnx.Module):
    """A softmax over the tags at each step: p(y_t | features_t) = softmax(V features_t + c).

    Shapes: features (time, batch, in_features), tags (time, batch), lengths (batch,).

    Args:
        in_features: Features of a step, `rnn.out_features`.
        tags: Number of tags.
        dtype: As for nnx.Linear.
        param_dtype: As for nnx.Linear. Default: float32.
        rngs: The initial parameters come from its stream `params`.

    Example:
        >>> head = SoftmaxHead(4, tags=3, rngs=nnx.Rngs(0))
        >>> features, lengths = jnp.zeros((5, 2, 4), jnp.float32), jnp.array([5, 2])
        >>> round(float(head.loss(features, jnp.zeros((5, 2), jnp.int32), lengths)), 4)  # ln 3
        1.0986
        >>> head.decode(features, lengths).shape
        (5, 2)
    """

    def __init__(self, in_features: int, tags: int, *, dtype=None, param_dtype=jnp.float32, rngs: nnx.Rngs):  # noqa: D107
        self.linear = nnx.Linear(in_features, tags, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

    def logits(self, features: Features) -> Float[Array, "time batch tags"]:
        """V features + c."""
        return self.linear(features)

    def loss(self, features: Features, tags: Tags, lengths: Lengths) -> Float[Array, ""]:
        """The mean of -ln p(tag) over all valid steps of the batch, in nats a step."""
        valid = valid_steps(features.shape[0], lengths)
        return cross_entropy(self.logits(zero_unless(valid, features)), tags, valid)

    def decode(
        self, features: Features, lengths: Lengths, allowed: Transitions | None = None
    ) -> Int[Array, "time batch"]:
        """The most likely tag of each step, int32, 0 in padding, -1 where a logit is NaN.

        With `allowed`, such as `bio_constraints` gives, the most likely of the sequences that keep to it.
        """
        logits = self.logits(features)
        if allowed is None:
            valid = valid_steps(features.shape[0], lengths)
            tags = jnp.where(jnp.isnan(logits).any(axis=-1), crf.NO_TAG, jnp.argmax(logits, axis=-1))
            return zero_unless(valid, tags.astype(jnp.int32))
        tags = logits.shape[-1]
        free = Transitions(*(jnp.zeros(shape, logits.dtype) for shape in ((tags, tags), tags, tags)))
        return crf.viterbi(logits, crf.constrain(free, allowed), lengths)[0]


class CRFHead(nnx.Module):
    """A linear-chain conditional random field over the tags, whose emissions are V features_t + c.

    The scores of transitions start from zero, where it is the softmax of each step by itself; see `jaxrnn.models.crf`.

    Shapes and arguments: as for SoftmaxHead.

    Source: Lample et al. (2016, https://arxiv.org/abs/1603.01360).

    Example:
        >>> head = CRFHead(4, tags=3, rngs=nnx.Rngs(0))
        >>> features, lengths = jnp.zeros((5, 2, 4), jnp.float32), jnp.array([5, 2])
        >>> round(float(head.loss(features, jnp.zeros((5, 2), jnp.int32), lengths)), 4)  # ln 3
        1.0986
        >>> allowed = crf.bio_constraints(["O", "B-X", "I-X"])
        >>> head.decode(features, lengths, allowed).shape
        (5, 2)
    """

    def __init__(self, in_features: int, tags: int, *, dtype=None, param_dtype=jnp.float32, rngs: nnx.Rngs):  # noqa: D107
        self.linear = nnx.Linear(in_features, tags, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.between = nnx.Param(jnp.zeros((tags, tags), param_dtype))
        self.start = nnx.Param(jnp.zeros(tags, param_dtype))
        self.end = nnx.Param(jnp.zeros(tags, param_dtype))

    @property
    def transitions(self) -> Transitions:
        """The scores as plain arrays, for the functions of `jaxrnn.models.crf`."""
        return Transitions(self.between[...], self.start[...], self.end[...])

    def emissions(self, features: Features) -> Float[Array, "time batch tags"]:
        """V features + c."""
        return self.linear(features)

    def loss(self, features: Features, tags: Tags, lengths: Lengths) -> Float[Array, ""]:
        """-ln p(tags) of all sequences over the number of their steps, in nats a step; NaN where there is no step."""
        lengths = jnp.asarray(lengths)
        valid = valid_steps(features.shape[0], lengths)
        emissions = self.emissions(zero_unless(valid, features))
        each = crf.log_partition(emissions, self.transitions, lengths)
        each = each - crf.score(emissions, tags, self.transitions, lengths)
        return jnp.sum(each) / jnp.sum(valid).astype(each.dtype)

    def decode(
        self, features: Features, lengths: Lengths, allowed: Transitions | None = None
    ) -> Int[Array, "time batch"]:
        """The most likely sequence of tags, int32, 0 in padding; with `allowed` among those that keep to it.

        Where a logit of a sequence is NaN all its tags are -1.
        """
        transitions = self.transitions if allowed is None else crf.constrain(self.transitions, allowed)
        return crf.viterbi(self.emissions(features), transitions, lengths)[0]
