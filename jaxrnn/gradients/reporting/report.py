"""The report on any networks, by one call."""

import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxrnn.cell import is_size
from jaxrnn.gradients.adjoint import Loss
from jaxrnn.gradients.reporting.measure import Networks, measure
from jaxrnn.gradients.reporting.write import write_report
from jaxrnn.unroll import unroll


def report(
    networks: Networks,
    xs,
    folder: str | PathLike[str],
    *,
    loss: Loss | None = None,
    lengths: Sequence[int] | None = None,
    tokens: Sequence[str] | None = None,
    title: str = "How far back do gradients reach?",
    settings: dict | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> dict[str, Path]:
    """Measures how gradients travel through networks, and writes it as a page, pictures, tables and words.

    The page is one file that works without a network: values under the pointer, cells to be hidden, views by lag and
    by length, parts of the state, all singular values of the transport and how far a bound is off, Lyapunov exponents,
    what the steps contribute to the gradient of the parameters, gates over the tokens of a sentence, light and dark,
    and slides in large type. Beside it PNG, SVG, PDF, JSON and Markdown. Needs the extra `plots` for the pictures. What
    cannot be measured of a network, as of one whose gradient is exactly zero, is left out of the charts. Of a state of
    more than 300 numbers only the largest and the root mean square singular value are shown, by `extreme_transport`,
    and the sensitivity only up to 2,000,000 numbers in ds/dtheta; the findings tell which networks that meets.

    Args:
        networks: By name: (cell, parameters), each a Cell or a Stack, all for the same inputs; trained ones or not.
        xs: Inputs (time, batch, features).
        folder: Where report.html, .png, .svg, .pdf, .json and .md, and heatmaps.png, .svg, .pdf and, of cells with
            gates, gates.png, .svg, .pdf are written; made if it is missing.
        loss: Takes outputs (time, batch, output), of any number of steps since they are cut for the view by length, to
            one value for each sample. For pure decay it reads the last output alone. Default: a random projection of
            the last output.
        lengths: Sequence lengths for the view by length, all of the steps always with them. Default: an eighth, a
            quarter, half and all of the steps.
        tokens: What the steps are called, for the gates of the first sequence. Default: their numbers.
        title: Above everything.
        settings: Told on the page, such as how the networks were made.
        progress: Called with the name of each stage before it begins.

    Returns:
        The paths of the files by name.

    Raises:
        ValueError: there are no networks, `xs` has no batch axis or too few steps, `tokens` are fewer than its
            steps, or `loss` does not take outputs that are cut; nothing is written.
        FloatingPointError: a network's gradient is not a number.

    Example:
        >>> import tempfile
        >>> from jaxrnn import Elman
        >>> cell, xs = Elman(2), jax.random.normal(jax.random.key(1), (8, 4, 1), jnp.float32)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = report({"tanh": (cell, cell.init(jax.random.key(0), 1))}, xs, folder)
        ...     "report.html" in files, "report.pdf" in files
        (True, True)
    """
    if not isinstance(networks, Mapping) or not networks or not all(isinstance(name, str) for name in networks):
        raise ValueError(f"report: `networks` must be a dict of names to (cell, parameters), got {networks!r:.200}.")
    xs = jnp.asarray(xs)
    if xs.ndim != 3 or xs.shape[0] < 8 or xs.shape[1] < 1:
        raise ValueError(
            f"report: `xs` must be (time, batch, features) of at least 8 steps and one sequence, got shape {xs.shape}."
        )
    time = xs.shape[0]
    lengths = (
        sorted({max(time // 8, 2), max(time // 4, 2), time // 2, time}) if lengths is None else sorted({*lengths, time})
    )
    if not all(map(is_size, lengths)) or lengths[0] < 2 or lengths[-1] > time:
        raise ValueError(f"report: `lengths` must be whole numbers from 2 to the {time} steps of `xs`, got {lengths}.")
    if tokens is not None and len(tokens) < time:
        raise ValueError(f"report: `tokens` must name each of the {time} steps of `xs`, got {len(tokens)}.")
    names = [name.lower().replace(" ", "-") for name in networks]
    if len(set(names)) < len(names):
        raise ValueError(
            "report: `networks` must have names that differ in more than case, spaces and dashes, "
            f"got {[*networks]}. Rename one."
        )
    loss = loss or last_output
    _check_cuts(networks, xs, loss, lengths)
    found = measure(networks, xs, loss, lengths, tokens, title, settings or {}, progress)
    progress("page and pictures")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return write_report(found, Path(folder))


def _check_cuts(networks: Networks, xs, loss: Loss, lengths: Sequence[int]) -> None:
    """Tries the loss on outputs of every length, by shapes alone."""
    for cell, params in networks.values():
        ys = jax.eval_shape(lambda params, cell=cell: unroll(cell, params, xs)[1], params)
        jax.eval_shape(loss, ys)  # what is wrong with all of them is told as it is
        for length in lengths:
            try:
                jax.eval_shape(lambda ys, end=length: loss(ys[:end]), ys)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"report: `loss` does not take outputs that are cut to {length} steps: {error}. Let it cut its "
                    f"targets like the outputs, targets[: ys.shape[0]], or pass lengths=({len(xs)},)."
                ) from error


def last_output(ys):
    """A fixed random projection of the last output: its derivative never vanishes, whatever the network puts out."""
    weights = jax.random.normal(jax.random.key(0), ys.shape[-1:], jnp.float32).astype(ys.dtype)
    return ys[-1] @ weights / math.sqrt(ys.shape[-1])
