"""Recurrent layers for Flax NNX models: a module holds a cell's parameters, and a call is one `unroll`.

Nothing of Flax is built again here, and nothing of the recurrence: the pure cell does the work, and the same
parameters run in `jaxrnn.unroll` and `jaxrnn.gradients` too.
"""

from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import PyTree

from jaxrnn import sequence
from jaxrnn.cell import Cell, is_size
from jaxrnn.network import Network
from jaxrnn.numerics import cast
from jaxrnn.stochastic import regularize, with_key
from jaxrnn.stochastic.regularized import check_bare
from jaxrnn.stochastic.wrapper import Rate, as_rate
from jaxrnn.stochastic.zoned import Rates, as_rates
from jaxrnn.unroll import unroll
from jaxrnn.validation import check_inputs, describe


class RNN(nnx.Module):
    """A cell, or a Stack or Bidirectional of cells, as a layer.

        carry, ys = layer(xs)        is        carry, ys = jaxrnn.unroll(layer.cell, layer.params, xs)

    Each array of the parameters is an `nnx.Param` under its own name, such as `weights.input`, in a Stack
    `weights[0].input`; `params` is the same as the cell's own record of plain arrays, and `set_params` puts one in.

    Noise is drawn from the `key` of a call, and only from it: without a key the layer evaluates, and no PRNG state is
    stored that a checkpoint would have to know (https://github.com/google/flax/issues/4509). `model.eval()` sets
    `deterministic`, which turns the noise off whatever key a call brings; `model.train()` lets the key decide again;
    `nnx.view(model, deterministic=True)` evaluates with the same parameters and leaves `model` as it is.
    In training give each step a key of its own, for example `rngs.dropout()` or `jax.random.fold_in(key, step)`.

    Args:
        cell: A Cell, jaxrnn.Stack or jaxrnn.Bidirectional.
        in_features: Features of the inputs.
        input_dropout: Rate of dropout on the inputs of each cell, one mask for the whole sequence. Default: 0.
        recurrent_dropout: The same on what the recurrent product of each cell reads; gated cells only. Default: 0.
        zoneout: Rate at which units keep their state, one number, or one for each array of the carry. Default: 0.
            For rates that differ from layer to layer put cells of `jaxrnn.stochastic.regularize` into a Stack.
        dtype: Parameters and inputs are cast to it for the computation; None: they have to come in one dtype.
        param_dtype: Of the parameters as stored. Default: float32.
        rngs: The initial parameters come from its stream `params`.

    Raises:
        TypeError: `cell` is no Cell, Stack or Bidirectional, or a cell of `zoneout` or `recurrent_dropout` is in it,
            whose noise no key would reach; see `jaxrnn.stochastic.regularize`.
        ValueError: `in_features` is below 1, a rate outside [0, 1).

    Example:
        >>> from jaxrnn import LSTM
        >>> layer = RNN(LSTM(4), in_features=3, zoneout=(0.05, 0.5), rngs=nnx.Rngs(0))
        >>> xs = jnp.ones((10, 2, 3), jnp.float32)
        >>> carry, ys = layer(xs, key=jax.random.key(1))  # training
        >>> carry, ys = layer(xs, lengths=jnp.array([10, 7]))  # evaluation
        >>> ys.shape, layer.weights.input.shape
        ((10, 2, 4), (3, 16))
    """

    def __init__(  # noqa: D107
        self,
        cell,
        in_features: int,
        *,
        input_dropout: Rate = 0.0,
        recurrent_dropout: Rate = 0.0,
        zoneout: Rates = 0.0,
        dtype=None,
        param_dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        name = type(self).__name__
        if not isinstance(cell, Cell | Network):
            raise TypeError(f"{name}: `cell` must be a Cell, jaxrnn.Stack or jaxrnn.Bidirectional, got {cell!r}.")
        if not is_size(in_features):
            raise ValueError(f"{name}: `in_features` must be a whole number of at least 1, got {in_features!r}.")
        check_bare(name, cell)
        rates: dict[str, Any] = {
            "input_dropout": as_rate(name, "input_dropout", input_dropout),
            "recurrent_dropout": as_rate(name, "recurrent_dropout", recurrent_dropout),
            "zoneout": as_rates(name, "zoneout", zoneout),
        }
        noisy = any(rate != 0 for rate in rates.values())
        self.cell = cell
        self.network = regularize(cell, **rates) if noisy else cell
        self.in_features = in_features
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.deterministic = False
        self.weights = nnx.data(jax.tree.map(nnx.Param, cell.init(rngs.params(), in_features, param_dtype)))

    @property
    def out_features(self) -> int:
        """Features of the outputs."""
        return self.cell.output_size

    @property
    def params(self) -> Any:
        """The parameters as the cell's own record of plain arrays, for `jaxrnn.unroll` and `jaxrnn.gradients`."""
        return jax.tree.map(lambda weight: weight[...], self.weights, is_leaf=_is_variable)

    def set_params(self, params: PyTree) -> None:
        """Puts in parameters such as `params` gives them.

        Raises:
            ValueError: they are not the cell's own, in structure, shapes or dtype.
        """
        try:
            chex.assert_trees_all_equal_shapes_and_dtypes(params, self.params)
        except (AssertionError, ValueError, TypeError) as error:
            raise ValueError(
                f"{type(self).__name__}.set_params: `params` must be those of {self.cell}, {describe(self.params)}, "
                f"got {describe(params)}. Make them with cell.init({self.in_features} features), or cast them."
            ) from error
        jax.tree.map(lambda weight, value: weight.set_value(value), self.weights, params, is_leaf=_is_variable)

    def set_view(self, deterministic: bool | None = None) -> None:
        """What `nnx.view` calls on its copy; True turns the noise off, None leaves it as it is."""
        if deterministic is not None:
            self.deterministic = deterministic

    def __call__(
        self,
        xs: PyTree,
        carry: PyTree = None,
        *,
        lengths=None,
        mask=None,
        resets=None,
        reverse: bool = False,
        backend=None,
        key=None,
    ) -> tuple[Any, Any]:
        """Runs over sequences (time, *batch, in_features): `(carry, ys)`.

        Arguments, returns and errors are those of `jaxrnn.unroll`, and besides them `key`, from which noise is drawn
        in training; None evaluates.

        Raises:
            ValueError: the features of `xs` are not `in_features`.
            TypeError: `xs` and the parameters differ in dtype, and the layer has no `dtype`; `key` is an nnx.Rngs.
        """
        xs, params = jax.tree.map(jnp.asarray, xs), self.params
        check_inputs(xs)
        if self.dtype is not None:
            xs, params = cast((xs, params), self.dtype)
        self._check(xs, params)
        if isinstance(key, nnx.Rngs | nnx.RngStream):
            raise TypeError(
                f"{type(self).__name__}: `key` must be a key, got {type(key).__name__}. Give rngs.dropout()."
            )
        if key is not None and not self.deterministic:
            params = with_key(self.network, params, key)
        how = {"lengths": lengths, "mask": mask, "resets": resets, "reverse": reverse, "backend": backend}
        return unroll(self.network, params, xs, carry, **how)

    def _check(self, xs: PyTree, params: PyTree) -> None:
        name, dtype, held = type(self).__name__, *(jax.tree.leaves(tree)[0].dtype for tree in (xs, params))
        if isinstance(xs, jax.Array) and xs.shape[-1] != self.in_features:
            raise ValueError(
                f"{name}: `xs` must be (time, *batch, in_features={self.in_features}), got shape {xs.shape}. "
                f"Build the layer with in_features={xs.shape[-1]}, or put an nnx.Linear before it."
            )
        if dtype != held:
            raise TypeError(
                f"{name}: `xs` is {dtype} while the parameters are {held}. Build the layer with dtype=jnp.{dtype} to "
                f"compute in that, or with param_dtype=jnp.{dtype}, or cast `xs`."
            )


class Stack(RNN):
    """Layers one above the other: RNN over a jaxrnn.Stack; options are those of RNN.

    Example:
        >>> from jaxrnn import GRU, LSTM
        >>> layer = Stack([LSTM(64), GRU(32)], in_features=8, rngs=nnx.Rngs(0))
        >>> layer.out_features, layer.weights[1].recurrent.shape
        (32, (32, 96))
    """

    def __init__(  # noqa: D107
        self, cells: Sequence, in_features: int, *, residual: bool = False, rngs: nnx.Rngs, **options: Any
    ):
        super().__init__(sequence.Stack(tuple(cells), residual), in_features, rngs=rngs, **options)


class Bidirectional(RNN):
    """One cell forward and one backward in time: RNN over a jaxrnn.Bidirectional; options are those of RNN.

    The backward cell defaults to one equal to `cell`, with parameters of its own.

    Example:
        >>> from jaxrnn import GRU
        >>> Bidirectional(GRU(16), in_features=8, rngs=nnx.Rngs(0)).out_features
        32
    """

    def __init__(  # noqa: D107
        self,
        cell,
        in_features: int,
        *,
        backward=None,
        residual: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        both = sequence.Bidirectional(cell, cell if backward is None else backward, residual)
        super().__init__(both, in_features, rngs=rngs, **options)


def _is_variable(node) -> bool:
    return isinstance(node, nnx.Variable)
