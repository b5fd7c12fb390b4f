"""The one door: what lengths, masks, resets, direction and carries mean, each by itself, on every backend."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import LRU, LSTM, Associative, ChunkedScan, Elman, HiddenCarry, Scan, Stack, UnsupportedBackend, unroll
from tests.checks import TIME, Acts, Arguments, Case, assert_close, draw_acts, draw_arguments, spoil, value_and_gradient
from tests.examples import UserGated, UserLinear, UserPlain, name

# Each way that a backend has to run a cell: gated, plain and linear ones.
WAYS = [
    (UserGated(3), Scan()),
    (UserGated(3), Scan(checkpoint_every=4)),
    (UserGated(3), ChunkedScan(chunk=4)),
    (UserGated(3), ChunkedScan(chunk=2, checkpoint_every=4)),
    (UserPlain(3), ChunkedScan(chunk=4)),
    (UserLinear(3), Scan()),
    (UserLinear(3), Associative()),
]
on_every_backend = pytest.mark.parametrize("cell, backend", WAYS, ids=[f"{name(c)}-{name(b)}" for c, b in WAYS])
EVERYTHING = Acts()
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def run(cell, backend, arguments: Arguments, acts: Acts = EVERYTHING, reverse=False):
    """((carry, ys), gradient) with a weight of one on every output and on the last carry."""
    shape = jax.tree.leaves(arguments.xs)[0].shape[:-1]
    # Every flag is given, neutral where the test has none, so that all tests share one compiled function.
    neutral = Acts(np.full(shape[1:], shape[0]), np.ones(shape, bool), np.zeros(shape, bool))
    acts = Acts(*(n if given is None else given for given, n in zip(acts, neutral, strict=True)))
    weights = jax.tree.map(np.ones_like, arguments.carry), np.ones((*shape, cell.output_size))
    return value_and_gradient(unroll, cell, backend, reverse, arguments, acts, weights)


@functools.cache
def drawn(cell, time=TIME, batch=(4,)) -> Arguments:
    return draw_arguments(cell, time=time, batch=batch)


@on_every_backend
@both_directions
def test_padding_reaches_nothing(cell, backend, reverse):
    clean, acts = drawn(cell), draw_acts()
    expected = run(cell, backend, clean, acts, reverse)
    value, gradient = run(cell, backend, clean._replace(xs=spoil(clean.xs, acts)), acts, reverse)
    assert_close((value, gradient), expected, 1e-14)
    spoilt = np.isnan(spoil(clean.xs, acts))
    assert (np.asarray(gradient.xs)[spoilt] == 0).all()
    assert (np.asarray(value[1])[spoilt.any(-1)] == 0).all()  # outputs at padded and masked steps


def test_padding_reaches_nothing_through_residual_layers():
    stack = Stack((UserGated(3), UserGated(3)), residual=True)
    acts = draw_acts()
    clean = Arguments(
        stack.init(jax.random.key(0), 3, jnp.float64), drawn(UserGated(3)).xs, stack.init_carry((4,), jnp.float64)
    )
    expected = run(stack, None, clean, acts)
    assert_close(run(stack, None, clean._replace(xs=spoil(clean.xs, acts)), acts), expected, 1e-14)


@on_every_backend
def test_nan_at_a_valid_step_stays_visible(cell, backend):
    arguments = drawn(cell)
    xs = arguments.xs.copy()
    xs[5, 1] = np.nan
    (carry, ys), _ = run(cell, backend, arguments._replace(xs=xs))
    assert np.isnan(ys[5:, 1]).all() and np.isnan(carry.h[1]).all()
    assert np.isfinite(ys[:5]).all() and np.isfinite(np.delete(ys, 1, axis=1)).all()


@on_every_backend
@both_directions
def test_nan_does_not_cross_a_reset(cell, backend, reverse):
    arguments = drawn(cell)
    resets = np.zeros((TIME, 4), bool)
    resets[5] = True
    xs = arguments.xs.copy()
    bad = slice(5, None) if reverse else slice(None, 5)
    good = slice(None, 5) if reverse else slice(5, None)
    xs[bad, 1] = np.nan
    (carry, ys), gradient = run(cell, backend, arguments._replace(xs=xs), Acts(resets=resets), reverse)
    (clean_carry, clean_ys), clean = run(cell, backend, arguments, Acts(resets=resets), reverse)
    assert np.isnan(ys[bad, 1]).all()
    assert_close((carry, ys[good]), (clean_carry, clean_ys[good]), 1e-14)
    assert_close(gradient.xs[good], clean.xs[good], 1e-13)
    others = [0, 2, 3]
    assert_close(gradient.xs[:, others], clean.xs[:, others], 1e-13)


@on_every_backend
@both_directions
def test_a_length_of_zero_returns_the_starting_carry(cell, backend, reverse):
    arguments = drawn(cell)
    acts = Acts(lengths=np.array([0, 3, 0, 11]), resets=np.ones((TIME, 4), bool))
    (carry, ys), gradient = run(cell, backend, arguments, acts, reverse)
    empty = [0, 2]
    jax.tree.map(
        lambda c, start: np.testing.assert_array_equal(c[np.array(empty)], start[empty]), carry, arguments.carry
    )
    assert (np.asarray(ys)[:, empty] == 0).all()
    assert (np.asarray(gradient.carry.h)[empty] == 1).all()


@on_every_backend
@both_directions
@pytest.mark.parametrize("time", [0, 1])
def test_shortest_sequences(cell, backend, time, reverse):
    arguments = drawn(cell, time)
    resets = np.zeros((time, 4), bool)
    (carry, ys), gradient = run(cell, backend, arguments, Acts(np.full(4, time), ~resets, resets), reverse)
    assert ys.shape == (time, 4, 3) and gradient.xs.shape == (time, 4, 3)
    if time == 0:
        jax.tree.map(np.testing.assert_array_equal, carry, arguments.carry)
        assert_close(gradient.carry.h, np.ones((4, 3)), 0)
    else:
        u = cell.project(*jax.tree.map(jnp.asarray, (arguments.params, arguments.xs[0])))
        end, y = cell.step(*jax.tree.map(jnp.asarray, (arguments.params, arguments.carry)), u)
        assert_close((carry, ys), (end, y[None]), 1e-13)
        assert np.isfinite(gradient.xs).all() and np.abs(gradient.xs).max() > 0


@on_every_backend
def test_resets_act_where_the_mask_is_false(cell, backend):
    arguments = drawn(cell)
    mask = np.ones((TIME, 4), bool)
    mask[6:] = False
    resets = np.zeros((TIME, 4), bool)
    resets[8] = True
    (carry, _), gradient = run(cell, backend, arguments, Acts(mask=mask, resets=resets))
    jax.tree.map(np.testing.assert_array_equal, carry, cell.init_carry((4,), jnp.float64))
    # The last carry is a constant, so that the gradient comes from the outputs before the mask alone.
    shorter = arguments._replace(xs=arguments.xs[:6])
    outputs_only = jax.tree.map(np.zeros_like, arguments.carry), np.ones((6, 4, 3))
    expected = value_and_gradient(unroll, cell, backend, False, shorter, Acts(), outputs_only)[1]
    assert_close(gradient._replace(xs=gradient.xs[:6]), expected, 1e-13)


@on_every_backend
@both_directions
def test_resets_beyond_lengths_do_nothing(cell, backend, reverse):
    arguments = drawn(cell)
    lengths = np.array([11, 4, 0, 7])
    resets = np.arange(TIME)[:, None] >= lengths
    expected = run(cell, backend, arguments, Acts(lengths, None, np.zeros_like(resets)), reverse)
    assert_close(run(cell, backend, arguments, Acts(lengths, None, resets), reverse), expected, 1e-14)


@on_every_backend
def test_a_reset_comes_before_its_step_and_in_reverse_after_it(cell, backend):
    params, xs, carry = arguments = drawn(cell)
    fresh = cell.init_carry((4,), jnp.float64)
    resets = np.zeros((TIME, 4), bool)
    resets[[0, 4]] = True
    for reverse, first, second in ((False, slice(None, 4), slice(4, None)), (True, slice(4, None), slice(None, 4))):
        # The carry given serves the first piece of the run, unless its first step is a reset, as forward.
        start = carry if reverse else fresh
        end, ys = run(cell, backend, arguments, Acts(resets=resets), reverse)[0]
        first_ys = unroll(cell, params, xs[first], start, reverse=reverse, backend=backend)[1]
        last, second_ys = unroll(cell, params, xs[second], fresh, reverse=reverse, backend=backend)
        assert_close((ys[first], ys[second]), (first_ys, second_ys), 1e-13)
        assert_close(end, fresh if reverse else last, 1e-13)


@on_every_backend
def test_the_reverse_carry_is_the_one_after_the_first_step(cell, backend):
    (carry, ys), _ = run(cell, backend, drawn(cell), reverse=True)
    end, forward = run(cell, backend, drawn(cell)._replace(xs=drawn(cell).xs[::-1]))[0]
    assert_close((carry, ys), (end, forward[::-1]), 1e-13)


@on_every_backend
@both_directions
def test_two_pieces_are_the_whole(cell, backend, reverse):
    """Cut at a border where some sequences restart."""
    params, xs, carry = drawn(cell)
    _, mask, resets = draw_acts(3)
    resets[5] = [True, False, True, False]
    whole = unroll(cell, params, xs, carry, mask=mask, resets=resets, reverse=reverse, backend=backend)
    pieces, ys = [slice(None, 5), slice(5, None)], {}
    for piece in reversed(pieces) if reverse else pieces:
        acts = {"mask": mask[piece], "resets": resets[piece]}
        carry, ys[piece.start] = unroll(cell, params, xs[piece], carry, **acts, reverse=reverse, backend=backend)
    assert_close((carry, jnp.concatenate([ys[None], ys[5]])), whole, 1e-13)


def test_carries_are_fresh_buffers():
    """So that a carry may be donated."""
    cell = LSTM(3)
    params, xs, _ = jax.tree.map(jnp.asarray, drawn(cell))
    for carry in (cell.init_carry((4,), jnp.float64), cell.init_carry((4,), jnp.float64), unroll(cell, params, xs)[0]):
        h, c = carry
        assert h.unsafe_buffer_pointer() != c.unsafe_buffer_pointer()
    donating = jax.jit(lambda carry: unroll(cell, params, xs, carry)[0], donate_argnums=0)
    start = cell.init_carry((4,), jnp.float64)
    assert_close(donating(start), unroll(cell, params, xs)[0], 1e-14)
    assert start.h.is_deleted() and start.c.is_deleted()


TRACES: list[int] = []


@dataclass(frozen=True)
class Counting(UserGated):
    """A cell that notes every trace of its update."""

    gates: ClassVar[int] = 2

    def update(self, pointwise, carry, u, v):
        TRACES.append(1)
        return super().update(pointwise, carry, u, v)


def test_an_eager_call_is_compiled_once_for_equal_cells():
    cell = Counting(3)
    params, xs, carry = jax.tree.map(jnp.asarray, drawn(cell))
    unroll(cell, params, xs, carry)
    traced = len(TRACES)
    assert traced > 0
    for same in (cell, Counting(3), dataclasses.replace(cell)):
        unroll(same, params, xs + 1, carry, backend=ChunkedScan())
    assert len(TRACES) == traced
    unroll(Counting(4), Counting(4).init(jax.random.key(0), 3, jnp.float64), xs)
    assert len(TRACES) > traced


def test_explain_tells_what_runs_and_why(monkeypatch):
    xs = jnp.zeros((8, 2))
    chunked, linear = "ChunkedScan(chunk=8, checkpoint_every=None, keep_gates=True)", LRU(4, features=2)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert str(jaxrnn.explain(Elman(4), xs)) == f"{Elman(4)}: {chunked}"
    assert str(jaxrnn.explain(linear, xs)) == f"{linear}: {chunked.replace('True', 'False')}"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    kernels = f"not {jaxrnn.Pallas()}: its kernels are for TPUs and Hopper GPUs, and the first device is"
    chosen, no_kernels, no_parallel_scan = str(jaxrnn.explain(Elman(4), xs)).split("\n    ")
    assert chosen == f"{Elman(4)}: {chunked.replace('True', 'False')}" and no_kernels.startswith(kernels)
    assert no_parallel_scan == "not Associative(): Elman is not a LinearCell: its step is not linear in the carry"
    assert str(jaxrnn.explain(linear, xs)).startswith(f"{linear}: Associative()\n    {kernels}")
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert str(jaxrnn.explain(linear, xs)) == f"{linear}: Associative()"
    assert jaxrnn.explain(Elman(4), xs, backend=Scan(unroll=2)).backend == Scan(unroll=2)
    with pytest.raises(UnsupportedBackend, match=r"`backend` Associative\(\) cannot run Elman.*not linear.*explain"):
        jaxrnn.explain(Elman(4), xs, backend=Associative())
    with pytest.raises(TypeError, match="`cell` must be a Cell, got Stack.*each cell of a Stack"):
        jaxrnn.explain(Stack((linear,)), xs)


def test_flags_may_be_lists():
    cell = Elman(2)
    params, xs, carry = draw_arguments(cell, time=3, batch=(2,))
    flags = {"lengths": [3, 1], "mask": [[True, True], [False, True], [True, True]], "resets": ((False, True),) * 3}
    arrays = {key: np.array(value) for key, value in flags.items()}
    assert_close(unroll(cell, params, xs, carry, **flags), unroll(cell, params, xs, carry, **arrays), 0)


def test_default_carry_is_that_of_the_cell():
    cell = UserLinear(3)
    params, xs, _ = drawn(cell)
    start = cell.init_carry((4,), jnp.float64)
    assert_close(unroll(cell, params, xs), unroll(cell, params, xs, start), 0)


def test_hessian_on_scan():
    cell = Elman(2)
    params, xs, carry = draw_arguments(cell, time=3, batch=())

    def loss(xs, backend):
        return (unroll(cell, params, xs, carry, backend=backend)[1] ** 2).sum()

    hessian = jax.hessian(loss)(xs, Scan()).reshape(9, 9)
    assert_close(hessian, hessian.T, 1e-12)
    expected = jax.jacrev(jax.grad(loss))(xs, ChunkedScan(chunk=2)).reshape(9, 9)
    assert_close(hessian, expected, 1e-12)


def test_inputs_may_be_numpy_and_flags_traced():
    case = Case(UserGated(3))
    params, xs, carry = case.arguments
    acts = case.acts._asdict()
    traced = jax.jit(lambda xs, acts: unroll(case.cell, params, xs, carry, **acts))(xs, acts)
    assert_close(unroll(case.cell, params, xs, carry, **acts), traced, 1e-14)
    assert isinstance(traced[0], HiddenCarry)
