"""The kernels for GPUs by their equations, in interpret mode, and as far towards a GPU as they go without one."""

import functools
import importlib
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import GRU, LRU, LSTM, Elman, GatedCell, LinearCell, MinGRU, Pallas, PeepholeLSTM, Scan, explain, unroll
from jaxrnn.backends.meeting import are_units_apart
from jaxrnn.errors import UnsupportedBackend
from jaxrnn.kernels import chips, warpgroups
from jaxrnn.kernels.chips import CHIPS
from jaxrnn.kernels.mosaic import interpreter
from jaxrnn.kernels.plan import Plan, Problem, block_memory, plan
from jaxrnn.stochastic import recurrent_dropout, zoneout
from tests.backends.test_pallas import Centred, Made, compare
from tests.checks import assert_close, cast, draw_arguments
from tests.examples import CELLS, UserGated, UserLinear, UserNoise, name

KERNEL = Pallas("h200", interpret=True)
PLANS = {jnp.bfloat16: Plan(16, 2, 1)}  # fewer steps ahead than there are
new_enough = pytest.mark.skipif(jax.__version_info__ < (0, 11), reason="kernels for GPUs need a newer JAX")


@pytest.mark.skipif(jax.__version_info__ >= (0, 11), reason="here they run")
def test_refused_on_an_older_jax():
    with pytest.raises(UnsupportedBackend, match="its kernels for GPUs need JAX 0.11 or newer, and this is 0.10"):
        explain(LSTM(8), jnp.zeros((3, 2, 4), jnp.bfloat16), backend=KERNEL)


@new_enough
@pytest.mark.parametrize(
    "cell, time, batch",
    [
        (LSTM(20), 1, 1),
        (GRU(33), 2, 7),
        (PeepholeLSTM(34, heads=2), 63, 16),
        (Elman(64), 257, 7),
        (UserGated(9), 5, 17),
    ],
    ids=lambda v: name(v) if isinstance(v, GatedCell) else str(v),
)
def test_gated_cells_against_float64(cell, time, batch):
    """Heads that are filled up and one that is not, one tile of sequences and two, with all flags."""
    compare(cell, KERNEL, time, (batch,), jnp.bfloat16, reverse=batch == 7)


@new_enough
@pytest.mark.parametrize(
    "cell, time, batch",
    [(LRU(20, 3), 1, 1), (LRU(150, 3), 20, 2), (MinGRU(33), 63, 7), (UserLinear(9), 34, 7)],
    ids=lambda v: name(v) if isinstance(v, LinearCell) else str(v),
)
def test_linear_cells_against_float64(cell, time, batch):
    compare(cell, KERNEL, time, (batch,), jnp.float32, reverse=batch == 7)


@new_enough
def test_heads_of_several_warpgroups():
    """In a process of its own, which has the threads that interpreting them takes."""
    code = (
        "import jax, jax.numpy as jnp; jax.config.update('jax_enable_x64', True)\n"
        "from tests.backends.test_pallas_gpu import *\n"
        "for cell, batch in ((LSTM(70), 3), (PeepholeLSTM(256, heads=2), 16), (Elman(200), 3)):\n"
        "    compare(cell, KERNEL, 4, (batch,), jnp.bfloat16)\n"
        "print('compared')"
    )
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "compared", done.stderr


@new_enough
@pytest.mark.skipif((os.cpu_count() or 1) >= 8, reason="enough threads")
def test_interpreting_needs_threads():
    with pytest.raises(UnsupportedBackend, match="XLA_FLAGS=--xla_force_host_platform_device_count=8"):
        explain(LSTM(70), jnp.zeros((3, 2, 4), jnp.bfloat16), backend=KERNEL)


@new_enough
def test_no_races(monkeypatch):
    """By the interpreter's detector, which sees every access of shared and of global memory."""
    mode = interpreter()
    force, detecting = mode.force_gpu_interpret_mode, mode.InterpretGPUParams(detect_races=True)
    monkeypatch.setattr(mode, "force_gpu_interpret_mode", lambda _: force(detecting))
    detector = importlib.import_module("jax._src.pallas.mosaic_gpu.interpret.gpu_callbacks")

    def races(cell, time, dtype) -> bool:
        jax.clear_caches()
        try:
            compare(cell, Pallas("h200", interpret=True, plan=PLANS.get(dtype)), time, (3,), dtype)
        except jax.errors.JaxRuntimeError:  # newer versions raise at the first
            return True
        finally:
            jax.clear_caches()
        return detector.get_races().races_found

    assert not races(LSTM(8), 7, jnp.bfloat16)
    assert not races(MinGRU(8), 40, jnp.float32)
    monkeypatch.setattr(warpgroups.Place, "meet", lambda self, barrier: None)
    assert races(LSTM(8), 7, jnp.bfloat16)


@new_enough
def test_any_number_of_steps_ahead():
    """The plan decides when a step is fetched, not what comes out."""
    plans = [Pallas("h200", interpret=True, plan=Plan(16, ahead, 1)) for ahead in (1, 3, 4)]
    first, *others = [compare(GRU(8), kernels, 6, (3,), jnp.bfloat16) for kernels in plans]
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(other), strict=True))


