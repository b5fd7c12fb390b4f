"""What gates and units do along a run: every nonlinearity of a step by itself, saturation, and how long memory lasts.

A cell does not have to name its gates. They are read off its traced step: whatever a sigmoid, a tanh or a relu gives.
A function built of these shows as what it is built of: silu as its sigmoid, gelu as its tanh, relu6 and the "hard"
sigmoid as their relu, without their upper end. Not seen are others, as softplus, and what stands inside a scan or a
branch of its own in the step.
"""

import itertools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr
from jax.extend.core import Literal as Constant
from jaxtyping import Array, Float, PyTree

from jaxrnn.cell import Cell, GatedCell, LinearCell
from jaxrnn.gradients.trajectory import checked_inputs, refuse_nan, run
from jaxrnn.numerics import real_dtype
from jaxrnn.sequence import Stack

Kind = Literal["sigmoid", "tanh", "relu"]
_CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2")


class Activation(NamedTuple):
    """The values (time, *batch, units) of one nonlinearity of the step; `name` as the cell calls it, else by kind."""

    name: str
    kind: Kind
    values: Float[Array, "time *batch units"]


class Saturation(NamedTuple):
    """Fractions of values at the lower and at the upper end, and the mean of the squared slope, E phi'^2."""

    low: Float[Array, ""]
    high: Float[Array, ""]
    mean_square_slope: Float[Array, ""]


def activations(cell, params: PyTree, xs: PyTree) -> tuple[Activation, ...]:
    """Every sigmoid, tanh and relu inside the step of a cell, over a whole run.

    Gates are the sigmoids; a nonlinearity that reads one entry of the projections alone bears the name that the cell's
    `gate_names` gives it, with a number from the second of one name on.

    Args:
        cell: Any Cell, or a Stack, whose layers follow one another with their number in the names.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such. The sequence starts from `init_carry`.

    Raises:
        TypeError: `cell` is neither Cell nor Stack, or `xs` is not floating point.
        ValueError: shapes do not fit.
        FloatingPointError: there is NaN (not inside `jax.jit`).

    Example:
        >>> from jaxrnn import LSTM
        >>> cell = LSTM(4)
        >>> found = activations(cell, cell.init(jax.random.key(0), 3), jnp.ones((9, 2, 3), jnp.float32))
        >>> [activation.name for activation in found]
        ['input gate', 'forget gate', 'candidate', 'output gate', 'tanh 1']
    """
    if isinstance(cell, Stack):
        found = []
        for number, (layer, weights) in enumerate(zip(cell.cells, params, strict=True), start=1):
            named = activations(layer, weights, xs)
            found += [a._replace(name=f"layer {number}, {a.name}") for a in named]
            ys = run(layer, weights, xs)[1] if isinstance(layer, Cell) else None
            if ys is None:
                raise TypeError(f"activations: the layers of a Stack must be Cells, got {layer!r}.")
            xs = xs + ys if cell.residual and jnp.shape(xs) == jnp.shape(ys) else ys
        return tuple(found)
    if not isinstance(cell, Cell):
        raise TypeError(f"activations: `cell` must be a Cell or a Stack of Cells, got {cell!r}.")
    xs, _ = checked_inputs(cell, params, xs)
    trajectory, _ = run(cell, params, xs)
    names, _, values = _record(cell, params, trajectory)
    refuse_nan("activations", values, trajectory)
    return tuple(Activation(name, kind, value) for (name, kind), value in zip(names, values, strict=True))


