"""Cells with attention: each step against the papers' equations, and the same on every backend, memory and all."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxrnn
from jaxrnn import GRU, LRU, LSTM, ChunkedScan, Elman, Scan, unroll
from jaxrnn.models import Bahdanau, BahdanauCell, Concat, Dot, General, LuongCell
from jaxrnn.stochastic import zoneout
from tests import oracles
from tests.backends.test_chunked import equations, results, scans
from tests.checks import assert_close, noise_like, plus

TIME, SOURCE, BATCH, FEATURES, HIDDEN, MEMORY = 5, 4, 3, 2, 6, 7
MASK = jnp.asarray(np.arange(SOURCE)[:, None] < np.array([4, 2, 0]))
HOW = {"lengths": np.array([3, 5, 4])}
CELLS = [
    BahdanauCell(GRU(HIDDEN), Bahdanau(5), memory_size=MEMORY),
    BahdanauCell(LSTM(HIDDEN), General(), memory_size=MEMORY),
    LuongCell(LSTM(HIDDEN), Concat(5), memory_size=MEMORY, attentional_size=8),
    LuongCell(GRU(MEMORY), Dot(), memory_size=MEMORY, attentional_size=3),
]
NAMES = [f"{type(cell).__name__}-{type(cell.cell).__name__}-{type(cell.attention).__name__}" for cell in CELLS]
each_cell = pytest.mark.parametrize("cell", CELLS, ids=NAMES)


@functools.cache
def arguments(cell):
    """(params, states, xs, carry) in float64, nothing at zero that could hide."""
    rng = np.random.default_rng(0)
    drawn = cell.init(jax.random.key(0), FEATURES, jnp.float64), cell.init_carry((BATCH,), jnp.float64)
    params, carry = (plus(tree, noise_like(rng, tree), 0.3) for tree in drawn)
    states, xs = rng.normal(size=(SOURCE, BATCH, MEMORY)), rng.normal(size=(TIME, BATCH, FEATURES))
    return jax.tree.map(jnp.asarray, (params, states, xs, carry))


def run(cell, params, states, xs, carry, backend=None):
    return unroll(cell, cell.remember(params, states, MASK), xs, carry, backend=backend, **HOW)


def one_score(attention, p, q, m):
    """The score of one state, from the papers."""
    if isinstance(attention, Dot):
        return q @ m
    if isinstance(attention, General):
        return q @ p.weight @ m
    W = p.weight if isinstance(attention, Concat) else np.concatenate([p.query, p.memory])
    return p.score @ np.tanh(W.T @ np.concatenate([q, m]))


def oracle(cell, params, states, xs, carry):
    """Outputs and weights (time, source, batch) by loops; the inner cell reads both its inputs side by side."""
    params, states, xs, carry = jax.tree.map(np.asarray, (params, states, xs, carry))
    inner = params.cell._replace(input=np.concatenate([params.cell.input, params.feedback]))
    step = functools.partial(oracles.STEPS[type(cell.cell).__name__], cell.cell, inner)
    ys, weights = np.zeros((TIME, BATCH, cell.output_size)), np.zeros((TIME, SOURCE, BATCH))
    for b in range(BATCH):
        state = tuple(leaf[b] for leaf in carry.cell)
        fed, memory = carry[1][b], states[MASK[:, b], b]

        def look(q, memory=memory):
            if not len(memory):
                return np.zeros(0), np.zeros(MEMORY)
            a = oracles.softmax(np.array([one_score(cell.attention, params.attention, q, m) for m in memory]))
            return a, a @ memory

        for t in range(HOW["lengths"][b]):
            if isinstance(cell, BahdanauCell):
                a, context = look(state[0])
                state, h = step(state, np.concatenate([xs[t, b], context]))
                ys[t, b] = np.concatenate([h, context])
            else:
                state, h = step(state, np.concatenate([xs[t, b], fed]))
                a, context = look(h)
                ys[t, b] = fed = np.tanh(params.combine.T @ np.concatenate([context, h]))
            weights[t, : len(a), b] = a
    return ys, weights


@each_cell
def test_outputs_are_the_papers_equations(cell):
    assert_close(run(cell, *arguments(cell))[1], oracle(cell, *arguments(cell))[0], 1e-12)


@each_cell
def test_gradients_by_finite_differences(cell):
    """Of parameters, memory, inputs and carry at once, along one direction."""
    check_grads(jax.jit(lambda *given: run(cell, *given)), arguments(cell), order=1, modes=["rev"], eps=1e-5)


@each_cell
def test_backends_agree(cell):
    """Value and gradient, of the memory too; padding of the memory, NaN, reaches neither."""
    params, states, xs, carry = arguments(cell)
    spoilt = jnp.where(MASK[..., None], states, jnp.nan)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradient(backend, states):
        value, pullback = jax.vjp(lambda *given: run(cell, *given, backend), params, states, xs, carry)
        return value, pullback(jax.tree.map(jnp.cos, value))

    expected = value_and_gradient(Scan(), states)
    d_states = expected[1][1]
    assert not d_states[~MASK].any() and d_states[MASK].any()
    for backend in (None, ChunkedScan(chunk=2, checkpoint_every=4)):
        assert_close(value_and_gradient(backend, spoilt), expected, 1e-11)


def summed(backend, cell) -> set:
    """Shapes of what the loops over steps of a gradient by parameters hand from step to step."""
    params, states, xs, carry = arguments(cell)
    gradient = jax.grad(lambda params: run(cell, params, states, xs, carry, backend)[1].sum())
    program = equations(jax.make_jaxpr(gradient)(params).jaxpr)
    return {shape for scan in scans(program, TIME) for shape in results(scan)[0]}


@pytest.mark.parametrize("cell", [CELLS[0], CELLS[2]], ids=["Bahdanau", "Luong"])
def test_no_step_adds_to_a_weight_matrix(cell):
    """ChunkedScan finds the products inside, and does not leave such a cell to plain autodiff."""
    params = arguments(cell)[0]
    matrices = {params.cell.recurrent.shape, params.feedback.shape}
    assert not matrices & summed(ChunkedScan(chunk=TIME), cell) and matrices <= summed(Scan(), cell)


@each_cell
def test_weights_are_what_a_step_looked_at(cell):
    params, states, xs, carry = arguments(cell)
    params = cell.remember(params, states, MASK)
    expected = oracle(cell, *arguments(cell))[1]
    for t in range(min(HOW["lengths"])):
        after, _ = cell.step(params, carry, cell.project(params, xs[t]))
        assert_close(cell.weights(params, carry, after), expected[t], 1e-12)
        carry = after


@each_cell
def test_one_sentence_and_sixteen_bits(cell):
    """No batch axis; the carry in float32, outputs in the dtype of the inputs."""
    params = cell.init(jax.random.key(0), FEATURES, jnp.bfloat16)
    params = cell.remember(params, jnp.ones((SOURCE, MEMORY), jnp.bfloat16))
    carry, ys = unroll(cell, params, jnp.ones((TIME, FEATURES), jnp.bfloat16))
    assert ys.shape == (TIME, cell.output_size) and ys.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(carry)} == {jnp.dtype(jnp.float32)}
    assert carry.h.shape == (cell.cell.hidden_size,)


def test_the_start_is_that_of_one_matrix():
    """The inner cell's input weights are drawn for both its inputs together."""
    for cell, fed in ((CELLS[0], MEMORY), (CELLS[2], 8)):
        params = cell.init(jax.random.key(3), FEATURES)
        columns = cell.cell.gates * HIDDEN
        assert params.cell.input.shape == (FEATURES, columns) and params.feedback.shape == (fed, columns)
        bound = (6 / (FEATURES + fed + HIDDEN)) ** 0.5
        assert 0.9 * bound < np.abs(params.feedback).max() <= bound
        assert params.memory == ()


