"""The adjoint dL/ds_t of every state along a sequence, by one backward pass on a logarithmic scale."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxrnn import validation
from jaxrnn.backends.base import Steps, project
from jaxrnn.cell import Cell
from jaxrnn.gradients.scaled import Scaled, add, log_norm, scaled
from jaxrnn.numerics import carry_dtype, cast


def adjoint_norms(cell, params: PyTree, xs: PyTree, loss: Callable[[Array], Array]) -> Float[Array, "time *batch"]:
    """ln ||dL/ds_t|| for every step t and every sample, L = loss(ys), s_t the whole state after step t.

        a_T = dL_direct/ds_T,    a_t = dL_direct/ds_t + (ds_{t+1}/ds_t)^T a_{t+1}

    The total derivative: for a loss on every step, what comes from later steps is added. For a loss on the last
    output alone, entry t is the norm at lag `time - 1 - t`, a pure curve of decay over the lag.

    Args:
        cell: Any Cell; its `advance` and `output` are differentiated as they are.
        params: Its parameters, in the dtype of `xs`.
        xs: Inputs (time, *batch, features), or a pytree of such. The sequence starts from `cell.init_carry`.
        loss: Takes outputs (time, *batch, output) to one value for each sample (*batch).

    Returns:
        Natural logarithms (time, *batch) in the carry's real dtype, -inf for an exact zero. The pass carries an
        exponent of its own for each sample, so nothing underflows: a rate of 0.5 per step is right at lag 1000.
        For the LSTM s = (h, c); for complex states the norm is that of the real vector of both parts.

    Source: the error signals of Hochreiter (1991), as in Pascanu, Mikolov & Bengio (2013,
    https://arxiv.org/abs/1211.5063), equations 3 to 5.

    Raises:
        TypeError: `cell` is not a Cell, `xs` is not floating point, or `loss` returns no real array.
        ValueError: `loss` does not return one value for each sample, or shapes do not fit.

    Example:
        >>> from jaxrnn import Elman
        >>> cell = Elman(4, "identity")
        >>> params = cell.init(jax.random.key(0), input_size=2)
        >>> norms = adjoint_norms(cell, params, jnp.ones((6, 3, 2), jnp.float32), loss=lambda ys: ys[-1].sum(axis=-1))
        >>> norms.shape
        (6, 3)
    """
    if not isinstance(cell, Cell):
        raise TypeError(f"adjoint_norms: `cell` must be a Cell, got {cell!r}. Measure a Stack's cells one by one.")
    xs = jax.tree.map(jnp.asarray, xs)
    batch_shape = validation.check_inputs(xs)
    validation.check_params(type(cell).__name__, params, jax.tree.leaves(xs)[0].dtype)
    validation.check_fit(cell, params, xs)
    us, carries, ys = _run(cell, params, xs)
    losses, loss_vjp = jax.vjp(loss, ys)
    if not isinstance(losses, jax.Array) or not jnp.issubdtype(losses.dtype, jnp.floating):
        raise TypeError(
            f"adjoint_norms: `loss` must return one real array, got {jax.tree.map(jnp.asarray, losses)}. "
            "Return a differentiable value for each sample, for example lambda ys: (ys[-1] ** 2).sum(axis=-1)."
        )
    if losses.shape != batch_shape:
        raise ValueError(
            f"adjoint_norms: `loss` must return one value for each sample, shape {batch_shape}, got "
            f"{losses.shape}. Reduce time and features only, for example "
            "lambda ys: (ys[-1] ** 2).sum(axis=-1)."
        )
    (d_ys,) = loss_vjp(jnp.ones_like(losses))
    if ys.shape[0] == 0:
        return jnp.zeros((0, *batch_shape), carry_dtype(ys.dtype))
    return _log_norms(cell, params, us, carries, d_ys)


@functools.partial(jax.jit, static_argnums=0)
def _run(cell: Cell, params, xs):
    """Projections, the carry after each step, and outputs in the dtype of the inputs."""
    steps = Steps(xs)
    us = project(cell, params, steps)
    batch_shape = jax.tree.leaves(xs)[0].shape[1:-1]

    def step(carry, u):
        carry, y = cell.step(params, carry, u)
        return carry, (carry, y)

    _, (carries, ys) = lax.scan(step, cell.init_carry(batch_shape, carry_dtype(steps.dtype)), us)
    return us, carries, cast(ys, steps.dtype)


@functools.partial(jax.jit, static_argnums=0)
def _log_norms(cell: Cell, params, us, carries, d_ys):
    """The backward pass; d_ys (time, *batch, output) are the loss's derivatives with respect to the outputs."""
    rank = d_ys.ndim - 2
    dtype = carry_dtype(d_ys.dtype)
    wide, readout, d_ys = cell.widen(params, dtype), cast(params, dtype), cast(d_ys, dtype)

    def direct(carry, u, d_y) -> Scaled:
        _, output_vjp = jax.vjp(lambda c: cell.output(readout, c, u), carry)
        return scaled(output_vjp(d_y)[0], rank)

    def step(later: Scaled, inputs):
        carry, u, u_next, d_y = inputs
        _, advance_vjp = jax.vjp(lambda c: cell.advance(wide, c, u_next), carry)
        total = add(Scaled(advance_vjp(later.mantissa)[0], later.exponent), direct(carry, u, d_y))
        return total, log_norm(total)

    def part(tree, window):
        return jax.tree.map(lambda x: x[window], tree)

    head, tail, last = slice(None, -1), slice(1, None), -1
    end = direct(part(carries, last), part(us, last), d_ys[-1])
    inputs = (part(carries, head), part(us, head), part(us, tail), d_ys[:-1])
    _, logs = lax.scan(step, end, inputs, reverse=True)
    return jnp.concatenate([logs, log_norm(end)[None]])
