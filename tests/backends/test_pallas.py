"""The fused kernels by their equations, in interpret mode: against float64, over ragged tiles, and what they refuse."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

from jaxrnn import (
    GRU,
    LRU,
    LSTM,
    Elman,
    GatedCell,
    HiddenCarry,
    Jordan,
    LinearCell,
    MinGRU,
    Pallas,
    PeepholeLSTM,
    Scan,
    UnsupportedBackend,
    explain,
    unroll,
)
from jaxrnn.backends.fused import pack
from jaxrnn.cell import recurrent_product
from jaxrnn.kernels.chips import CHIPS
from jaxrnn.kernels.plan import Plan, Problem, memory, plan
from jaxrnn.stochastic import recurrent_dropout, zoneout
from tests.backends.test_chunked import equations
from tests.checks import Acts, assert_close, cast, draw_acts, draw_arguments, noise_like, value_and_gradient
from tests.examples import CELLS, UserGated, UserHeads, UserLinear, UserNoise, name

KERNEL = Pallas(interpret=True)
SMALL = Plan(batch_tile=4, chunk=16, limit=1 << 24)  # several tiles, and chunks that the steps do not fill


@dataclass(frozen=True)
class Centred(UserGated):
    """A unit's new state depends on all others, and a pointwise parameter is one number."""

    heads: int = 1

    def init(self, key, input_size, dtype=jnp.float32):
        return super().init(key, input_size, dtype)._replace(pointwise=jnp.ones((), dtype))

    def update(self, pointwise, carry, u, v):
        h = super().update((), carry, u, v).h
        return HiddenCarry(pointwise * (h - h.mean(-1, keepdims=True)))


@dataclass(frozen=True)
class Made(GatedCell):
    """tanh(u + v) through a function that also gets the pointwise parameters, drawn in some shape."""

    hidden_size: int
    act: Callable
    shape: tuple = ()
    heads: int = 1
    gates: ClassVar[int] = 1

    def init(self, key, input_size, dtype=jnp.float32):
        return super().init(key, input_size, dtype)._replace(pointwise=jax.random.normal(key, self.shape, dtype))

    def update(self, pointwise, carry, u, v):
        return HiddenCarry(self.act(jnp.tanh(u[0] + v[0]), pointwise))


@jax.custom_vjp
def clipped(x):
    return x


clipped.defvjp(lambda x: (x, None), lambda _, d: (d / jnp.maximum(1, jnp.linalg.norm(d, axis=-1, keepdims=True)),))


@dataclass(frozen=True)
class Wide(GatedCell):
    """A carry that is no array (*batch, hidden)."""

    hidden_size: int
    gates: ClassVar[int] = 1

    def init_carry(self, batch_shape=(), dtype=jnp.float32):
        return HiddenCarry(jnp.zeros((*batch_shape, self.hidden_size + 1), dtype))

    def update(self, pointwise, carry, u, v):
        return carry


def compare(cell, backend, time, batch, dtype, reverse=False, acts=True, seed=0):
    """Value and gradient of a backend against `Scan()` in float64 on the same rounded arguments, each array by itself.

    By root mean square: 1e-5 of the reference in float32; 1e-2 of values and 2e-2 of gradients in bfloat16.
    """
    scale = 0.5 / np.sqrt(cell.init_carry().h.shape[-1])  # weights that leave the network stable, not chaotic
    arguments = draw_arguments(cell, seed, time, batch, scale)
    rounded = arguments._replace(
        params=cast(arguments.params, dtype), xs=cast(arguments.xs, dtype), carry=cast(arguments.carry, jnp.float32)
    )
    flags = draw_acts(seed, time, batch) if acts and time > 1 and np.prod(batch) > 1 else Acts()
    shapes = arguments.carry, np.zeros((time, *batch, cell.output_size))
    cotangents = cast(noise_like(np.random.default_rng(seed + 1), shapes), jnp.float64)
    value, gradient = value_and_gradient(unroll, cell, backend, reverse, rounded, flags, cotangents)
    exact = cast(rounded, jnp.float64)
    expected, expected_gradient = value_and_gradient(unroll, cell, Scan(), reverse, exact, flags, cotangents)
    forward, backward = (1e-5, 1e-5) if dtype == jnp.float32 else (1e-2, 2e-2)
    assert_close(value, expected, forward)
    assert_close(gradient, expected_gradient, backward)
    assert value[1].dtype == dtype
    return value, gradient


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=lambda d: d.__name__)
@pytest.mark.parametrize(
    "cell, time, batch",
    [
        (LSTM(20), 1, 1),
        (GRU(33), 2, 7),
        (PeepholeLSTM(17), 63, 16),
        (LSTM(8), 257, 7),
        (UserGated(9), 257, 16),
        (Elman(130), 63, 1),
    ],
    ids=lambda v: name(v) if isinstance(v, GatedCell) else str(v),
)
def test_gated_cells_against_float64(cell, time, batch, dtype):
    compare(cell, Pallas(interpret=True, plan=SMALL), time, (batch,), dtype, reverse=batch == 7)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=lambda d: d.__name__)
