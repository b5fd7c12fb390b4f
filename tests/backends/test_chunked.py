"""What ChunkedScan promises of its gradient's shape in memory, read off the program and off the compiler."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import (
    GRU,
    LRU,
    LSTM,
    Associative,
    Cell,
    ChunkedScan,
    Elman,
    GatedCell,
    HiddenCarry,
    MinGRU,
    PeepholeLSTM,
    ResetBeforeGRU,
    Scan,
    unroll,
)
from jaxrnn.backends.base import Steps
from jaxrnn.backends.traced import Traced
from tests.checks import Acts, Case, assert_close, draw_acts, draw_arguments
from tests.examples import UserHeads, UserNoise, UserReadout, name

TIME, CHUNK, BATCH, FEATURES, HIDDEN = 60, 10, 3, 2, 8
CELLS = [
    Elman(HIDDEN),
    LSTM(HIDDEN),
    PeepholeLSTM(HIDDEN),
    GRU(HIDDEN),
    UserReadout(HIDDEN),
    UserHeads(HIDDEN, heads=2),
]
GATED = [cell for cell in CELLS if cell.gates > 1]
BACKENDS = [ChunkedScan(CHUNK), ChunkedScan(CHUNK, checkpoint_every=20)]


def equations(jaxpr):
    """All equations of a program, those of inner programs too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in jax.tree.leaves(eqn.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def gradient_program(cell, backend, time=TIME, features=FEATURES, batch=BATCH):
    """The gradient by all arguments as a function, and shapes to trace it with."""

    def gradient(params, xs, carry, cotangents):
        value, pullback = jax.vjp(lambda *a: unroll(cell, *a, backend=backend), params, xs, carry)
        return value, pullback(cotangents)

    def inputs():
        params = cell.init(jax.random.key(0), features)
        xs = jnp.zeros((time, batch, features), jnp.float32)
        xs = (xs, jnp.zeros((time, batch, cell.hidden_size), jnp.float32)) if isinstance(cell, UserNoise) else xs
        carry = cell.init_carry((batch,))
        return params, xs, carry, (carry, jnp.zeros((time, batch, cell.output_size), jnp.float32))

    return gradient, jax.eval_shape(inputs)


def traced(cell, backend):
    gradient, inputs = gradient_program(cell, backend)
    return list(equations(jax.make_jaxpr(gradient)(*inputs).jaxpr))


def scans(program, length=None):
    return [eqn for eqn in program if eqn.primitive.name == "scan" and length in (None, eqn.params["length"])]


def results(eqn) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes that a scan carries from step to step, and shapes that it stacks, one entry for each step."""
    pairs = [
        (out.aval.shape, step.aval.shape)
        for out, step in zip(eqn.outvars, eqn.params["jaxpr"].jaxpr.outvars, strict=True)
    ]
    return [out for out, step in pairs if out == step], [out for out, step in pairs if out != step]


def recurrent_shape(cell) -> tuple[int, ...]:
    return jax.eval_shape(lambda: cell.recurrent(cell.init(jax.random.key(0), FEATURES))).shape


@pytest.mark.parametrize("backend", BACKENDS, ids=name)
@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_no_buffer_of_all_gates_at_all_steps(cell, backend):
    limit = TIME * BATCH * cell.gates * HIDDEN

    def largest(backend):
        return max(v.aval.size for eqn in traced(cell, backend) for v in eqn.outvars)

    assert largest(Scan()) >= limit  # so the walk sees it where there is one
    # A cell of one gate has as many pre-activations as hidden states, and those are kept.
    assert largest(dataclasses.replace(backend, keep_gates=False)) < limit + (cell.gates == 1)


@pytest.mark.parametrize("backend", BACKENDS, ids=name)
@pytest.mark.parametrize("cell", GATED, ids=name)
def test_no_loop_hands_on_all_gates_of_all_steps(cell, backend):
    """Nor in arrays of their own."""
    limit = TIME * BATCH * cell.gates * HIDDEN

    def most(keep_gates):
        """Numbers in all results of one loop together."""
        program = traced(cell, dataclasses.replace(backend, keep_gates=keep_gates))
        return max(sum(v.aval.size for v in eqn.outvars) for eqn in scans(program))

    assert most(keep_gates=False) < limit
    if backend.checkpoint_every is None:  # so the walk sees them where they are kept
        assert most(keep_gates=True) >= limit


@pytest.mark.parametrize("backend", BACKENDS, ids=name)
@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_weight_gradients_once_per_chunk(cell, backend):
    """No loop over steps carries an array like R; the loop over chunks does."""
    weights = recurrent_shape(cell)
    program = traced(cell, backend)
    steps = scans(program, CHUNK)
    assert len(steps) >= 2  # forward and backward
    assert not any(weights in results(eqn)[0] for eqn in steps)
    chunks = TIME // CHUNK if backend.checkpoint_every is None else backend.checkpoint_every // CHUNK
    assert any(weights in results(eqn)[0] for eqn in scans(program, chunks))
    assert any(weights in results(eqn)[0] for eqn in scans(traced(cell, Scan()), TIME))


@pytest.mark.parametrize(
    "cell, stored",
    [
        (Elman(HIDDEN), 1),
        (LSTM(HIDDEN), 4),
        (PeepholeLSTM(HIDDEN), 4),
        (GRU(HIDDEN), 3 + 1),
        (UserNoise(HIDDEN), 2 + 2),
    ],
    ids=lambda value: name(value) if isinstance(value, GRU | LSTM | Elman | PeepholeLSTM | UserNoise) else "",
)
def test_one_adjoint_where_update_reads_only_the_sum(cell, stored):
    """Where update reads only u + v their adjoints are one; elsewhere (the GRU's candidate, noise) u has its own."""
    (adjoint,) = [eqn for eqn in scans(traced(cell, ChunkedScan(CHUNK)), CHUNK) if eqn.params["reverse"]]
    assert sum(map(math.prod, results(adjoint)[1])) == CHUNK * BATCH * HIDDEN * stored


@pytest.mark.parametrize("backend", BACKENDS, ids=name)
def test_weight_gradients_of_plain_cells_once_per_chunk(backend):
    """Of a product by a matrix of parameters the steps only collect both sides."""
    cell, shapes = ResetBeforeGRU(HIDDEN), {(HIDDEN, 2 * HIDDEN), (HIDDEN, HIDDEN)}
    steps = scans(traced(cell, backend), CHUNK)
    assert len(steps) >= 2
    assert not any(shapes & set(results(eqn)[0]) for eqn in steps)
    (adjoint,) = (eqn for eqn in steps if eqn.params["reverse"])
    gates_and_factors = [(CHUNK, BATCH, width) for width in (2 * HIDDEN, HIDDEN, HIDDEN, HIDDEN)]
    assert all(results(adjoint)[1].count(shape) >= gates_and_factors.count(shape) for shape in gates_and_factors)
    by_steps = scans(traced(cell, Scan()), TIME)
    assert any((HIDDEN, 3 * HIDDEN) in results(eqn)[0] for eqn in by_steps)


def temporary_bytes(cell, backend, time: int) -> int:
    gradient, inputs = gradient_program(cell, backend, time, features=2, batch=4)
    return jax.jit(gradient).lower(*inputs).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("cell", [LSTM(64), GRU(64)], ids=name)
@pytest.mark.parametrize("kind", ["scan", "chunked"])
def test_checkpoints_hold_memory_at_the_square_root_of_time(cell, kind):
    if jax.default_backend() != "cpu":
        pytest.skip("workspace of the product library is part of an accelerator's temporary memory")

    def backend(every):
        return Scan(checkpoint_every=every) if kind == "scan" else ChunkedScan(chunk=8, checkpoint_every=every)

    short, long = (temporary_bytes(cell, backend(every), time) for time, every in ((256, 16), (4096, 64)))
    assert 0 < short and long < 4.5 * short  # 16 times the steps are 4 times the carries, and steps of a piece
    assert long < 4096 * 4 * 64 * 4 / 2  # bytes of one buffer (time, batch, hidden): there is none
    assert temporary_bytes(cell, Scan(), 4096) > 12 * temporary_bytes(cell, Scan(), 256)  # so a leak would show


def test_chunks_are_balanced():
    """33 steps in chunks of 16 are three of 11, not 16, 16 and 1."""
    gradient, inputs = gradient_program(LSTM(HIDDEN), ChunkedScan(16), time=33)
    lengths = {eqn.params["length"] for eqn in scans(list(equations(jax.make_jaxpr(gradient)(*inputs).jaxpr)))}
    assert lengths == {3, 11}


@pytest.mark.parametrize(
    "cell, shape, chunk, keep_gates",
    [
        (LSTM(256), (128, 32, 8), 16, True),  # the shortest chunks
        (LSTM(256), (51, 32, 8), 51, True),  # 1.67 million numbers in all gates are one chunk
        (LSTM(256), (52, 32, 8), 13, True),  # more are not
        (LSTM(256), (512, 32, 8), 16, False),  # memory comes first
        (LSTM(128), (256, 64, 8), 16, False),  # gates of few units are rebuilt
        (Elman(128), (256, 64, 8), 32, False),
        (LSTM(64), (2000, 8, 8), 125, False),  # the longest divisor of 2,000 that fits
        (LSTM(64), (2003, 8, 8), 128, False),  # a prime: the last chunk is filled up
        (LSTM(32), (50, 256, 8), 50, True),
        (GRU(4), (8, 8), 8, True),  # one chunk, and no batch axis
        (LRU(32, 8), (65536, 1, 8), 4096, False),  # linear cells are cut by their states
        (LRU(64, 8), (1024, 32, 8), 128, False),
        (ResetBeforeGRU(4), (64, 8), 64, True),
        (ResetBeforeGRU(128), (256, 64, 8), 16, False),
        (ResetBeforeGRU(256), (256, 64, 8), 16, True),
        (LRU(32, 8), (819, 32, 8), 819, False),  # 0.84 million states are one chunk
        (LRU(32, 8), (820, 32, 8), 205, False),  # more are not
        (LSTM(4), (0, 2, 8), 1, True),
    ],
    ids=lambda value: name(value) if isinstance(value, Cell) else "",
)
def test_options_left_open_follow_from_the_sizes(cell, shape, chunk, keep_gates):
    xs = jax.ShapeDtypeStruct(shape, jnp.float32)
    assert ChunkedScan().sized(cell, xs) == ChunkedScan(chunk, None, keep_gates)
    assert ChunkedScan(7, 14, True).sized(cell, xs) == ChunkedScan(7, 14, True)


@pytest.mark.parametrize(
    ("backend", "chunk"),
    [
        (ChunkedScan(), 1024),  # one chunk, where a gradient would take 128 steps
        (ChunkedScan(chunk=7), 7),
        (ChunkedScan(checkpoint_every=512), 512),
    ],
    ids=str,
)
def test_without_a_gradient_one_chunk_may_be_longer(backend, chunk):
    cell, xs = LSTM(HIDDEN), jnp.zeros((1024, 2, FEATURES), jnp.float32)
    params = cell.init(jax.random.key(0), FEATURES)
    program = jax.make_jaxpr(lambda *a: unroll(cell, *a, backend=backend))(params, xs)
    assert chunk in {eqn.params["length"] for eqn in equations(program.jaxpr) if eqn.primitive.name == "scan"}
    assert backend.sized(cell, xs).chunk == min(chunk, 128)


@pytest.mark.parametrize(
    ("cell", "batch", "features", "more", "chunk"),
    [
        (GRU(128), (8,), (32,), 0, 1),
        (PeepholeLSTM(8), (2, 4), (2,), 0, 1),
        (ResetBeforeGRU(8), (8,), (32,), 0, 1),
        (GRU(129), (8,), (32,), 0, 20),
        (GRU(8), (8,), (33,), 0, 20),
        (GRU(8), (8,), (2, 31), 0, 20),  # of two inputs
        (GRU(8), (7,), (32,), 0, 20),
        (GRU(8), (8,), (2,), 8 * 100, 20),  # with weights of a readout, say, or of an encoder
    ],
    ids=lambda value: name(value) if isinstance(value, Cell) else "",
)
def test_without_a_gradient_steps_of_small_cells_are_chunks(cell, batch, features, more, chunk, monkeypatch):
    xs = tuple(jax.ShapeDtypeStruct((20, *batch, width), jnp.float32) for width in features)
    params = jax.eval_shape(lambda: (cell.init(jax.random.key(0), features[0]), jnp.zeros(more)))
    for platform, steps in (("cpu", chunk), ("gpu", 20)):
        monkeypatch.setattr(jax, "default_backend", lambda platform=platform: platform)
        assert ChunkedScan().without_gradient(cell, params, xs) == ChunkedScan(steps, None, False)
        narrow = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), xs)
        assert ChunkedScan().without_gradient(cell, params, narrow) == ChunkedScan(20, None, False)