def saturation(activation: Activation) -> Saturation:
    """How much of an activation is flat: a sigmoid below 0.05 or above 0.95, a tanh beyond 0.95 in size, a relu at 0.

    `mean_square_slope` is E phi'^2, by which a gradient of random direction shrinks in square at this nonlinearity.

    Source: fractions of saturated gates, Karpathy, Johnson & Fei-Fei (2015, https://arxiv.org/abs/1506.02078), with
    bounds of 0.1 and 0.9 there.

    Raises:
        ValueError: its kind is another.

    Example:
        >>> found = saturation(Activation("gate", "sigmoid", jnp.array([[0.01, 0.5, 0.5, 0.99]])))
        >>> float(found.low), float(found.high), round(float(found.mean_square_slope), 4)
        (0.25, 0.25, 0.0313)
    """
    values = activation.values
    if activation.kind not in ("sigmoid", "tanh", "relu"):
        raise ValueError(f"saturation: `activation.kind` must be sigmoid, tanh or relu, got {activation.kind!r}.")
    ends = {"sigmoid": (values < 0.05, values > 0.95), "tanh": (values < -0.95, values > 0.95)}
    low, high = ends.get(activation.kind, (values <= 0, jnp.zeros_like(values, bool)))
    slopes = {"sigmoid": values * (1 - values), "tanh": 1 - values * values}
    slope = slopes.get(activation.kind, (values > 0).astype(values.dtype))
    low, high = (jnp.mean(end, dtype=values.dtype) for end in (low, high))
    return Saturation(low, high, jnp.mean(slope * slope))


def memory_rates(cell, params: PyTree, xs: PyTree) -> Float[Array, "*batch units"]:
    """The mean of ln f_t over time: the exact exponent, in nats per step, at which a unit's own memory decays.

    f is what the step multiplies the memory by: the forget gate of an LSTM, the update gate of a GRU, |a| of a linear
    cell, along whose own path d c_T/d c_t is the product of f. Paths through the other units are left out, see
    `lyapunov_spectrum` for all of them. Of a gate ln f is taken from what the sigmoid reads, so one that rounds to
    0 or to 1 still has its rate.

    Args:
        cell: A Cell with a `keep_gate` that is a sigmoid of its own, or a LinearCell.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such. The sequence starts from `init_carry`.

    Source: the forget gate as a time constant, Tallec & Ollivier (2018, https://arxiv.org/abs/1804.11188).

    Raises:
        TypeError: the cell has no such factor, or `xs` is not floating point.
        ValueError: shapes do not fit.
        FloatingPointError: there is NaN (not inside `jax.jit`).

    Example:
        >>> from jaxrnn import LSTM
        >>> cell = LSTM(4)
        >>> params = cell.init(jax.random.key(0), 3)
        >>> params = params._replace(recurrent=0 * params.recurrent)  # at b_f = 1 and no input f is sigmoid(1)
        >>> rates = memory_rates(cell, params, jnp.zeros((9, 3), jnp.float32))
        >>> print(f"{rates[0]:.4f} nats per step, time constant {time_constants(rates)[0]:.2f} steps")
        -0.3133 nats per step, time constant 3.19 steps
    """
    if isinstance(cell, LinearCell):
        xs, _ = checked_inputs(cell, params, xs)
        trajectory, _ = run(cell, params, xs)
        factors, b = cell.coefficients(cell.widen(params, real_dtype(trajectory.befores)), trajectory.us)
        refuse_nan("memory_rates", factors, trajectory)
        return jnp.mean(jnp.log(jnp.broadcast_to(jnp.abs(factors), b.shape)), axis=0)
    if isinstance(cell, Cell) and cell.keep_gate is not None:
        xs, _ = checked_inputs(cell, params, xs)
        trajectory, _ = run(cell, params, xs)
        names, arguments, values = _record(cell, params, trajectory)
        refuse_nan("memory_rates", values, trajectory)
        keep: tuple[str, Kind] = (_gate_name(cell, cell.keep_gate), "sigmoid")
        if keep in names:
            return jnp.mean(jax.nn.log_sigmoid(arguments[names.index(keep)]), axis=0)
    raise TypeError(
        f"memory_rates: `cell` must be a LinearCell, or a Cell whose `keep_gate` is a sigmoid, got {cell!r}. "
        "Measure lyapunov_spectrum, which every cell has."
    )


def time_constants(rates: Float[Array, "..."]) -> Float[Array, "..."]:
    """The steps after which e^(rate * steps) is 1/e: -1 / rate, inf where nothing decays.

    Example:
        >>> time_constants(jnp.array([-0.5, 0.0])).tolist()
        [2.0, inf]
    """
    return jnp.where(rates < 0, -1 / jnp.where(rates < 0, rates, -1), jnp.where(jnp.isnan(rates), rates, jnp.inf))


