"""Every kernel on the device against a scan in float64 on the processor, each result by itself."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problems import UserCell
from jaxrnn import GRU, LRU, LSTM, Backend, Cell, CuDNN, Elman, MinGRU, Pallas, PeepholeLSTM, Scan, unroll
from jaxrnn.numerics import cast

FEATURES = 24
# Root mean square of the difference, as a share of that of the reference: of values and of gradients.
LIMITS = {"float32": (1e-5, 1e-5), "tf32": (1e-3, 1e-3), "bfloat16": (1e-2, 2e-2)}


class Check(NamedTuple):
    """A cell on a backend; `precision` of products, a key of LIMITS."""

    cell: Cell
    backend: Backend
    time: int
    batch: int
    precision: str

    def __str__(self):  # noqa: D105
        cell = f"{type(self.cell).__name__} of {getattr(self.cell, 'hidden_size', self.cell.output_size)}"
        heads = getattr(self.cell, "heads", 1)
        within = f" in {heads} heads" if heads > 1 else ""
        return f"{type(self.backend).__name__}, {cell}{within}, T {self.time}, B {self.batch}, {self.precision}"

    @property
    def xs(self) -> jax.ShapeDtypeStruct:
        """The inputs."""
        dtype = "bfloat16" if self.precision == "bfloat16" else "float32"
        return jax.ShapeDtypeStruct((self.time, self.batch, FEATURES), dtype)

    def refused(self) -> str | None:
        """Why the device does not take it, None if it does."""
        return self.backend.refuses(self.cell, self.xs)


def checks(kernels: Pallas, small: bool) -> Iterator[Check]:
    """All of them; `small`: for a smoke run."""
    gated = [
        (LSTM(64), 257, 7), (LSTM(768, heads=12), 63, 16), (GRU(768, heads=12), 63, 16), (GRU(33), 257, 1),
        (PeepholeLSTM(70), 63, 16), (Elman(250), 63, 7), (UserCell(100), 2, 7), (LSTM(128), 1, 16),
    ]  # fmt: skip
    linear = [(LRU(150, FEATURES), 257, 7), (MinGRU(512), 1000, 16), (MinGRU(33), 2, 1)]
    if small:
        gated, linear = [(LSTM(8), 3, 2), (UserCell(6), 2, 3)], [(MinGRU(4), 3, 2)]
    for precision in ("bfloat16", "float32"):
        yield from (Check(cell, kernels, time, batch, precision) for cell, time, batch in gated)
    yield from (Check(cell, kernels, time, batch, "float32") for cell, time, batch in linear)
    yield from (Check(LSTM(96), CuDNN(), 257, 7, precision) for precision in ("float32", "tf32"))


def _draw(check: Check, seed: int):
    """(parameters, inputs, carry), flags and cotangents, as NumPy arrays in float64."""
    rng = np.random.default_rng(seed)

    def noise(tree, scale: float = 1.0):
        def leaf(x):
            draw = rng.normal(size=x.shape)
            return scale * (draw + 1j * rng.normal(size=x.shape) if np.iscomplexobj(x) else draw)

        return jax.tree.map(leaf, tree)

    time, batch = check.time, check.batch
    with jax.default_device(jax.devices("cpu")[0]):
        params = check.cell.init(jax.random.key(seed), FEATURES, jnp.float32)
        carry = check.cell.init_carry((batch,), jnp.float32)
        params, carry = jax.tree.map(np.asarray, (params, carry))
    moved = jax.tree.map(lambda w, n: w + n, params, noise(params, 0.3 / np.sqrt(check.cell.output_size)))
    arguments = moved, rng.normal(size=(time, batch, FEATURES)), noise(carry)
    flags: dict[str, Any] = {"lengths": rng.integers(1, time, batch, endpoint=True).astype(np.int32)}
    if not isinstance(check.backend, CuDNN):
        flags |= {"mask": rng.random((time, batch)) < 0.8, "resets": rng.random((time, batch)) < 0.1}
    cotangents = noise(carry), rng.normal(size=(time, batch, check.cell.output_size))
    return arguments, flags, cotangents


def _results(check: Check, backend: Backend, arguments, flags, cotangents, runs: int = 1) -> list[dict[str, Any]]:
    """Outputs, last carry and gradients by name, of every run."""

    def run(params, xs, carry):
        return unroll(check.cell, params, xs, carry, backend=backend, **flags)

    def both(arguments):
        value, pullback = jax.vjp(run, *arguments)
        weights = jax.tree.map(lambda c, v: jnp.asarray(c, v.dtype), cotangents, value)
        return value, pullback(weights)

    def named(value, gradient):
        (carry, ys), (d_params, d_xs, d_carry) = value, gradient
        found = {"outputs": ys, "last carry": carry, "d inputs": d_xs, "d carry": d_carry}
        return found | {f"d {name}": d for name, d in d_params._asdict().items() if jax.tree.leaves(d)}

    compiled = jax.jit(both)
    return [named(*compiled(arguments)) for _ in range(runs)]


def differences(check: Check, seed: int) -> dict[str, tuple[float, float]]:
    """For each result (share of the reference's root mean square, limit); the kernels run twice, to the same bits."""
    arguments, flags, cotangents = _draw(check, seed)
    dtype = check.xs.dtype
    params, xs, carry = jax.tree.map(jnp.asarray, arguments)
    rounded = cast(params, dtype), cast(xs, dtype), cast(carry, jnp.float32)
    narrow = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": None}[check.precision]
    with jax.default_matmul_precision(narrow):
        found, again = _results(check, check.backend, rounded, flags, cotangents, runs=2)
    same = all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(again), strict=True))
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        exact = cast(jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), rounded), jnp.float64)
        (expected,) = _results(check, Scan(), exact, flags, cotangents)
        shares = {name: _share(found[name], expected[name]) for name in found}
    value, gradient = LIMITS[check.precision]
    told = {name: (share, gradient if name.startswith("d ") else value) for name, share in shares.items()}
    return told | {"two runs differ": (0.0 if same else 1.0, 0.0)}


def _share(found, expected) -> float:
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    shares = []
    for a, b in pairs:
        wide = np.complex128 if np.iscomplexobj(b) else np.float64
        a, b = np.asarray(a).astype(wide), np.asarray(b)
        shares.append(float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30)))
    return max(shares) if np.isfinite(shares).all() else float("inf")
