"""Properties for whatever Hypothesis thinks of: any lengths, masks, resets, cuts and options."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrnn import LSTM, Associative, ChunkedScan, unroll
from tests.checks import BATCH, TIME, Acts, Case, assert_close, draw_arguments, value_and_gradient
from tests.examples import UserGated, UserLinear, UserPlain, name

FLAGS = st.lists(st.booleans(), min_size=TIME * BATCH, max_size=TIME * BATCH).map(
    lambda f: np.reshape(f, (TIME, BATCH))
)
LENGTHS = st.lists(st.integers(0, TIME), min_size=BATCH, max_size=BATCH).map(np.array)
ACTS = st.builds(Acts, LENGTHS, FLAGS, FLAGS)
WAYS = [(UserGated(3), ChunkedScan(chunk=4)), (UserPlain(3), ChunkedScan(chunk=4)), (UserLinear(3), Associative())]
every_way = pytest.mark.parametrize("cell, backend", WAYS, ids=[f"{name(c)}-{name(b)}" for c, b in WAYS])


@every_way
@given(acts=ACTS, reverse=st.booleans())
def test_whatever_acts(cell, backend, acts, reverse):
    """Every backend is the reference, and the reference is the loop."""
    case = Case(cell)
    case.acts, case.arguments = acts, draw_arguments(cell)
    case.check(backend, reverse)
    case.check_equations(reverse)


@every_way
@given(acts=ACTS, reverse=st.booleans(), cut=st.integers(0, TIME))
def test_a_run_may_be_cut_anywhere(cell, backend, acts, reverse, cut):
    params, xs, carry = draw_arguments(cell)
    lengths, mask, resets = acts
    whole = unroll(cell, params, xs, carry, **acts._asdict(), reverse=reverse, backend=backend)
    parts = [(slice(None, cut), np.minimum(lengths, cut)), (slice(cut, None), np.maximum(lengths - cut, 0))]
    outputs = []
    for part, length in reversed(parts) if reverse else parts:
        how = {"lengths": length, "mask": mask[part], "resets": resets[part]}
        carry, ys = unroll(cell, params, xs[part], carry, **how, reverse=reverse, backend=backend)
        outputs.append(ys)
    assert_close((carry, jnp.concatenate(outputs[::-1] if reverse else outputs)), whole, 1e-12)


@settings(max_examples=6)
@given(
    chunk=st.integers(1, 13),
    every=st.none() | st.integers(1, 13),
    keep_gates=st.booleans(),
    time=st.integers(1, 12),
    reverse=st.booleans(),
)
def test_options_change_nothing(chunk, every, keep_gates, time, reverse):
    cell = LSTM(3)
    arguments = draw_arguments(cell, time=time, batch=())
    cotangents = arguments.carry, np.ones((time, 3))
    expected = value_and_gradient(unroll, cell, ChunkedScan(), reverse, arguments, Acts(), cotangents)
    backend = ChunkedScan(chunk, every, keep_gates)
    assert_close(value_and_gradient(unroll, cell, backend, reverse, arguments, Acts(), cotangents), expected, 1e-12)
