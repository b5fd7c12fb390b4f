"""The comparison that every suite uses, and a case: one cell with inputs on which everything acts at once."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import Cell
from tests import oracles
from tests.examples import FEATURES

TIME, BATCH = 11, 4


class Arguments(NamedTuple):
    """What a run is differentiated by."""

    params: Any
    xs: Any
    carry: Any


class Acts(NamedTuple):
    """What acts in a run."""

    lengths: Any = None
    mask: Any = None
    resets: Any = None


def assert_close(actual, expected, tolerance: float) -> None:
    """Same tree, same shapes, all finite, and every leaf within `tolerance` of the expected by root mean square."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(expected)]
    for path, a, e in zip(paths, jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, e = wide(a), wide(e)
        assert a.shape == e.shape, f"{path}: shape {a.shape}, expected {e.shape}"
        assert np.isfinite(e).all(), f"{path}: the expected value is not finite, so it can show nothing"
        assert np.isfinite(a).all(), f"{path}: not finite"
        error, scale = np.linalg.norm(a - e), np.linalg.norm(e)
        assert error <= tolerance * scale, f"{path}: off by {error:.3g} of {scale:.3g}, allowed {tolerance:.0e} of it"


def wide(x) -> np.ndarray:
    """In double precision, as NumPy."""
    x = np.asarray(x)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def cast(tree, dtype):
    """Real leaves in `dtype`, complex ones in the counterpart of the carry's dtype."""
    complex_dtype = jnp.complex128 if dtype == jnp.float64 else jnp.complex64
    return jax.tree.map(lambda x: jnp.asarray(x).astype(complex_dtype if np.iscomplexobj(x) else dtype), tree)


def carry_dtype(dtype):
    return jnp.float32 if jnp.finfo(dtype).bits == 16 else dtype


def noise_like(rng, tree):
    """A normal draw in the shape of every leaf, complex where the leaf is."""

    def leaf(x):
        draw = rng.normal(size=x.shape)
        return draw + 1j * rng.normal(size=x.shape) if np.iscomplexobj(x) else draw

    return jax.tree.map(leaf, tree)


def plus(tree, other, scale=1.0):
    return jax.tree.map(lambda a, b: np.asarray(a) + scale * b, tree, other)


def inner(gradient, direction) -> float:
    """The directional derivative that a gradient gives, by JAX's convention for complex leaves."""
    products = jax.tree.map(lambda g, d: np.sum(wide(g) * wide(d)).real, gradient, direction)
    return sum(jax.tree.leaves(products))


def draw_arguments(cell: Cell, seed=0, time=TIME, batch=(BATCH,), scale=0.3) -> Arguments:
    """Float64 arguments with every bias, peephole and starting carry away from zero."""
    rng = np.random.default_rng(seed)
    params = cell.init(jax.random.key(seed), FEATURES, jnp.float64)
    start = cell.init_carry(batch, jnp.float64)
    xs: Any = rng.normal(size=(time, *batch, FEATURES))
    if getattr(cell, "noise", False):
        xs = xs, rng.uniform(size=(time, *batch, start.h.shape[-1]))
    return Arguments(plus(params, noise_like(rng, params), scale), xs, plus(start, noise_like(rng, start)))


def draw_acts(seed=0, time=TIME, batch=(BATCH,)) -> Acts:
    """Lengths with a full and an empty one among them, masks and resets, all at random."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, time, batch, endpoint=True)
    lengths.flat[:2] = time, 0
    return Acts(lengths, rng.random((time, *batch)) < 0.7, rng.random((time, *batch)) < 0.25)


def spoil(xs, acts: Acts):
    """xs with NaN wherever nothing acts."""
    time = len(acts.mask)
    active = acts.mask & (np.arange(time).reshape(-1, *(1,) * acts.lengths.ndim) < acts.lengths)
    return jax.tree.map(lambda x: np.where(active[..., None], x, np.nan), xs)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def value_and_gradient(unroll, cell, backend, reverse, arguments: Arguments, acts: Acts, cotangents):
    """((carry, ys), gradient of the sum of both weighted by `cotangents`), in one compiled function."""

    def run(arguments: Arguments):
        return unroll(cell, *arguments, **acts._asdict(), reverse=reverse, backend=backend)

    value, pullback = jax.vjp(run, arguments)
    weights = jax.tree.map(lambda c, v: c.astype(v.dtype), cotangents, value)
    return value, pullback(weights)[0]


class Case:
    """A cell with arguments, flags and cotangents, and what must come out."""

    def __init__(self, cell: Cell, seed: int = 0):
        self.cell = cell
        self.acts = draw_acts(seed)
        clean = draw_arguments(cell, seed)
        self.arguments = clean._replace(xs=spoil(clean.xs, self.acts))
        shapes = clean.carry, np.zeros((TIME, BATCH, cell.output_size))
        self.cotangents = noise_like(np.random.default_rng(seed + 1), shapes)

    def run(self, backend, reverse: bool, dtype=jnp.float64, unroll=jaxrnn.unroll):
        """Value and gradient on a backend, in a dtype."""
        return value_and_gradient(
            unroll, self.cell, backend, reverse, self.at(dtype), self.acts, cast(self.cotangents, jnp.float64)
        )

    def at(self, dtype) -> Arguments:
        """The arguments rounded to `dtype`, the carry to the one that belongs to it."""
        a = self.arguments
        return Arguments(cast(a.params, dtype), cast(a.xs, dtype), cast(a.carry, carry_dtype(dtype)))

    @functools.cache  # noqa: B019
    def reference(self, reverse: bool, dtype=jnp.float64):
        """Value and gradient by `Scan()` in float64, of the arguments as `dtype` rounds them."""
        rounded = cast(self.at(dtype), jnp.float64)
        acts, cotangents = self.acts, cast(self.cotangents, jnp.float64)
        return value_and_gradient(jaxrnn.unroll, self.cell, jaxrnn.Scan(), reverse, rounded, acts, cotangents)

    def check(self, backend, reverse: bool, unroll=jaxrnn.unroll) -> None:
        """Value and gradient agree with the reference: what every backend is held to, and mutants must fail."""
        assert_close(self.run(backend, reverse, unroll=unroll), self.reference(reverse), 1e-11)

    def check_equations(self, reverse: bool) -> None:
        """The values of `Scan()` are those of the oracle."""
        assert_close(self.reference(reverse)[0], self.loop(self.oracle_step, reverse), 1e-12)

    @functools.cached_property
    def own_step(self):
        """(cell, params, carry, x) -> (carry, y) by `project` and `step`, of one sample."""

        @jax.jit
        def step(params, carry, x):
            return self.cell.step(params, carry, self.cell.project(params, x))

        structure = jax.tree.structure(self.arguments.carry)
        xs_structure = jax.tree.structure(self.arguments.xs)

        def flat(cell, params, carry, x):
            carry, y = step(params, jax.tree.unflatten(structure, carry), jax.tree.unflatten(xs_structure, x))
            return jax.tree.leaves(carry), y

        return flat

    @functools.cached_property
    def oracle_step(self):
        """The paper's step for an exported cell; a user's cell is its own oracle."""
        name = type(self.cell).__name__
        if name not in oracles.STEPS:
            assert type(self.cell).__module__ == "tests.examples", f"{name} has no oracle: write it in tests/oracles.py"
            return self.own_step
        paper = oracles.STEPS[name]
        return lambda cell, params, carry, x: paper(cell, params, carry, x[0])

    def loop(self, step, reverse: bool, arguments: Arguments | None = None):
        """(carry, ys) of the whole batch by a Python loop over `step`."""
        params, xs, carry = self.arguments if arguments is None else arguments
        fresh = jax.tree.leaves(jax.tree.map(np.asarray, self.cell.init_carry((), jnp.float64)))
        ends, ys = [], []
        for b in range(BATCH):
            end, y = oracles.run(
                functools.partial(step, self.cell, params),
                fresh,
                [leaf[b] for leaf in jax.tree.leaves(carry)],
                [leaf[:, b] for leaf in jax.tree.leaves(xs)],
                self.cell.output_size,
                length=self.acts.lengths[b],
                mask=self.acts.mask[:, b],
                resets=self.acts.resets[:, b],
                reverse=reverse,
            )
            ends.append(end)
            ys.append(y)
        stacked = [np.stack(leaves) for leaves in zip(*ends, strict=True)]
        return jax.tree.unflatten(jax.tree.structure(carry), stacked), np.stack(ys, axis=1)