@new_enough
def test_checkpoints_and_larger_tiles_are_the_whole():
    for other, time, batch, limit in (
        (Pallas("h200", interpret=True, checkpoint_every=5), 13, (4,), 2e-2),
        (Pallas("h200", interpret=True, plan=Plan(32, 2, 1)), 5, (20,), 1e-6),
    ):
        both = [compare(LSTM(8), backend, time, batch, jnp.bfloat16) for backend in (other, KERNEL)]
        assert_close(*both, limit)


@new_enough
def test_noise_of_a_whole_sequence_and_of_each_step():
    """A mask (batch, hidden) among the pointwise parameters, masks beside u, and one number for all units."""
    zoned = zoneout(LSTM(8), (0.1, 0.3))
    cell = recurrent_dropout(zoned, 0.25)
    key, xs = jax.random.key(0), jax.random.normal(jax.random.key(1), (5, 3, 3), jnp.bfloat16)
    params = cell.init(key, 3, jnp.bfloat16)
    params, xs = cell.with_mask(key, params, xs), zoned.with_masks(key, xs)

    def loss(params, xs, backend):
        return jnp.sum(unroll(cell, params, xs, backend=backend)[1].astype(jnp.float32) ** 2)

    gradient = jax.grad(loss, (0, 1))
    assert_close(gradient(params, xs, KERNEL), gradient(params, xs, Scan()), 2e-2)
    compare(UserNoise(8), KERNEL, 4, (3,), jnp.bfloat16)
    for shape in ((), (1,), (8,)):
        compare(Made(8, lambda x, p: x * p, shape), KERNEL, 4, (3, 2), jnp.bfloat16)


@new_enough
@pytest.mark.parametrize("cell, dtype", [(LSTM(6), jnp.bfloat16), (LRU(6, 3), jnp.float32)], ids=["LSTM", "LRU"])
def test_vmap_and_second_derivatives(cell, dtype):
    params = cell.init(jax.random.key(0), 3, dtype)
    xs = jax.random.normal(jax.random.key(1), (4, 2, 3), dtype)
    each = jax.tree.map(lambda p: jnp.stack([p, p / 2]), params)

    def loss(params, backend):
        return jnp.sum(unroll(cell, params, xs, backend=backend)[1].astype(jnp.float32) ** 2)

    def size_of_gradient(params, backend):
        gradient = jax.grad(loss)(params, backend)
        return sum(jnp.sum(jnp.abs(leaf.astype(jnp.float32)) ** 2) for leaf in jax.tree.leaves(gradient))

    limit = 2e-2 if dtype == jnp.bfloat16 else 1e-5
    for function, tolerance in ((jax.grad(loss), limit), (jax.grad(size_of_gradient), 2 * limit)):
        mapped = [jax.vmap(functools.partial(function, backend=backend))(each) for backend in (KERNEL, Scan())]
        assert_close(*mapped, tolerance)


@new_enough
@pytest.mark.parametrize(
    "act",
    [
        lambda x, p: x * x.shape[-1] ** -0.5,
        lambda x, p: x / x.shape[0],
        lambda x, p: x * jnp.sum(p),
        lambda x, p: x / jnp.linalg.norm(p),
        lambda x, p: x * p[0],
        lambda x, p: x + jnp.cumsum(p),
    ],
    ids=["units", "sequences", "sum", "norm", "one of them", "those before"],
)
def test_units_that_meet_or_are_counted_are_refused(act):
    """A kernel sees them transposed and filled up."""
    with pytest.raises(UnsupportedBackend, match="meet or are counted|reads how many there are|may meet"):
        explain(Made(8, act, (8,)), jnp.zeros((3, 2, 4), jnp.bfloat16), backend=KERNEL)


@new_enough
@pytest.mark.parametrize(
    "cell", [LSTM(1), PeepholeLSTM(1), Elman(8, "relu"), Made(8, lambda x, p: jax.nn.softplus(x))], ids=name
)
def test_single_units_and_derivatives_of_their_own(cell):
    compare(cell, KERNEL, 3, (3,), jnp.bfloat16)


@new_enough
@pytest.mark.parametrize("cell", [*CELLS, Elman(8, "relu")], ids=name)
def test_every_cell_lowers_for_a_gpu_or_is_refused(cell):
    """Without one, with both passes and all flags. Refused are cells that are neither, and units that meet."""
    if isinstance(cell, LinearCell):
        xs = cast(draw_arguments(cell).xs, jnp.float32)
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), xs.shape[-1], jnp.float32))
        gradient = jax.grad(lambda p, xs: jnp.sum(unroll(cell, p, xs, backend=Pallas("h100"))[1]))
        assert jax.jit(gradient).trace(params, xs).lower(lowering_platforms=("cuda",)).as_text()
    else:
        refusal = Pallas("h100").refuses(cell, cast(draw_arguments(cell).xs, jnp.bfloat16))
        assert (refusal is None) == isinstance(cell, GatedCell), refusal