@pytest.mark.parametrize(
    "cell", [LSTM(HIDDEN), UserReadout(HIDDEN), UserNoise(HIDDEN), ResetBeforeGRU(HIDDEN)], ids=name
)
@pytest.mark.parametrize("every", [None, 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_step_is_a_chunk_like_any_other(cell, every, reverse):
    """With all that acts in a run, and without a gradient, for which such chunks are chosen."""
    arguments, acts = draw_arguments(cell, batch=(9,)), draw_acts(batch=(9,))

    def run(backend):
        return jax.jit(lambda *a: unroll(cell, *a, **acts._asdict(), reverse=reverse, backend=backend))(*arguments)

    assert_close(run(ChunkedScan(chunk=1, checkpoint_every=every)), run(Scan()), 1e-12)


def test_between_checkpoints_gates_are_kept():
    xs = jax.ShapeDtypeStruct((4096, 32, 8), jnp.float32)
    assert ChunkedScan(checkpoint_every=64).sized(LSTM(256), xs) == ChunkedScan(16, 64, True)
    assert ChunkedScan(checkpoint_every=32).sized(LSTM(256), xs) == ChunkedScan(32, 32, True)
    assert ChunkedScan(checkpoint_every=512).sized(LSTM(256), xs) == ChunkedScan(16, 512, False)
    xs = jax.ShapeDtypeStruct((1000, 64, 8), jnp.float32)
    assert ChunkedScan(checkpoint_every=333).sized(LSTM(26), xs) == ChunkedScan(250, 333, True)  # balanced stretches


@pytest.mark.parametrize("cell", [LSTM(HIDDEN), GRU(HIDDEN), UserNoise(HIDDEN), UserReadout(HIDDEN)], ids=name)
@pytest.mark.parametrize("every", [None, 20])
def test_kept_gates_leave_no_product_to_rebuild(cell, every):
    """Products of whole chunks by R are in the backward pass only where gates are not kept."""

    def rebuilt(keep_gates: bool) -> int:
        rows, columns = CHUNK * BATCH, recurrent_shape(cell)[1]
        program = traced(cell, ChunkedScan(CHUNK, every, keep_gates))
        products = [eqn for eqn in program if eqn.primitive.name == "dot_general"]
        by_r = [eqn for eqn in products if eqn.invars[1].aval.shape == recurrent_shape(cell)]
        return sum(eqn.outvars[0].aval.size == rows * columns for eqn in by_r)

    assert rebuilt(False) == rebuilt(True) + 1


@pytest.mark.parametrize("time", [1, 4, 7, 8, 9, 16])
def test_any_length_is_served(time):
    """Around the borders of chunks and pieces."""
    cell = GRU(3)
    gradient, inputs = gradient_program(cell, ChunkedScan(chunk=4, checkpoint_every=8), time)
    rng = np.random.default_rng(time)
    values = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(s.dtype), inputs)
    expected = jax.jit(gradient_program(cell, Scan(), time)[0])(*values)
    assert_close(jax.jit(gradient)(*values), expected, 1e-5)


@dataclass(frozen=True)
class Decay(MinGRU):
    """Forgets at fixed rates, with `axes` axes of one entry in the place of time and batch."""

    axes: int = 0
    units: int = 4

    def coefficients(self, params, us):
        gate, candidate = us
        rates = jnp.tanh(params.input[0, : self.units])
        return rates.reshape((1,) * min(self.axes, candidate.ndim - 1) + rates.shape), jax.nn.sigmoid(gate) * candidate


@pytest.mark.parametrize("units", [1, 4])
@pytest.mark.parametrize("axes", [0, 1, 2])
@pytest.mark.parametrize("acts", [True, False])
def test_rates_of_a_linear_cell_may_have_any_shape_that_spreads(axes, units, acts):
    case = Case(Decay(4, axes=axes, units=units))
    if not acts:
        case.acts, case.arguments = Acts(), draw_arguments(case.cell)
    case.check(ChunkedScan(4), reverse=False)  # filled up
    case.check(ChunkedScan(TIME), reverse=False)
    case.check(Associative(), reverse=True)


@dataclass(frozen=True)
class Singular(GatedCell):
    """Has no derivative where u is zero."""

    hidden_size: int
    gates: ClassVar[int] = 1

    def update(self, pointwise, carry, u, v):
        return HiddenCarry(u[0] / jnp.linalg.norm(u[0], axis=-1, keepdims=True) + jnp.tanh(v[0]))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "backend", [Scan(checkpoint_every=4), ChunkedScan(4), ChunkedScan(2, checkpoint_every=4)], ids=name
)
def test_what_fills_a_chunk_up_has_finite_derivatives(backend, reverse):
    """11 steps in pieces of 4 leave one to fill: it must not be taken at an input of zero."""
    case = Case(Singular(HIDDEN))
    case.acts, case.arguments = Acts(), draw_arguments(case.cell)
    case.check(backend, reverse)