def test_what_does_not_fit_is_refused_in_words(without_type_checks):
    cell = CELLS[0]
    params, states, xs, _ = arguments(cell)
    with pytest.raises(ValueError, match=r"BahdanauCell: `params` hold no memory\. Put one in: cell\.remember"):
        unroll(cell, params, xs)
    with pytest.raises(ValueError, match=r"BahdanauCell\.remember: `states` must be .*memory_size=7.*\(4, 3, 5\)\. Bu"):
        cell.remember(params, states[..., :5])
    for inner in (LRU(4, features=2), jaxrnn.Jordan(3, 2), zoneout(GRU(3), 0.1)):
        with pytest.raises(TypeError, match="LuongCell: `cell` must be a gated cell whose input enters by one"):
            LuongCell(inner, Dot(), memory_size=3, attentional_size=3)
    with pytest.raises(TypeError, match=r"BahdanauCell: `attention` must be a score such as Bahdanau\(64\), got 3"):
        BahdanauCell(Elman(3), 3, memory_size=3)
    with pytest.raises(ValueError, match="`memory_size` must be a whole number of at least 1, got 0"):
        BahdanauCell(Elman(3), General(), memory_size=0)
    with pytest.raises(ValueError, match="`attentional_size` must be a whole number of at least 1, got 0"):
        LuongCell(Elman(3), General(), memory_size=2, attentional_size=0)
