"""Chosen quantities of gradient flow during training, inside the compiled update, from the backward pass it makes."""

import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxrnn.cell import Cell, is_size
from jaxrnn.gradients.statistics import median
from jaxrnn.gradients.tap import WithTap, tapped
from jaxrnn.network import Network
from jaxrnn.numerics import carry_dtype
from jaxrnn.unroll import unroll


class Watch(Protocol):
    """What a monitored loss unrolls its cells by; the module `jaxrnn` itself is one that watches nothing."""

    def unroll(self, cell, params, xs, carry=None, **how) -> tuple[Any, Any]:
        """As `jaxrnn.unroll`."""
        ...


class Run(NamedTuple):
    """One call of `watch.unroll`, or of one layer of it: what went in, and outputs and ln ||dL/ds_t|| in its order."""

    cell: Cell
    params: PyTree
    xs: PyTree
    ys: Array
    log_norms: Float[Array, "time *batch"]


class Observation(NamedTuple):
    """What a quantity may read: L and its gradient by the parameters, and every watched run in the order of calls."""

    loss: Float[Array, ""]
    params: PyTree
    gradient: PyTree
    runs: tuple[Run, ...]


Quantity = Callable[[Observation], PyTree]
UNWATCHED: Any = types.SimpleNamespace(unroll=unroll)


def median_log_norms(observation: Observation) -> tuple[Float[Array, " time"], ...]:
    """For each run the median of ln ||dL/ds_t|| over samples, L being the loss itself, a mean over the batch or not."""
    return tuple(median(run.log_norms, tuple(range(1, run.log_norms.ndim))) for run in observation.runs)


def output_saturation(observation: Observation) -> tuple[Float[Array, ""], ...]:
    """For each run the fraction of outputs beyond 0.95 in size, where tanh is all but flat."""
    return tuple(jnp.mean(jnp.abs(run.ys) > 0.95, dtype=jnp.float32) for run in observation.runs)


def parameter_norms(observation: Observation) -> PyTree:
    """The norm of the gradient by each array of the parameters."""
    return jax.tree.map(jnp.linalg.norm, jax.tree.map(jnp.ravel, observation.gradient))


@dataclass(frozen=True)
class Monitor:
    """Measures quantities in the same backward pass that gives the gradient.

    The loss takes one more argument, `watch`, and unrolls what is to be watched by `watch.unroll` in the place of
    `jaxrnn.unroll`; `watch=jaxrnn` as a default keeps it callable without:

        def loss_fn(params, batch, key, watch=jaxrnn):
            _, ys = watch.unroll(cell, params, batch.inputs)
            return losses.squared_error(ys[-1:], batch.targets), ()

        trainer = jaxrnn.train.Trainer(loss_fn, optax.adam(1e-3), monitor=Monitor(every=10))

    The adjoints are those that backpropagation makes, on the backend of the run: nothing is computed twice, and what
    underflows in training is 0 here too (see `adjoint_norms` for the logarithmic scale); so may be what comes within
    three decades of the ends of float32. At steps that do not act they are told as 0, and those of 16-bit inputs come
    with the precision of the inputs.

    Fields:
        quantities: Functions of an Observation to any pytree of floating-point arrays, told by their names.
            Default: `median_log_norms`.
        every: Updates between two measurements; between them an update costs what it costs without. Default: 1.

    Source: adjoints as in `adjoint_norms`.

    Raises:
        ValueError: `every` is no whole number of at least 1, or there are no quantities, or two of one name.
        TypeError: `quantities` are no functions with names; or, when first measured, one is not floating point.

    Example:
        >>> from jaxrnn import GRU
        >>> cell, xs = GRU(3), jnp.ones((5, 2, 4), jnp.float32)
        >>> def loss_fn(params, watch):
        ...     return watch.unroll(cell, params, xs)[1][-1].mean(), ()
        >>> monitor = Monitor((median_log_norms,), every=2)
        >>> found = monitor.value_and_grad(loss_fn, cell.init(jax.random.key(0), 4), jnp.int32(0))
        >>> bool(found.measured), found.quantities["median_log_norms"][0].shape
        (True, (5,))
    """

    quantities: tuple[Quantity, ...] = (median_log_norms,)
    every: int = 1

    def __post_init__(self):  # noqa: D105
        if not isinstance(self.quantities, Iterable) or not all(hasattr(q, "__name__") for q in self.quantities):
            raise TypeError(
                f"Monitor: `quantities` must be functions with names in a tuple, got {self.quantities!r}. Define each "
                "with def, and write (quantity,) for one."
            )
        object.__setattr__(self, "quantities", tuple(self.quantities))
        if not is_size(self.every):
            raise ValueError(f"Monitor: `every` must be a whole number of at least 1, got {self.every!r}.")
        names = [quantity.__name__ for quantity in self.quantities]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"Monitor: `quantities` must be one or more functions with names of their own, got {names}. "
                "Define each with def."
            )

    def value_and_grad(self, loss_fn: Callable, params: PyTree, step: Int[Array, ""]) -> "Monitored":
        """As `jax.value_and_grad(loss_fn, has_aux=True)(params)` of `loss_fn(params, watch) -> (loss, aux)`.

        Raises:
            ValueError: `loss_fn` unrolls nothing by `watch`.
        """
        cells, taps = _look(loss_fn, params)

        def watched(params) -> tuple[Any, Any, Any, Any]:
            def with_taps(params, taps):
                watch = _Tapping(taps)
                loss, aux = loss_fn(params, watch)
                return loss, (aux, watch.runs)

            (loss, (aux, runs)), (gradient, norms) = jax.value_and_grad(with_taps, (0, 1), has_aux=True)(params, taps)
            logs = [jnp.log(norm[..., 0].astype(carry_dtype(norm.dtype))) for norm in norms]
            runs = tuple(Run(c, p, x, y, log) for c, (p, x, y), log in zip(cells, runs, logs, strict=True))
            return loss, aux, gradient, self._measure(Observation(loss, params, gradient, runs))

        if self.every == 1:
            loss, aux, gradient, quantities = watched(params)
            return Monitored(loss, aux, gradient, quantities, jnp.ones((), bool))

        def unwatched(params):
            (loss, aux), gradient = jax.value_and_grad(lambda p: loss_fn(p, UNWATCHED), has_aux=True)(params)
            return loss, aux, gradient, jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), empty)

        empty = jax.eval_shape(watched, params)[3]
        measured = step % self.every == 0
        loss, aux, gradient, quantities = lax.cond(measured, watched, unwatched, params)
        return Monitored(loss, aux, gradient, quantities, measured)

    def _measure(self, observation: Observation) -> dict[str, PyTree]:
        found = {quantity.__name__: quantity(observation) for quantity in self.quantities}
        for name, measured in found.items():
            dtypes = {jnp.result_type(leaf) for leaf in jax.tree.leaves(measured)}
            if not all(jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes):
                raise TypeError(
                    f"Monitor: `{name}` must give floating-point arrays, which can be NaN where nothing was measured, "
                    f"got {', '.join(sorted(map(str, dtypes)))}. Convert them, for example with astype(jnp.float32)."
                )
        return found