@pytest.mark.parametrize(
    "cell, time, batch",
    [(LRU(20, 3), 1, 1), (LRU(1100, 3), 20, 2), (MinGRU(33), 257, 16), (UserLinear(9), 63, 7)],
    ids=lambda v: name(v) if isinstance(v, LinearCell) else str(v),
)
def test_linear_cells_against_float64(cell, time, batch, dtype):
    compare(cell, KERNEL, time, (batch,), dtype, reverse=time == 257)


@pytest.mark.parametrize(
    "cell",
    [LSTM(256, heads=8), GRU(12, heads=3), Centred(12, heads=3), UserHeads(6, heads=2), UserNoise(8)],
    ids=name,
)
def test_heads_noise_and_what_reads_all_units(cell):
    compare(cell, Pallas(interpret=True, plan=SMALL), 11, (3, 2), jnp.float32)


def kernels(function, *arguments):
    """The kernels that a function runs, as equations."""
    program = jax.make_jaxpr(function)(*arguments)
    return [e for e in equations(program.jaxpr) if e.primitive.name == "pallas_call"]


@pytest.mark.parametrize(
    "cell, groups",
    [
        (LSTM(256, heads=8), 2),
        (LSTM(256, heads=2), 2),
        (LSTM(256), 1),
        (LSTM(96, heads=3), 1),
        (Centred(256, heads=2), 1),
    ],
    ids=lambda v: f"{name(v)} {v.hidden_size}" if isinstance(v, GatedCell) else str(v),
)
def test_heads_form_groups_of_whole_lanes(cell, groups):
    """128 units, or all where they are fewer, or where a unit's update reads the others."""
    params, xs = cell.init(jax.random.key(0), 3, jnp.float32), jnp.ones((5, 2, 3), jnp.float32)
    (kernel,) = kernels(lambda p: unroll(cell, p, xs, backend=KERNEL)[1], params)
    assert kernel.params["grid_mapping"].grid == (groups, 1, 1)


def test_packed_heads_multiply_as_apart():
    recurrent = jax.random.normal(jax.random.key(0), (8, 32, 128), jnp.float32)
    h = jax.random.normal(jax.random.key(1), (2, 256), jnp.float32)
    packed = pack(recurrent, gates=4, width=128)
    assert packed.shape == (2, 4, 128, 128)
    products = jnp.einsum("bgi,gkij->kbgj", h.reshape(2, 2, 128), packed).reshape(4, 2, 256)
    assert_close(tuple(products), recurrent_product(h, recurrent, 4), 1e-6)


@pytest.mark.parametrize(
    "cell",
    [
        Made(8, lambda x, p: x * p[0], (8,)),
        Made(8, lambda x, p: x * jax.nn.softmax(p, axis=0), (8,)),
        Made(8, lambda x, p: x * p.sum()),
        Made(8, lambda x, p: x * p.sum(), (1,)),
        Made(8, lambda x, p: x + 0 * jnp.cumsum(x, axis=-1) + p * jnp.max(x, axis=-1, keepdims=True)),
        Made(256, lambda x, p: clipped(3 * x) * p, heads=2),
        Made(256, lambda x, p: x * jnp.ones(256, x.dtype) * p, heads=2),
        Made(256, lambda x, p: x * p, (256,), heads=2),
    ],
)
def test_updates_that_are_more_than_entry_by_entry(cell):
    """Read by the kernels as they stand: numbers, sums over units, derivatives of their own."""
    compare(cell, Pallas(interpret=True, plan=SMALL), 5, (10,), jnp.float32, acts=False)


