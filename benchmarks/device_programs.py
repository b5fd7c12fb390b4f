"""What the device benchmark times: recurrences on every backend that takes them, and torch's modules beside them."""

import functools
import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import GRU, LRU, LSTM, Backend, GatedCell, Pallas, Scan, unroll
from jaxrnn.backends.associative import parallel_scan
from jaxrnn.backends.fused_linear import fused_scan
from jaxrnn.backends.linear import sequential_scan

MODES = FORWARD, BOTH = "forward", "forward and backward"


class Race(NamedTuple):
    """Programs that compute the same, to be timed beside each other; the first is what the others are compared with.

    `programs`: by name, functions of what `draw` gives; of torch, what makes a function to call as it is.
    `operations` are those of the products, `bytes` what has to be read and written at least; None where not told.
    """

    group: str
    name: str
    dtype: str
    mode: str
    programs: dict[str, Callable]
    draw: Callable[[], tuple]
    input_product: bool
    operations: float | None = None
    bytes: float | None = None


class Sizes(NamedTuple):
    """Of one recurrence: batch, steps, features and units."""

    batch: int
    time: int
    features: int
    hidden: int


class Scale(NamedTuple):
    """Sizes of all races."""

    heads: tuple[int, ...]
    wide: Sizes
    dense: tuple[Sizes, ...]
    linear: tuple[Sizes, ...]
    copied: int


FULL = Scale(
    heads=(12, 3, 1),
    wide=Sizes(16, 1024, 768, 768),
    dense=tuple(Sizes(64, 512, hidden, hidden) for hidden in (128, 256, 512, 1024)),
    linear=(Sizes(8, 4096, 1536, 1536), Sizes(16, 4096, 2048, 2048), Sizes(16, 4096, 256, 256)),
    copied=1 << 27,
)
SMOKE = Scale((2, 1), Sizes(2, 3, 4, 8), (Sizes(2, 3, 4, 4),), (Sizes(2, 3, 4, 4),), 1 << 10)


def races(scale: Scale, backends: tuple[Backend, ...]) -> Iterator[Race]:
    """All of them; `backends` are tried where they do not refuse."""
    for heads in scale.heads:
        for make in (LSTM, GRU):
            cell = make(scale.wide.hidden, heads=heads)
            yield from _gated("heads", _name(cell), cell, "bfloat16", scale.wide, backends)
        if heads == 1:
            cell = LSTM(scale.wide.hidden)
            yield from _gated("heads", _name(cell), cell, "float32", scale.wide, backends)
    for sizes in scale.dense:
        for make, dtype in ((LSTM, "bfloat16"), (GRU, "bfloat16"), (LSTM, "float32")):
            yield from _gated("dense", f"{make.__name__} of {sizes.hidden}", make(sizes.hidden), dtype, sizes, backends)
    yield from _flags(scale.wide, max(scale.heads), backends)
    for sizes in scale.linear:
        yield from _linear("real", sizes, backends)
    yield from _linear("complex", scale.linear[0], backends)


def _name(cell: GatedCell) -> str:
    return f"{type(cell).__name__} of {cell.hidden_size} in {cell.heads} {'head' if cell.heads == 1 else 'heads'}"


def operations(cell: GatedCell, sizes: Sizes, mode: str) -> float:
    """Of the products of inputs and of states; backward each takes part in two more."""
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), sizes.features))
    weights = shapes.input.size + shapes.recurrent.size
    return 2.0 * sizes.batch * sizes.time * weights * (1 if mode == FORWARD else 3)


def _arguments(cell: GatedCell, dtype: str, sizes: Sizes):
    keys = jax.random.split(jax.random.key(0), 2)
    xs = jax.random.normal(keys[1], (sizes.time, sizes.batch, sizes.features), dtype)
    return cell.init(keys[0], sizes.features, jnp.dtype(dtype)), xs


def _program(cell: GatedCell, backend: Backend, mode: str, flags: dict[str, Any]) -> Callable:
    def forward(params, xs):
        return unroll(cell, params, xs, backend=backend, **flags)[1]

    def both(params, xs):
        ys, pullback = jax.vjp(forward, params, xs)
        return pullback(ys)

    return forward if mode == FORWARD else both


