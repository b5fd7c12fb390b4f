"""One segment of truncated backpropagation through time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxrnn.cell import is_size
from jaxrnn.network import Network
from jaxrnn.sequence import Bidirectional
from jaxrnn.unroll import unroll


def unroll_segment(
    cell, params: PyTree, xs: PyTree, carry: PyTree, *, stride: int | None = None, mask=None, resets=None, backend=None
) -> tuple[PyTree, Array]:
    """Unrolls one segment and hands on the carry from which the next one starts, cut off from the gradient.

        segment p:  steps p * stride ... p * stride + window - 1,    window = xs.shape[0]

    With stride = window (the default) segments lie end to end. With a smaller stride they overlap: the gradient
    reaches at least `window - stride` steps back from every scored step if, but for the first segment, only the last
    `stride` steps are scored, as `jaxrnn.data.Segments` says by its mask. The carry returned is the one after `stride`
    steps. Source: TBPTT(window, stride) of Williams & Peng (1990, https://doi.org/10.1162/neco.1990.2.4.490).

    Args:
        cell: A Cell or a Stack that runs forward alone.
        params: Its parameters.
        xs: The segment's inputs (window, *batch, features), or a pytree of such.
        carry: Where the segment starts.
        stride: Steps to the start of the next segment, 1 to window.
        mask: As for `unroll`.
        resets: As for `unroll`.
        backend: As for `unroll`.

    Returns:
        The carry where the next segment starts, and the outputs of all steps (window, *batch, output).

    Raises:
        ValueError: `stride` does not lie between 1 and the window, or a Bidirectional is in `cell`.

    Example:
        >>> from jaxrnn import GRU
        >>> cell = GRU(4)
        >>> params = cell.init(jax.random.key(0), input_size=2)
        >>> xs = jnp.ones((6, 3, 2), jnp.float32)
        >>> carry, ys = unroll_segment(cell, params, xs, cell.init_carry((3,)), stride=2)
        >>> ys.shape
        (6, 3, 4)
    """
    _check_forward(cell)
    window = jax.tree.leaves(xs)[0].shape[0]
    stride = window if stride is None else stride
    if not is_size(stride) or stride > window:
        raise ValueError(f"unroll_segment: `stride` must lie between 1 and the window of {window}, got {stride!r}.")

    def part(start, stop, carry):
        def cut(tree):
            return jax.tree.map(lambda x: x[start:stop], tree)

        return unroll(cell, params, cut(xs), carry, mask=cut(mask), resets=cut(resets), backend=backend)

    following, ys = part(0, stride, carry)
    if stride < window:
        ys = jnp.concatenate([ys, part(stride, window, following)[1]])
    return jax.tree.map(jax.lax.stop_gradient, following), ys


def _check_forward(cell) -> None:
    if isinstance(cell, Bidirectional):
        raise ValueError(
            f"unroll_segment: `cell` must run forward alone, got {cell}: what runs backward has no carry to hand on. "
            "Take its forward cell, or unroll whole sequences."
        )
    for part in cell.parts if isinstance(cell, Network) else ():
        _check_forward(part)