@pytest.mark.parametrize(
    "cell, words",
    [
        (Made(8, lambda x, p: x - x.mean(0)), "sequences tile by tile, and they may meet in"),
        (Made(8, lambda x, p: x * p[0], (10, 8)), "sequences tile by tile, and they may meet in the `slice`"),
        (Made(8, lambda x, p: x @ x.T @ x), "sequences tile by tile, and they may meet in the `transpose`"),
        (Made(8, lambda x, p: x[::-1]), "sequences tile by tile, and they may meet in the `rev`"),
        (Made(8, lambda x, p: x * p, (3, 8)), r"pointwise parameters of Made as \(hidden,\)"),
        (Made(8, lambda x, p: x * np.arange(8, dtype=np.float32)), "no constant arrays"),
        (Made(8, lambda x, p: jax.jit(lambda y: y * np.arange(8, dtype=np.float32))(x)), "no constant arrays"),
    ],
)
def test_refuses_updates_that_tiles_would_change(cell, words):
    assert re.search(words, KERNEL.refuses(cell, jax.ShapeDtypeStruct((5, 10, 3), jnp.float32)))


def test_a_refusal_is_of_its_own_settings():
    """Precision is part of what was asked; one that kernels do not know becomes the highest."""
    xs = jax.ShapeDtypeStruct((9, 4, 3), jnp.float32)
    for precision in ("high", "tensorfloat32", None):
        with jax.default_matmul_precision(precision):
            assert Pallas("v5e").refuses(LSTM(8), xs) is None


@pytest.mark.parametrize(
    "act",
    [lambda x, p: x * x.shape[-1] ** -0.5, lambda x, p: x * p.mean(), lambda x, p: x / jnp.linalg.norm(p)],
    ids=["number of units", "mean", "norm"],
)
def test_heads_whose_units_are_counted_or_reduced_stay_together(act):
    """Else a group of them would count itself."""
    compare(Made(256, act, (256,), heads=2), KERNEL, 3, (2,), jnp.float32)


def test_sequences_that_are_counted_are_refused():
    with pytest.raises(UnsupportedBackend, match="its update reads how many there are"):
        explain(Made(4, lambda x, p: x / x.shape[0]), jnp.zeros((3, 2, 4), jnp.float32), backend=KERNEL)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_noise_of_a_whole_sequence_and_of_each_step(training):
    """A mask (batch, hidden) among the pointwise parameters, and masks beside u."""
    zoned = zoneout(LSTM(8), (0.1, 0.3))
    cell = recurrent_dropout(zoned, 0.25)
    key, xs = jax.random.key(0), jax.random.normal(jax.random.key(1), (12, 5, 3), jnp.float32)
    params = cell.init(key, 3, jnp.float32)
    if training:
        params, xs = cell.with_mask(key, params, xs), zoned.with_masks(key, xs)

    def loss(params, xs, backend):
        return jnp.sum(unroll(cell, params, xs, backend=backend)[1] ** 2)

    gradient = jax.grad(loss, (0, 1))
    assert_close(gradient(params, xs, KERNEL), gradient(params, xs, Scan()), 1e-5)


def test_checkpoints_are_the_whole():
    """Kernels of 5 steps between checkpoints, and one of all."""
    for cell in (LSTM(8), GRU(8)):
        parts, whole = Pallas(interpret=True, checkpoint_every=5), KERNEL
        assert_close(compare(cell, parts, 23, (4,), jnp.float32), compare(cell, whole, 23, (4,), jnp.float32), 1e-6)


def test_two_runs_are_equal_in_every_bit():
    first, second = (compare(PeepholeLSTM(8), Pallas(interpret=True, plan=SMALL), 40, (7,), jnp.float32) for _ in "ab")
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))


def test_what_a_kernel_does_not_write_shows_as_nan():
    """The interpreter poisons outputs: so finite results above say that every element was written."""

    def first_row(x_ref, y_ref):
        y_ref[0] = x_ref[0]

    shape = jax.ShapeDtypeStruct((2, 8), jnp.float32)
    y = pl.pallas_call(first_row, out_shape=shape, interpret=True)(jnp.ones((2, 8), jnp.float32))
    assert np.isfinite(y[0]).all() and np.isnan(y[1]).all()