def _gated(group: str, name: str, cell: GatedCell, dtype: str, sizes: Sizes, backends) -> Iterator[Race]:
    label = f"{name}, B {sizes.batch}, T {sizes.time}"
    xs = jax.ShapeDtypeStruct((sizes.time, sizes.batch, sizes.features), dtype)
    taking = [backend for backend in backends if backend.refuses(cell, xs) is None]
    if group == "dense" and (type(cell) is not LSTM or dtype == "float32"):
        taking = [backend for backend in taking if not isinstance(backend, Scan)]  # it compiles long and says no more
    draw = functools.partial(_arguments, cell, dtype, sizes)
    for mode in MODES:
        programs: dict[str, Callable] = {type(b).__name__: _program(cell, b, mode, {}) for b in taking}
        if cell.heads == 1 and importlib.util.find_spec("torch"):
            programs["torch"] = functools.partial(_torch, type(cell).__name__, dtype, sizes, mode)
        yield Race(group, label, dtype, mode, programs, draw, True, operations(cell, sizes, mode))


def _flags(sizes: Sizes, heads: int, backends) -> Iterator[Race]:
    """What masks, lengths and resets cost."""
    cell, dtype = LSTM(sizes.hidden, heads=heads), "bfloat16"
    keys = jax.random.split(jax.random.key(1), 3)
    flags = {
        "mask": jax.random.bernoulli(keys[0], 0.9, (sizes.time, sizes.batch)),
        "resets": jax.random.bernoulli(keys[1], 0.05, (sizes.time, sizes.batch)),
        "lengths": jax.random.randint(keys[2], (sizes.batch,), sizes.time // 2, sizes.time + 1),
    }
    backend = backends[0]
    xs = jax.ShapeDtypeStruct((sizes.time, sizes.batch, sizes.features), dtype)
    if backend.refuses(cell, xs) is None:
        draw = functools.partial(_arguments, cell, dtype, sizes)
        for mode in MODES:
            programs = {
                name: _program(cell, backend, mode, given)
                for name, given in ((type(backend).__name__, flags), ("without flags", {}))
            }
            label = f"{_name(cell)} with lengths, mask and resets"
            yield Race("flags", label, dtype, mode, programs, draw, True, operations(cell, sizes, mode))


def _linear(number: str, sizes: Sizes, backends) -> Iterator[Race]:
    """The scan of linear cells alone, all of whose a and b are streams; backward reads g, a and h, writes da and db."""
    scans: dict[str, Callable] = {"Associative": parallel_scan, "Scan": sequential_scan}
    kernels = backends[0]
    if (
        isinstance(kernels, Pallas)
        and kernels.chip is not None
        and kernels.refuses(LRU(4, 3), jnp.zeros((1, 1, 3))) is None
    ):
        scans = {"Pallas": fused_scan(kernels.chip, kernels.interpret)} | scans
    shape = (sizes.time, sizes.batch, sizes.hidden)
    dtype = "complex64" if number == "complex" else "float32"

    def draw():
        keys = jax.random.split(jax.random.key(2), 2)
        a = jax.random.uniform(keys[0], shape)
        if number == "complex":
            a = 0.9 * jnp.exp(1j * a)
        return a.astype(dtype), jax.random.normal(keys[1], shape, dtype), jnp.zeros(shape[1:], dtype)

    def program(scan, mode: str):
        def forward(a, b, h0):
            return scan(a, b, h0, None, False)

        def both(a, b, h0):
            hs, pullback = jax.vjp(forward, a, b, h0)
            return pullback(hs)

        return forward if mode == FORWARD else both

    size = math.prod(shape) * jnp.dtype(dtype).itemsize
    for mode in MODES:
        programs = {name: program(scan, mode) for name, scan in scans.items()}
        label = f"{number} linear scan, {sizes.hidden} units, B {sizes.batch}, T {sizes.time}"
        yield Race("linear", label, dtype, mode, programs, draw, False, bytes=size * (3 if mode == FORWARD else 8))


def _torch(module: str, dtype: str, sizes: Sizes, mode: str) -> Callable[[], Any]:
    """torch's module, eager, as its users call it; what it returns waits for the results."""
    torch = importlib.import_module("torch")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = getattr(torch, dtype)
    layer = getattr(torch.nn, module)(sizes.features, sizes.hidden, device=device, dtype=kind)
    xs = torch.randn(sizes.time, sizes.batch, sizes.features, device=device, dtype=kind).requires_grad_(mode == BOTH)

    def call():
        if mode == FORWARD:
            with torch.no_grad():
                layer(xs)
        else:
            layer.zero_grad()
            xs.grad = None
            ys = layer(xs)[0]
            ys.backward(ys.detach())
        return torch.cuda.synchronize if device.type == "cuda" else lambda: None

    return call
