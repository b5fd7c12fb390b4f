"""Omega, the regulariser that asks of every step to hand error signals on at their length."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn.cell import Cell, GatedCell, recurrent_product
from jaxrnn.gradients.adjoint import Loss, check_losses
from jaxrnn.gradients.scaled import Scaled, add, log_norm, scaled, square_norm
from jaxrnn.gradients.trajectory import Trajectory, checked_inputs, or_nan, recurrence, refuse_nan, run
from jaxrnn.numerics import cast, real_dtype

_BOUND = 1e-20  # the released code leaves adjoints out whose squared norm is below this


class LossAndOmega(NamedTuple):
    """The loss and the regulariser of every sample, from one forward pass."""

    loss: Float[Array, "*batch"]
    omega: Float[Array, "*batch"]


def omega(cell, params: PyTree, xs: PyTree, loss: Loss) -> LossAndOmega:
    """Omega of equation 9, differentiated through everything it depends on.

        Omega = sum over t = 1 ... T of (||J_t^T a_t|| / ||a_t|| - 1)^2,    J_t = ds_t/ds_{t-1},    a_t = dL/ds_t

    s_t is the whole state after step t, s_0 the starting carry, a_t the total derivative. Omega is 0 where every step
    keeps the length of the error signal that passes it, whatever that length is: scaling the loss does not change it.
    To train with it, add `strength * found.omega.mean()` to `found.loss.mean()`; the paper's strength is 4.

    Three functions differ in what they compute, and no argument does:

    * `omega`: the value above. Its gradient is the derivative of this value, through states and adjoints too. For any
      Cell. It costs second derivatives of the cell.
    * `omega_immediate`: the same value. Its gradient counts only how J_t depends on the recurrent matrix.
    * `omega_squared`: squares of the norms inside, and a mean over the steps. The gradient as in `omega_immediate`.

    Args:
        cell: Any Cell, or a Stack, whose state is that of all its layers.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such. The sequence starts from `init_carry`.
        loss: Takes outputs (time, *batch, output) to one value for each sample (*batch). It may close over targets and
            over parameters of a readout, which are trained by `loss`, and by `omega` too.

    Returns:
        Both (*batch). Where a_t is exactly zero, as after the last step that the loss reads, step t counts 0. Adjoints
        carry an exponent of their own for each sample, so that long sequences do not underflow.

    Source: Pascanu, Mikolov & Bengio (2013, https://arxiv.org/abs/1211.5063), equation 9.

    Raises:
        TypeError: `cell` is neither Cell nor Stack, `xs` is not floating point, or `loss` returns no real array.
        ValueError: `loss` does not return one value for each sample, or shapes do not fit.
        FloatingPointError: the run or the loss is not finite (not inside `jax.jit`).

    Example:
        >>> from jaxrnn import Elman
        >>> from jaxrnn.initializers import Orthogonal
        >>> cell = Elman(4, "identity", recurrent_init=Orthogonal(0.5))
        >>> params = cell.init(jax.random.key(0), input_size=2)
        >>> found = omega(cell, params, jnp.ones((6, 3, 2), jnp.float32), lambda ys: ys[-1].sum(axis=-1))
        >>> [round(float(value), 4) for value in found.omega]  # 6 steps of (0.5 - 1)^2
        [1.5, 1.5, 1.5]
    """
    cell = recurrence("omega", cell)
    trajectory, losses, d_ys = _forward("omega", cell, params, xs, loss)
    if d_ys.shape[0] == 0:
        return LossAndOmega(losses, jnp.zeros(losses.shape, real_dtype(trajectory.carries)))
    found = jnp.sum(_deviations(cell, params, trajectory, d_ys), axis=0)
    return LossAndOmega(losses, or_nan(found, trajectory, losses.ndim, 0))


def omega_immediate(cell, params: PyTree, xs: PyTree, loss: Loss) -> LossAndOmega:
    """Omega of equation 9, differentiated by the recurrent matrix alone, as the paper does.

    The value is that of `omega`. For its gradient all else is constant: the states, the adjoints, the slopes of the
    cell's functions, and what J_t has besides the product with the matrix (peepholes, the LSTM's path along c). This
    is the "immediate" derivative of equation 10, which writes states before the nonlinearity, so that J_t depends on
    nothing else directly. It pushes the matrix alone; other parameters, those of the readout too, get no gradient from
    `omega`, and the usual one from `loss`. It costs one pass backward more than the loss alone, no second derivatives.

    For h_t = tanh(x_t U + h_{t-1} W + b), with z_t = a_t (1 - h_t^2) constant, J_t^T a_t = W z_t.

    Args:
        cell: A GatedCell, whose carry enters through one product.
        params: As in `omega`.
        xs: As in `omega`.
        loss: As in `omega`.

    Returns:
        As `omega` does.

    Source: as `omega`, equations 9 and 10.

    Raises:
        TypeError: `cell` is no GatedCell; else as `omega`.
        ValueError: as `omega`.

    Example:
        >>> from jaxrnn import Elman
        >>> from jaxrnn.initializers import Identity
        >>> cell = Elman(4, "identity", recurrent_init=Identity(0.5))
        >>> params, xs = cell.init(jax.random.key(0), input_size=2), jnp.ones((6, 2), jnp.float32)
        >>> value = lambda params: omega_immediate(cell, params, xs, lambda ys: ys[-1, 0]).omega
        >>> float(jax.grad(value)(params).recurrent[0, 0])  # 6 steps of 2 * (0.5 - 1)
        -6.0
    """
    losses, adjoints, deviations = _immediate("omega_immediate", cell, params, xs, loss, power=1)
    del adjoints
    return LossAndOmega(losses, jnp.sum(deviations, axis=0))


def omega_squared(cell, params: PyTree, xs: PyTree, loss: Loss) -> LossAndOmega:
    """Omega as the released code computes it: equation 10 with squares inside, a mean over the steps that count.

        omega_b = sum over t of k_tb (||J_t^T a_t||^2 / ||a_t||^2 - 1)^2 / K,    K = sum over t of mean over b of k_tb

    k_tb is 0 where ||a_t||^2 < 1e-20, with a_t the adjoint of the mean loss over all B samples, ||dL_b/ds_t|| / B, and
    1 elsewhere. `omega.mean()` is the number that the code prints, and that its strength of 2 belongs to. As it is a
    mean over steps and `omega` is a sum, strengths do not carry over from one to the other. The gradient is that of the
    recurrent matrix alone, as in `omega_immediate`. Omega is 0 where no step counts.

    Args:
        cell: A GatedCell.
        params: As in `omega`.
        xs: As in `omega`.
        loss: As in `omega`.

    Returns:
        Both (*batch).

    Source: as `omega`, equation 10, and https://github.com/pascanur/trainingRNNs, RNN.py.

    Raises:
        TypeError: `cell` is no GatedCell; else as `omega`.
        ValueError: as `omega`.

    Example:
        >>> from jaxrnn import Elman
        >>> from jaxrnn.initializers import Orthogonal
        >>> cell = Elman(4, "identity", recurrent_init=Orthogonal(0.5))
        >>> params = cell.init(jax.random.key(0), input_size=2)
        >>> found = omega_squared(cell, params, jnp.ones((6, 3, 2), jnp.float32), lambda ys: ys[-1].sum(axis=-1))
        >>> round(float(found.omega.mean()), 4)  # (0.25 - 1)^2
        0.5625
    """
    losses, adjoints, deviations = _immediate("omega_squared", cell, params, xs, loss, power=2)
    samples = max(losses.size, 1)
    log_bound = math.log(_BOUND) / 2 + math.log(samples)
    counts = ~(log_norm(adjoints) < log_bound)  # so that NaN counts, and shows
    count = jnp.sum(counts, dtype=deviations.dtype) / samples
    total = jnp.sum(jnp.where(counts, deviations, 0), axis=0)
    return LossAndOmega(losses, total / jnp.where(count == 0, 1, count))


def _immediate(name: str, cell, params, xs, loss, power: int) -> tuple[Array, Scaled, Array]:
    """Losses, the adjoint of every state, and (ratio^power - 1)^2 of every step, with the immediate gradient."""
    if not isinstance(cell, GatedCell):
        raise TypeError(
            f"{name}: `cell` must be a GatedCell, whose carry enters through one product with a matrix, got {cell!r}. "
            "Choose omega, which takes any Cell."
        )
    trajectory, losses, d_ys = _forward(name, cell, params, xs, loss)
    fixed = lax.stop_gradient((params, trajectory, d_ys))
    if d_ys.shape[0] == 0:
        nothing = jnp.zeros(d_ys.shape[:-1], real_dtype(trajectory.carries))
        return losses, Scaled((nothing[..., None],), nothing.astype(jnp.int32)), nothing
    adjoints, deviations = _immediate_deviations(cell, power, params, *fixed)
    return losses, adjoints, or_nan(deviations, trajectory, losses.ndim, 1)


def _deviation(adjoint: PyTree, moved: PyTree, rank: int, power: int = 1) -> Float[Array, "*batch"]:
    """((||moved|| / ||adjoint||)^power - 1)^2; 0 where the adjoint is exactly zero. `adjoint` is a mantissa."""
    shorter = scaled(moved, rank)
    below, above = square_norm(adjoint, rank), square_norm(shorter.mantissa, rank)
    gone, none = below == 0, above == 0  # where a square root has no derivative
    length = jnp.where(none, 0, jnp.sqrt(jnp.where(none, 1, above) / jnp.where(gone, 1, below)))
    ratio = jnp.ldexp(jnp.ones_like(length), shorter.exponent) * length
    return jnp.where(gone, 0, (ratio**power - 1) ** 2)


def _forward(name: str, cell: Cell, params, xs, loss: Loss) -> tuple[Trajectory, Array, Array]:
    """The run, the loss of each sample, and its derivatives by the outputs (time, *batch, output)."""
    xs, batch_shape = checked_inputs(cell, params, xs)
    trajectory, ys = run(cell, params, xs)
    losses, loss_vjp = jax.vjp(loss, ys)
    check_losses(name, losses, batch_shape)
    refuse_nan(name, losses, trajectory)
    return trajectory, losses, loss_vjp(jnp.ones_like(losses))[0]


def _backward(back: Callable, cell: Cell, params, trajectory: Trajectory, d_ys, inputs) -> tuple[Scaled, Any]:
    """The adjoint of the state after every step, and what `back` told of every step.

    Args:
        back: Takes a step back, (inputs of the step, mantissa of a_t) -> (J_t^T a_t, what to tell).
        cell: The cell.
        params: Its parameters.
        trajectory: The run.
        d_ys: The derivatives of the loss with respect to the outputs.
        inputs: What `back` is given of every step.
    """
    rank, dtype, carries = d_ys.ndim - 2, real_dtype(trajectory.carries), trajectory.carries
    readout = cast(params, dtype)

    def direct(after, u, d_y):
        return jax.vjp(lambda c: cell.output(readout, c, u), after)[1](d_y)[0]

    def step(later: Scaled, inputs):
        adjoint = add(later, inputs[0])
        moved, told = back(inputs[1], adjoint.mantissa)
        return Scaled(moved, adjoint.exponent), (adjoint, told)

    directs = scaled(jax.vmap(direct)(carries, trajectory.us, cast(d_ys, dtype)), rank + 1)
    nothing = scaled(jax.tree.map(lambda c: jnp.zeros_like(c[0]), carries), rank)
    return lax.scan(step, nothing, (directs, inputs), reverse=True)[1]


@functools.partial(jax.jit, static_argnums=0)
def _deviations(cell: Cell, params, trajectory: Trajectory, d_ys) -> Float[Array, "time *batch"]:
    """(ratio - 1)^2 of every step."""
    wide = cell.widen(params, real_dtype(trajectory.carries))

    def back(inputs, adjoint):
        before, u = inputs
        (moved,) = jax.vjp(lambda c: cell.advance(wide, c, u), before)[1](adjoint)
        return moved, moved

    inputs = trajectory.befores, trajectory.us
    adjoints, moved = _backward(back, cell, params, trajectory, d_ys, inputs)
    return _deviation(adjoints.mantissa, moved, d_ys.ndim - 1)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _immediate_deviations(
    cell: GatedCell, power: int, params, fixed, trajectory: Trajectory, d_ys
) -> tuple[Scaled, Float[Array, "time *batch"]]:
    """Adjoints and (ratio^power - 1)^2; only the recurrent matrix is taken from `params`, all else is given."""
    us, befores, _ = trajectory
    pointwise, matrix = cast(cell.pointwise(fixed), real_dtype(befores)), cell.recurrent(fixed)

    def product(h, matrix=matrix):
        return recurrent_product(h, matrix, cell.gates)

    def back(inputs, adjoint):
        before, v, u = inputs
        rest, d_v = jax.vjp(lambda c, v: cell.update(pointwise, c, u, v), before, v)[1](adjoint)
        (through,) = jax.vjp(product, before.h)[1](d_v)
        return rest._replace(h=rest.h + through), (rest, d_v)

    inputs = befores, product(befores.h), us
    adjoints, (rest, d_v) = _backward(back, cell, fixed, trajectory, d_ys, inputs)
    (through,) = jax.vjp(lambda h: product(h, cell.recurrent(params)), befores.h)[1](d_v)
    moved = rest._replace(h=rest.h + through)
    return adjoints, _deviation(adjoints.mantissa, moved, d_ys.ndim - 1, power)