@pytest.mark.parametrize("cell", [LSTM(6), LRU(6, 3)], ids=name)
@pytest.mark.parametrize("axes", [(0, None), (None, 2), (0, 2)], ids=["params", "xs", "both"])
def test_vmap(cell, axes):
    params = cell.init(jax.random.key(0), 3, jnp.float32)
    xs = jax.random.normal(jax.random.key(1), (9, 4, 2, 3), jnp.float32)
    each = jax.tree.map(lambda p: jnp.stack([p, p / 2]), params)

    def loss(params, xs, backend):
        return jnp.sum(unroll(cell, params, xs, backend=backend)[1] ** 2)

    def mapped(backend):
        gradient = jax.value_and_grad(functools.partial(loss, backend=backend), (0, 1))
        return jax.vmap(gradient, axes)(params if axes[0] is None else each, xs[:, :, 0] if axes[1] is None else xs)

    assert_close(mapped(KERNEL), mapped(Scan()), 1e-5)


@pytest.mark.parametrize(
    "cell, dtype, limit",
    [(PeepholeLSTM(6), jnp.float32, 1e-5), (LSTM(6), jnp.bfloat16, 4e-2), (LRU(6, 3), jnp.float32, 1e-5)],
    ids=["PeepholeLSTM", "LSTM in bfloat16", "LRU"],
)
def test_second_derivatives(cell, dtype, limit):
    params = cell.init(jax.random.key(0), 3, dtype)
    xs = jax.random.normal(jax.random.key(1), (9, 4, 3), dtype)

    def size_of_gradient(params, backend):
        def loss(params):
            return jnp.sum(unroll(cell, params, xs, backend=backend)[1].astype(jnp.float32) ** 2)

        return sum(jnp.sum(leaf.astype(jnp.float32) ** 2) for leaf in jax.tree.leaves(jax.grad(loss)(params)))

    twice = jax.grad(size_of_gradient)
    assert_close(twice(params, KERNEL), twice(params, Scan()), limit)


def test_without_a_gradient_only_outputs_are_written():
    """In the dtype of xs, and no memory c beside them."""
    cell, xs = LSTM(8), jnp.ones((9, 4, 3), jnp.bfloat16)
    params = cell.init(jax.random.key(0), 3, jnp.bfloat16)

    def sequences(kernel):
        return [(v.aval.shape, v.aval.dtype) for v in kernel.outvars if len(v.aval.shape) == 3]

    (alone,) = kernels(lambda p: unroll(cell, p, xs, backend=KERNEL)[1], params)
    assert [(v.aval.shape, v.aval.dtype) for v in alone.outvars if len(v.aval.shape) == 3] == [
        ((9, 4, 8), jnp.bfloat16)
    ]
    trained = kernels(jax.grad(lambda p: unroll(cell, p, xs, backend=KERNEL)[1].astype(jnp.float32).sum()), params)
    assert len(trained) == 2
    assert sum(len(v.aval.shape) == 3 for v in trained[0].outvars) == 2


def test_no_sequences_and_no_steps():
    cell = LSTM(8)
    params = cell.init(jax.random.key(0), 3, jnp.float32)
    for shape in ((0, 4, 3), (5, 0, 3)):
        carry, ys = unroll(cell, params, jnp.ones(shape, jnp.float32), backend=KERNEL)
        assert ys.shape == (*shape[:-1], 8) and carry.c.shape == (shape[1], 8)
        assert explain(cell, jnp.ones(shape, jnp.float32), backend=KERNEL).backend == KERNEL


