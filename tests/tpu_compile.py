"""Every kernel through the real TPU compiler, on a machine without a TPU: `make tpu-check`.

Not collected with the other tests, as it needs libtpu (the extra `tpu-check`). Nothing runs and no time is taken: what
is shown is that whole train steps compile, and that what the plan refuses does not.
"""

import os

os.environ.update(
    JAX_PLATFORMS="cpu",
    TPU_SKIP_MDS_QUERY="1",
    TPU_WORKER_HOSTNAMES="localhost",
    TPU_ACCELERATOR_TYPE="v5litepod-4",  # any: without one the compiler looks for the machine it is on
    ALLOW_MULTIPLE_LIBTPU_LOAD="1",  # several test workers
)

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from jaxrnn import GRU, LRU, LSTM, Elman, MinGRU, Pallas, PeepholeLSTM, UnsupportedBackend, unroll
from jaxrnn.kernels import gated_tpu
from jaxrnn.kernels.chips import CHIPS
from jaxrnn.kernels.plan import Plan, Problem, memory, plan
from tests.examples import UserGated, name

FEATURES = 40
CELLS = [Elman, LSTM, PeepholeLSTM, GRU, UserGated]
SIZES = [128, 256, 512, 1024, 2048]
OTHERS = [LSTM(768, heads=12), GRU(100), UserGated(7), MinGRU(256), LRU(1100, FEATURES), LRU(10, FEATURES)]
# TPUs, and up to which hidden size every cell has to train on them in bfloat16.
FLOORS = {"v4": 512, "v5p": 1024, "7x": 1024, "v5e": 2048, "v6e": 2048}


@functools.cache
def place(chip: str) -> SingleDeviceSharding:
    return SingleDeviceSharding(topologies.get_topology_desc(CHIPS[chip].topology, "tpu").devices[0])


def on_chip(chip: str, tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place(chip)), tree)


def compile_train_step(chip: str, cell, dtype, time: int, batch: int) -> str:
    """The whole gradient, with lengths, masks, resets and a starting carry; the text of what was compiled."""

    def loss(params, xs, carry, lengths, mask, resets):
        end, ys = unroll(
            cell, params, xs, carry, lengths=lengths, mask=mask, resets=resets, backend=Pallas(target=chip)
        )
        return ys.astype(jnp.float32).sum() + sum(jnp.abs(leaf).sum() for leaf in end)

    def arguments():
        flags = jnp.zeros((time, batch), bool)
        params = cell.init(jax.random.key(0), FEATURES, dtype)
        carry = cell.init_carry((batch,), jnp.float32)
        return params, jnp.zeros((time, batch, FEATURES), dtype), carry, jnp.zeros(batch, jnp.int32), flags, flags

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    return gradient.lower(*on_chip(chip, jax.eval_shape(arguments))).compile().as_text() or ""


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32], ids=lambda d: d.__name__)
@pytest.mark.parametrize("cell_type", CELLS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("chip", FLOORS)
@pytest.mark.parametrize("hidden", SIZES)
def test_train_steps_compile(chip, cell_type, hidden, dtype):
    """An odd batch, or one of several tiles, and steps that fill no chunk."""
    cell = cell_type(hidden)
    batch = 7 if hidden % 512 else 200
    refusal = Pallas(target=chip).refuses(cell, jax.ShapeDtypeStruct((37, batch, FEATURES), dtype))
    if refusal:
        assert "MiB of on-chip memory" in refusal
        assert not (dtype == jnp.bfloat16 and hidden <= FLOORS[chip]), refusal
        return
    text = compile_train_step(chip, cell, dtype, 37, batch)
    assert text.count("tpu_custom_call") >= 2


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32], ids=lambda d: d.__name__)
@pytest.mark.parametrize("cell", OTHERS, ids=name)
@pytest.mark.parametrize("chip", FLOORS)
def test_other_cells_compile(chip, cell, dtype):
    """Heads, sizes that fill no lanes, and linear cells, real and complex."""
    text = compile_train_step(chip, cell, dtype, 300, 7)
    assert text.count("tpu_custom_call") >= 2


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32], ids=lambda d: d.__name__)
@pytest.mark.parametrize(
    "cell_type, apart", [(LSTM, 0), (GRU, 1), (Elman, 0)], ids=lambda c: getattr(c, "__name__", "")
)
@pytest.mark.parametrize("chip", FLOORS)
def test_the_plan_accepts_what_compiles(chip, cell_type, apart, dtype):
    """The largest hidden size, in steps of 128, that the plan accepts compiles.

    The next one does not even in the smallest tiles, unless the plan is wrong by less than 2% of the memory.
    """
    carries = len(cell_type.carry_type._fields)

    def problem(hidden):
        return Problem(
            37, 16, hidden, cell_type.gates, apart=apart, carries=carries, itemsize=jnp.dtype(dtype).itemsize
        )

    def accepted(hidden) -> Plan | None:
        try:
            return plan(problem(hidden), CHIPS[chip])
        except UnsupportedBackend:
            return None

    hidden = 128
    while accepted(hidden + 128):
        hidden += 128
    compile_backward(chip, cell_type(hidden), apart, dtype, accepted(hidden))
    smallest = Plan(32 // jnp.dtype(dtype).itemsize, 1, CHIPS[chip].memory)
    if memory(problem(hidden + 128), *smallest[:2], trained=True) > 1.02 * CHIPS[chip].memory:
        with pytest.raises(jax.errors.JaxRuntimeError, match="vmem|would exceed memory"):
            compile_backward(chip, cell_type(hidden + 128), apart, dtype, smallest)


def compile_backward(chip: str, cell, apart: int, dtype, tiles: Plan) -> None:
    def sequence():
        return jnp.zeros((37, 16, cell.hidden_size), jnp.float32)

    def arguments():
        matrices = jnp.zeros((1, cell.gates, cell.hidden_size, cell.hidden_size), dtype)
        pointwise = jax.tree.map(lambda x: x[None], cell.init(jax.random.key(0), 1, jnp.float32).pointwise)
        states = cell.init_carry((16,), jnp.float32)
        constants = gated_tpu.Constants(matrices, pointwise)
        befores = jax.tree.map(lambda _: sequence(), states)
        vs = tuple(sequence() if gate >= cell.gates - apart else None for gate in range(cell.gates))
        outputs = jax.tree.map(lambda _: None, states)._replace(h=sequence())
        return constants, befores, (sequence(),) * cell.gates, vs, outputs, states

    def backward(constants, befores, us, vs, outputs, states):
        return gated_tpu.backward(cell.update, constants, befores, us, vs, outputs, states, None, tiles, False, False)

    jax.jit(backward).lower(*on_chip(chip, jax.eval_shape(arguments))).compile()
