"""The contract of things made of cells that go through the same door as one cell."""

import abc
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import PyTree


class Network(abc.ABC):
    """Cells put together. Parameters and carries are tuples, one entry for each part."""

    @property
    def parts(self) -> tuple:
        """The cells and networks that it is put together of; none by default.

        Noise (`stochastic.with_key`) and `train.unroll_segment` walk a network by them.
        """
        return ()

    @property
    @abc.abstractmethod
    def output_size(self) -> int:
        """Features of one output."""

    @abc.abstractmethod
    def init(self, key, input_size: int, dtype=jnp.float32) -> tuple:
        """Parameters of every part."""

    @abc.abstractmethod
    def init_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> tuple:
        """Carries of every part."""

    @abc.abstractmethod
    def unroll_with(self, unroll: Callable, params, xs: PyTree, carry, how: dict[str, Any]) -> tuple[Any, Any]:
        """(carry, ys), every part unrolled by `unroll` with the keyword arguments `how`."""