@pytest.mark.parametrize(
    "cell, dtype, backend, words",
    [
        (Jordan(4, 3), jnp.float32, KERNEL, "neither a GatedCell nor a LinearCell"),
        (LSTM(4), jnp.float32, Pallas(), "its kernels are for TPUs and Hopper GPUs, and the first device is cpu"),
        (LSTM(4), jnp.float64, KERNEL, "float32 and bfloat16, and `xs` is float64"),
        (LSTM(4), jnp.float16, KERNEL, "float32 and bfloat16, and `xs` is float16"),
        (LSTM(2048), jnp.bfloat16, Pallas("v4"), "MiB of on-chip memory with a gradient, and v4 has 16.0"),
        (Made(4, lambda x, p: jnp.expm1(x)), jnp.float32, Pallas("v5e"), "cannot hold the update of Made: .* expm1"),
        (
            Made(4, lambda x, p: x + jnp.linspace(0, 1, 4, dtype=x.dtype)),
            jnp.float32,
            Pallas("v5e"),
            "cannot hold the update of Made",
        ),
        (LRU(4, 3), jnp.float32, Pallas("v5e", checkpoint_every=2), "`checkpoint_every` and `plan` are for gated"),
        (Wide(4), jnp.float32, KERNEL, "the shapes of its parameters cannot be told|real arrays"),
    ],
    ids=lambda v: name(v) if isinstance(v, GatedCell) else None,
)
@pytest.mark.usefixtures("without_type_checks")
def test_refuses_in_words(cell, dtype, backend, words):
    xs = jnp.zeros((5, 2, 3), dtype)
    with pytest.raises(UnsupportedBackend, match=words):
        explain(cell, xs, backend=backend)


@pytest.mark.usefixtures("without_type_checks")
def test_options_are_checked():
    with pytest.raises(
        ValueError, match="`target` must be one of v4, v5e, v5p, v6e, 7x, h100, h200, or None, got 'v3'"
    ):
        Pallas("v3")
    with pytest.raises(ValueError, match="checkpoint_every"):
        Pallas(checkpoint_every=0)
    with pytest.raises(ValueError, match="`chunk` must be a whole number of at least 1, got 0"):
        Pallas(plan=Plan(2, 0, 1 << 20))
    with pytest.raises(TypeError, match="`plan` must be a jaxrnn.kernels.plan.Plan or None"):
        Pallas(plan=(2, 2, 1 << 20))


@pytest.mark.parametrize("cell", [LSTM(32), GRU(32), Elman(32), UserGated(32), UserHeads(32, heads=2)], ids=name)
@pytest.mark.parametrize("chip", ["v4", "7x"])
def test_kernels_lower_for_a_tpu_without_one(chip, cell):
    """With masks, resets and both passes: what the refusal looks at; `make tpu-check` compiles them."""
    assert Pallas(chip).refuses(cell, jax.ShapeDtypeStruct((9, 3, 4), jnp.bfloat16)) is None


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_every_gated_and_linear_cell_has_its_kernel(cell):
    """What newer versions of JAX name anew must not turn a cell away."""
    refusal = KERNEL.refuses(cell, cast(draw_arguments(cell).xs, jnp.float32))
    assert (refusal is None) == isinstance(cell, GatedCell | LinearCell), refusal


def test_plans_take_what_the_memory_holds():
    lstm = functools.partial(Problem, time=1000, gates=4, carries=2, itemsize=2)
    for chip, hidden in {"v4": 512, "v5p": 1024, "7x": 1024, "v5e": 2048, "v6e": 2048}.items():
        chip = CHIPS[chip]
        tiles = plan(lstm(batch=256, width=hidden), chip)
        assert memory(lstm(batch=256, width=hidden), *tiles[:2], trained=True) <= chip.memory
        assert tiles.batch_tile % 16 == 0 and tiles.chunk >= 1
        # Without a gradient there is room for as much or more.
        alone = plan(lstm(batch=256, width=hidden), chip, trained=False)
        assert alone.batch_tile * alone.chunk >= tiles.batch_tile * tiles.chunk
    assert plan(lstm(batch=7, width=128), CHIPS["v5e"]).batch_tile == 7  # a small batch is one tile, not filled up
    assert plan(lstm(batch=130, width=128), CHIPS["v5e"]).batch_tile == 80  # two equal tiles, not 128 and 2
    assert plan(lstm(batch=130, width=128), CHIPS["v6e"]).batch_tile == 130
    assert plan(lstm(batch=1, width=128)._replace(time=3), CHIPS["v5e"]).chunk == 3
    with pytest.raises(UnsupportedBackend, match=r"4 recurrent matrices of 4096 x 4096 .* take 13\d.\d MiB"):
        plan(lstm(batch=64, width=4096), CHIPS["v5e"])