@dataclass(frozen=True)
class Tangled(Cell):
    """A plain cell whose parameters are met in every way that is told apart: see `test_products_are_told_apart`."""

    hidden_size: int

    @property
    def output_size(self):
        return self.hidden_size

    def init(self, key, input_size, dtype=jnp.float32):
        n = self.hidden_size
        shapes = {"input": (input_size, n), "twice": (n, n), "turned": (n, n), "read": (n, n), "scale": (n,)}
        keys = jax.random.split(key, len(shapes))
        return {k: jax.random.normal(key, s, dtype) / n**0.5 for key, (k, s) in zip(keys, shapes.items(), strict=True)}

    def init_carry(self, batch_shape=(), dtype=jnp.float32):
        return HiddenCarry(jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def project(self, params, xs):
        return xs @ params["input"]

    def advance(self, params, carry, u):
        n = self.hidden_size
        constant = jnp.arange(n * n, dtype=u.dtype).reshape(n, n) / n**2
        largest = jnp.argmax(params["scale"])  # a whole number that parameters alone decide
        v = carry.h @ params["twice"] + jnp.sin(u) @ params["twice"] + carry.h @ params["turned"].T
        v = v + jnp.tanh(carry.h @ params["read"] + (carry.h.mean() * params["read"]).sum())
        v = v + (carry.h @ constant) * params["scale"]
        return HiddenCarry(jnp.tanh(u + v / 3) * jnp.where(jnp.arange(n) == largest, 0.5, 0.9))


def test_products_are_told_apart():
    """By a matrix used twice, a transposed one, a constant; not by one that a step reads elsewhere too."""
    cell = Tangled(HIDDEN)
    params, xs = cell.init(jax.random.key(0), FEATURES), jnp.zeros((1, BATCH, FEATURES), jnp.float32)
    traced_step = Traced(cell, params, cell.init_carry((BATCH,)), Steps(xs))
    deferred = [traced_step.once(params)[place] for place in traced_step.products]
    constant = np.arange(HIDDEN**2, dtype=np.float32).reshape(HIDDEN, HIDDEN) / HIDDEN**2
    np.testing.assert_array_equal(deferred, [params["twice"], params["twice"], params["turned"].T, constant])


class Counted(NamedTuple):
    h: jax.Array
    step: jax.Array


@dataclass(frozen=True)
class Counter(Cell):
    """A plain cell with a whole number in its carry and truth values in u."""

    inner: Tangled

    @property
    def output_size(self):
        return self.inner.output_size

    def init(self, key, input_size, dtype=jnp.float32):
        return self.inner.init(key, input_size, dtype)

    def init_carry(self, batch_shape=(), dtype=jnp.float32):
        return Counted(self.inner.init_carry(batch_shape, dtype).h, jnp.zeros((*batch_shape, 1), jnp.int32))

    def project(self, params, xs):
        return self.inner.project(params, xs), xs[..., :1] > 0

    def advance(self, params, carry, u):
        after = self.inner.advance(params, HiddenCarry(carry.h), u[0])
        return Counted(jnp.where(u[1] & (carry.step % 2 == 0), after.h, carry.h), carry.step + 1)


def test_whole_numbers_in_the_carry_have_no_cotangent():
    cell = Counter(Tangled(HIDDEN))
    params = cell.init(jax.random.key(0), FEATURES)
    xs = jax.random.normal(jax.random.key(1), (9, BATCH, FEATURES), jnp.float32)

    def gradient(backend):
        return jax.grad(lambda p: (unroll(cell, p, xs, backend=backend)[1] ** 2).sum())(params)

    assert_close(gradient(ChunkedScan(4)), gradient(Scan()), 1e-5)


def test_precision_of_a_product_reaches_its_adjoints():
    @dataclass(frozen=True)
    class Precise(Tangled):
        def advance(self, params, carry, u):
            return HiddenCarry(jnp.tanh(u + jnp.matmul(carry.h, params["twice"], precision="highest")))

    program = traced(Precise(HIDDEN), ChunkedScan(CHUNK, keep_gates=True))
    products = [eqn for eqn in program if eqn.primitive.name == "dot_general"]
    by_matrix = [eqn for eqn in products if (HIDDEN, HIDDEN) in [v.aval.shape for v in (*eqn.invars, *eqn.outvars)]]
    assert len(by_matrix) >= 3  # forward, the adjoint of h, the gradient of the matrix
    assert {eqn.params["precision"] for eqn in by_matrix} == {(jax.lax.Precision.HIGHEST,) * 2}


@pytest.mark.parametrize(("chunk", "kept"), [(CHUNK, 1), (TIME, 2)])
def test_of_a_gated_carry_only_h_is_kept_unless_one_chunk_is_all(chunk, kept):
    program = traced(LSTM(HIDDEN), ChunkedScan(chunk, keep_gates=False))
    forward = next(eqn for eqn in scans(program, TIME // chunk) if not eqn.params["reverse"])
    assert results(forward)[1].count((TIME // chunk, chunk, BATCH, HIDDEN)) == kept


@pytest.mark.parametrize("keep_gates", [True, False])
def test_tangled_products_have_their_gradients(keep_gates):
    cell = Tangled(HIDDEN)
    keys = jax.random.split(jax.random.key(1), 3)
    with jax.enable_x64(True):
        params = cell.init(keys[0], FEATURES, jnp.float64)
        xs = jax.random.normal(keys[1], (23, BATCH, FEATURES), jnp.float64)
        direction = jax.tree.map(lambda w: jax.random.normal(keys[2], w.shape, w.dtype), params)

        def gradients(backend):
            first = jax.grad(lambda p: (unroll(cell, p, xs, backend=backend)[1] ** 3).sum())
            slope = jax.grad(
                lambda p: sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), first(p), direction)))
            )
            return first(params), slope(params)

        assert_close(gradients(ChunkedScan(5, keep_gates=keep_gates)), gradients(Scan()), 1e-12)