@new_enough
@pytest.mark.parametrize(
    "cell, dtype, backend, words",
    [
        (LSTM(4), jnp.float32, Pallas("h200"), "gated cells for GPUs take bfloat16, and `xs` is float32"),
        (
            Centred(8),
            jnp.bfloat16,
            KERNEL,
            "unit by unit, and in that of Centred units meet or are counted",
        ),
        (
            LSTM(256),
            jnp.bfloat16,
            Pallas("h200"),
            r"4 recurrent matrices of 256 x 256 .* take \d+ KiB .*h200 has 227; the widest head that fits has 128",
        ),
        (Elman(320), jnp.bfloat16, Pallas("h100"), "1 recurrent matrix of 320 x 320 .* fits has 256 units"),
        (
            LSTM(4),
            jnp.bfloat16,
            Pallas("h100", plan=Plan(8, 1, 1)),
            "16 or 32 sequences .* asks for 8 sequences",
        ),
        (Made(4, lambda x, p: jax.lax.erf_inv(x)), jnp.bfloat16, Pallas("h100"), "cannot hold the update of Made"),
    ],
    ids=lambda v: name(v) if isinstance(v, GatedCell) else None,
)
def test_refuses_in_words(cell, dtype, backend, words):
    with pytest.raises(UnsupportedBackend, match=words):
        explain(cell, jnp.zeros((5, 2, 3), dtype), backend=backend)


@new_enough
@pytest.mark.parametrize("cell", [LSTM(128), GRU(64), PeepholeLSTM(128), Elman(256), UserGated(64)], ids=name)
def test_the_plan_counts_the_shared_memory_that_kernels_ask_for(cell, monkeypatch):
    planned, asked = [], []

    def record(self, kernel, inputs, outputs, scratch, interpret):
        arrays = [s for s in scratch.values() if not isinstance(s, warpgroups.plgpu.Barrier)]
        asked.append((planned[-1], sum(np.prod(s.shape) * jnp.dtype(s.dtype).itemsize for s in arrays)))
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), outputs)

    monkeypatch.setattr(warpgroups.Block, "call", record)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr("jaxrnn.backends.pallas.plan", lambda *problem: planned.append(problem) or plan(*problem))
    xs = jnp.zeros((5, 16, 3), jnp.bfloat16)
    params = cell.init(jax.random.key(0), 3, jnp.bfloat16)
    jax.clear_caches()
    jax.grad(lambda p: jnp.sum(unroll(cell, p, xs, mask=xs[..., 0] == 0, backend=KERNEL)[1]))(params)
    jax.clear_caches()
    assert len(asked) == 3  # forward without a gradient, as it is traced first; forward and backward with one
    for (problem, chip, trained), _ in asked:
        tiles = plan(problem, chip, trained)
        predicted = block_memory(problem, tiles.batch_tile, tiles.chunk, trained)
        most = max(size for (_, _, other), size in asked if other == trained)
        assert predicted - 4096 <= most <= predicted <= chip.memory
        if tiles.chunk < 4:
            assert block_memory(problem, tiles.batch_tile, tiles.chunk + 1, trained) > chip.memory


@new_enough
def test_explain_tells_the_plan():
    chosen = explain(GRU(64), jnp.zeros((5, 2, 3), jnp.bfloat16), backend=Pallas("h200")).backend
    assert chosen == Pallas("h200", plan=Plan(16, 4, 227 << 10))


def test_plans_of_blocks():
    lstm = functools.partial(Problem, time=1000, batch=64, gates=4, carries=2, itemsize=2)
    assert plan(lstm(width=64), CHIPS["h100"])[:2] == (16, 4)
    assert plan(lstm(width=128), CHIPS["h200"])[:2] == (16, 1)
    assert plan(Problem(time=9, batch=1, width=256, gates=1, itemsize=2), CHIPS["h200"])[:2] == (16, 1)
    with pytest.raises(UnsupportedBackend, match="the widest head that fits has 128 units"):
        plan(lstm(width=192), CHIPS["h200"])


@pytest.mark.parametrize(
    "kind, chip",
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("TPU v5 lite", "v5e"),
        ("TPU v5", "v5p"),
        ("cpu", None),
    ],
)
def test_chips_by_what_jax_calls_them(kind, chip, monkeypatch):
    device = type("Device", (), {"device_kind": kind})
    monkeypatch.setattr(jax, "devices", lambda: [device])
    found = chips.chip_at_hand()
    assert (found and found.name) == chip


def test_a_reshaped_sum_keeps_its_units():
    """As the derivative of a parameter (hidden,) that is broadcast over sequences; else a GRU's heads are one group."""
    shape = jax.ShapeDtypeStruct((11, 5), jnp.float32)
    update = lambda p, carry, u, v: (carry[0] * p[None, :],)  # noqa: E731
    assert are_units_apart(update, jax.ShapeDtypeStruct((5,), jnp.float32), (shape,), (shape,), (shape,))