def _record(cell: Cell, params, trajectory) -> tuple[list[tuple[str, Kind]], list[Array], list[Array]]:
    """Names and kinds of the nonlinearities of a step, what goes into each, and what comes out."""
    wide = cell.widen(params, real_dtype(trajectory.befores))
    names: list[tuple[str, Kind]] = []

    def at_step(before, u):
        jaxpr = jax.make_jaxpr(lambda before, u: cell.advance(wide, before, u))(before, u)
        recorder = _Recorder(cell)
        recorder.run(jaxpr, jax.tree.leaves((before, u)), recorder.labels(before, u))
        names[:] = recorder.names
        return recorder.arguments, recorder.values

    arguments, values = jax.jit(jax.vmap(at_step))(trajectory.befores, trajectory.us)
    return names, arguments, values


def _gate_name(cell: Cell, gate: int) -> str:
    return cell.gate_names[gate] if cell.gate_names else f"gate {gate}"


class _Recorder:
    """Runs a jaxpr and keeps what comes out of nonlinearities.

    Every value bears the numbers of the gates whose projections it comes from, up to the nonlinearities before it.
    """

    def __init__(self, cell: Cell):
        self.cell = cell
        self.names: list[tuple[str, Kind]] = []
        self.arguments: list[Array] = []
        self.values: list[Array] = []

    def labels(self, before, u) -> list[frozenset[int]]:
        """Those of the inputs: of a gated cell, and of one that names its gates, entry i of u comes from gate i."""
        none = [frozenset[int]()] * len(jax.tree.leaves(before))
        gates = self.cell.gates if isinstance(self.cell, GatedCell) else len(self.cell.gate_names)
        if not gates:
            return none + [frozenset[int]()] * len(jax.tree.leaves(u))
        numbered = [(n, leaf) for n, entry in enumerate(u) for leaf in jax.tree.leaves(entry)]
        return none + [frozenset({n}) if n < gates else frozenset[int]() for n, _ in numbered]

    def run(self, closed: ClosedJaxpr, inputs: list[Any], labels: list[frozenset[int]]):
        known: dict[Any, tuple[Any, frozenset[int]]] = {}
        jaxpr = closed.jaxpr
        known |= {var: (value, frozenset()) for var, value in zip(jaxpr.constvars, closed.consts, strict=True)}
        known |= {v: pair for v, pair in zip(jaxpr.invars, zip(inputs, labels, strict=True), strict=True)}

        def read(var) -> tuple[Any, frozenset[int]]:
            return (var.val, frozenset()) if isinstance(var, Constant) else known[var]

        for equation in jaxpr.eqns:
            values, marks = zip(*(read(var) for var in equation.invars), strict=True) if equation.invars else ((), ())
            inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
            if equation.primitive.name in _CALLS and isinstance(inner, ClosedJaxpr):
                outputs = self.run(inner, list(values), list(marks))
            else:
                found = equation.primitive.bind(*values, **equation.primitive.get_bind_params(equation.params))
                results = found if equation.primitive.multiple_results else [found]
                merged = frozenset[int]().union(*marks)
                kind = _kind(equation)
                if kind is not None and jnp.ndim(results[0]) > 0:
                    self._keep(kind, merged, next(iter(values)), results[0])
                    merged = frozenset()
                outputs = [(result, merged) for result in results]
            known |= dict(zip(equation.outvars, outputs, strict=True))
        return [read(var) for var in jaxpr.outvars]

    def _keep(self, kind: Kind, labels: frozenset[int], argument, value) -> None:
        base, first = (_gate_name(self.cell, *labels), 2) if len(labels) == 1 else (kind, 1)
        numbered = (f"{base} {n}" for n in itertools.count(first))
        taken = {name for name, _ in self.names}
        name = next(n for n in itertools.chain([base] if first == 2 else [], numbered) if n not in taken)
        self.names.append((name, kind))
        self.arguments.append(argument)
        self.values.append(value)


def _kind(equation) -> Kind | None:
    """What nonlinearity an equation is, if it is one."""
    name = equation.primitive.name
    if name == "max":
        zeros = [v for v in equation.invars if isinstance(v, Constant) and np.ndim(v.val) == 0 and v.val == 0]
        return "relu" if zeros else None
    known: dict[str, Kind] = {"logistic": "sigmoid", "tanh": "tanh"}
    return known.get(name)