class Monitored(NamedTuple):
    """A loss, its gradient, and the quantities by name, NaN in an update that was not `measured`."""

    loss: Float[Array, ""]
    aux: PyTree
    gradient: PyTree
    quantities: dict[str, PyTree]
    measured: Bool[Array, ""]


class _Each:
    """Unrolls networks cell by cell; what is done with one cell is left to `one`."""

    def unroll(self, cell, params, xs, carry=None, **how):
        if isinstance(cell, Network):
            everything = {"lengths": None, "mask": None, "resets": None, "reverse": False, "backend": None} | how
            return cell.unroll_with(self.unroll, params, xs, carry, everything)
        return self.one(cell, params, xs, carry, how)

    def one(self, cell, params, xs, carry, how):
        raise NotImplementedError


class _Looking(_Each):
    """Notes the cells and which taps they will need."""

    def __init__(self):
        self.cells: list[Cell] = []
        self.taps: list[jax.ShapeDtypeStruct] = []

    def one(self, cell, params, xs, carry, how):
        leaf = jax.tree.leaves(xs)[0]
        self.cells.append(cell)
        self.taps.append(jax.ShapeDtypeStruct((*leaf.shape[:-1], 1), leaf.dtype))
        return unroll(cell, params, xs, carry, **how)


class _Tapping(_Each):
    """Hands each cell its tap, and notes what it ran on."""

    def __init__(self, taps: list[Array]):
        self.taps = taps
        self.runs: list[tuple[PyTree, PyTree, Array]] = []

    def one(self, cell, params, xs, carry, how):
        end, ys = unroll(tapped(cell), params, WithTap(xs, self.taps[len(self.runs)]), carry, **how)
        self.runs.append((params, xs, ys))
        return end, ys


def _look(loss_fn: Callable, params: PyTree) -> tuple[list[Cell], list[Array]]:
    """The cells that the loss unrolls by `watch`, and a tap for each."""
    looking = _Looking()
    jax.eval_shape(lambda p: loss_fn(p, looking), params)
    if not looking.cells:
        raise ValueError(
            "Monitor: the loss unrolls nothing by `watch`. Call watch.unroll in the place of jaxrnn.unroll, outside "
            "of functions that are compiled by themselves."
        )
    return looking.cells, [jnp.zeros(tap.shape, tap.dtype) for tap in looking.taps]
