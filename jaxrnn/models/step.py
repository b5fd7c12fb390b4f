"""A model's step as a pure function whose weights are arguments."""

from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx
from jax.tree_util import Partial


@dataclass(frozen=True)
class _Step:
    """What is static of a model and one of its methods; models alike have equal ones."""

    graph: Any
    method: str

    def __call__(self, state, *arguments):
        return getattr(nnx.merge(self.graph, state), self.method)(*arguments)


def pure_step(model: nnx.Module, method: str = "step") -> Partial:
    """A method of a model as a pytree that can be called: its leaves are the model's arrays as they now are.

        pure_step(model)(carry, token)        is        model.step(carry, token)

    Given to a compiled function, such as `jaxrnn.decoding.generate`, the weights are traced and not compiled in, so
    that a call with new weights, or with another model of the same form, compiles nothing anew.

    Args:
        model: The model.
        method: Name of the method. Default: "step".

    Raises:
        ValueError: the model has no such method.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxrnn import GRU, nn
        >>> from jaxrnn.models.language import LanguageModel
        >>> rngs = nnx.Rngs(0)
        >>> model = LanguageModel(nnx.Embed(11, 4, rngs=rngs), nn.RNN(GRU(4), in_features=4, rngs=rngs))
        >>> carry, logits = pure_step(model)(model.init_carry(), jnp.int32(3))
        >>> logits.shape
        (11,)
    """
    if not callable(getattr(model, method, None)):
        raise ValueError(
            f"pure_step: `method` must be the name of a method of {type(model).__name__}, got {method!r}. "
            "Name the one that takes (carry, token)."
        )
    graph, state = nnx.split(model)
    unshared = jax.tree.map(lambda leaf: leaf, state)  # else an update of the model in place would reach it
    return Partial(_Step(graph, method), unshared)
