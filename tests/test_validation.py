"""Bad input: every error names the argument, what was got, and the cure."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import GRU, LRU, LSTM, Associative, Bidirectional, ChunkedScan, Elman, Jordan, MinGRU, Scan, Stack
from jaxrnn.initializers import Chrono, ForgetBias
from tests.examples import UserGated, UserLinear

KEY = jax.random.key(0)
CELL, RING, STACK = LSTM(4), LRU(4, features=3), Stack((GRU(3), GRU(3)))
XS = np.zeros((6, 2, 3), np.float32)
PARAMS = {cell: cell.init(KEY, 3, jnp.float32) for cell in (CELL, RING, STACK)}


pytestmark = pytest.mark.usefixtures("without_type_checks")


def unroll(xs=XS, cell=CELL, params=None, carry=None, **how):
    return jaxrnn.unroll(cell, PARAMS[cell] if params is None else params, xs, carry, **how)


def refused(error, message: str, call) -> None:
    """`message` gives the pieces that must appear, in order, with ... between them."""
    with pytest.raises(error) as caught:
        call()
    assert re.search(".*".join(map(re.escape, message.split(" ... "))), str(caught.value), re.DOTALL), caught.value


def table(rows):
    return pytest.mark.parametrize(
        "error, message, how", rows, ids=[f"{i}-{row[1][:30]}" for i, row in enumerate(rows)]
    )


@table(
    [
        (ValueError, "`xs` ... (time, *batch, features) ... got shape (6,) ... xs[..., None]", {"xs": XS[:, 0, 0]}),
        (ValueError, "`xs` float32[6, 2, 5] ... `params` of LSTM ... cell.init(", {"xs": XS.repeat(5, -1)[..., :5]}),
        (TypeError, "`xs` ... got int32 ... one_hot", {"xs": XS.astype(np.int32)}),
        (TypeError, "`xs` ... got bool ... astype", {"xs": XS.astype(bool)}),
        (TypeError, "`xs` ... got complex64 ... astype", {"xs": XS.astype(np.complex64)}),
        (ValueError, "`xs` ... no arrays ... (time, *batch, features)", {"xs": ()}),
        (TypeError, "`xs` ... got float32 and float64 ... Cast", {"xs": (XS, XS.astype(np.float64))}),
        (ValueError, "`xs` ... got shapes (6, 2, 3) and (6, 1, 3) ... Broadcast", {"xs": (XS, XS[:, :1])}),
        (
            ValueError,
            "does not fit `params` of LSTM ... bias=float32[1] ... leaves 'bias': shapes: (1,) != (16,) ... init(",
            {"params": jaxrnn.GatedParams(*PARAMS[CELL][:2], bias=jnp.ones(1, jnp.float32))},
        ),
        (TypeError, "`params` ... float32 ... `xs` is float64 ... astype", {"xs": XS.astype(np.float64)}),
        (TypeError, "`cell` ... Cell, Stack or Bidirectional ... got <class", {"cell": LSTM, "params": PARAMS[CELL]}),
        (
            ValueError,
            "`params` of a Stack ... tuple of 2 ... got 1 ... init",
            {"cell": STACK, "params": (PARAMS[CELL],)},
        ),
    ]
)
def test_inputs_and_parameters(error, message, how):
    refused(error, message, lambda: unroll(**how))


@table(
    [
        (ValueError, "LSTM ... float32[2, 4] ... got ... float32[3, 4]", CELL.init_carry((3,), jnp.float32)),
        (ValueError, "LSTM ... float32[2, 4] ... got ... float32[4]", CELL.init_carry((), jnp.float32)),
        (ValueError, "LSTM ... float32[2, 4] ... got ... float32[2, 5]", LSTM(5).init_carry((2,), jnp.float32)),
        (ValueError, "LSTM ... float32[2, 4] ... got ... float64[2, 4]", CELL.init_carry((2,), jnp.float64)),
        (ValueError, "LSTM ... LSTMCarry ... got HiddenCarry", GRU(4).init_carry((2,), jnp.float32)),
        (ValueError, "LSTM ... LSTMCarry ... got (float32", tuple(CELL.init_carry((2,), jnp.float32))),
        (ValueError, "LSTM ... LSTMCarry ... got float32[2, 4]", np.zeros((2, 4), np.float32)),
        (ValueError, "LSTM ... LSTMCarry ... got 0.0", 0.0),
        (ValueError, "LRU ... complex64[2, 4] ... got ... float32[2, 4]", GRU(4).init_carry((2,), jnp.float32)),
        (ValueError, "Stack ... tuple of 2 ... got 3 entries", (None,) * 3),
        (ValueError, "Stack ... tuple of 2 ... got a list", [None, None]),
        (ValueError, "GRU ... float32[2, 3] ... got ... float32[3, 3]", STACK.init_carry((3,), jnp.float32)),
    ]
)
def test_carries(error, message, how):
    cell = {"LRU": RING, "Stack": STACK, "GRU": STACK}.get(message.split()[0], CELL)
    refused(error, f"`carry` of ... {message} ... init_carry", lambda: unroll(cell=cell, carry=how))


@table(
    [
        (ValueError, "between 0 and the 6 ... got 2 to 7 ... Clip", np.array([2, 7])),
        (ValueError, "between 0 and the 6 ... got -1 to 2 ... Clip", np.array([2, -1])),
        (TypeError, "integers ... got float64 ... astype(int)", np.array([2.0, 3.0])),
        (ValueError, "batch shape (2,) ... got (3,) ... one length for each", np.array([1, 2, 3])),
        (ValueError, "batch shape (2,) ... got () ... one length for each", 3),
    ]
)
def test_lengths(error, message, how):
    refused(error, f"`lengths` ... {message}", lambda: unroll(lengths=how))


def test_lengths_that_a_compiled_function_closes_over():
    lengths = jnp.array([6, 2])
    jax.tree.map(np.testing.assert_array_equal, jax.jit(lambda: unroll(lengths=lengths))(), unroll(lengths=lengths))


def test_lengths_that_are_traced_cannot_be_looked_at():
    """Too long counts as full."""
    ys = jax.jit(lambda lengths: unroll(lengths=lengths)[1])(np.array([9, 6]))
    assert np.isfinite(ys).all()
    np.testing.assert_array_equal(ys, unroll()[1])


@pytest.mark.parametrize("name", ["mask", "resets"])
@table(
    [
        (TypeError, "boolean ... got int64 ... != 0", np.ones((6, 2), np.int64)),
        (ValueError, "(time, *batch) = (6, 2) ... got (6,) ... broadcast_to", np.ones(6, bool)),
        (ValueError, "(time, *batch) = (6, 2) ... got (2, 6) ... broadcast_to", np.ones((2, 6), bool)),
    ]
)
def test_flags(name, error, message, how):
    refused(error, f"`{name}` ... {message}", lambda: unroll(**{name: how}))


@table(
    [
        (TypeError, "`backend` ... got 'scan' ... None", lambda: unroll(backend="scan")),
        (TypeError, "`backend` ... got <class ... None", lambda: unroll(backend=Scan)),
        (
            jaxrnn.UnsupportedBackend,
            "`backend` Associative() ... LSTM ... not linear ... Leave `backend` None",
            lambda: unroll(backend=Associative()),
        ),
        (
            TypeError,
            "ChunkedScan ... `chunks`=4 ... chunk, checkpoint_every, keep_gates",
            lambda: ChunkedScan(chunks=4),
        ),
        (TypeError, "Associative ... `chunk`=4 ... Options: none", lambda: Associative(chunk=4)),
        (ValueError, "Scan ... `unroll` ... at least 1, got 0", lambda: Scan(unroll=0)),
        (ValueError, "Scan ... `checkpoint_every` ... at least 1, got -1", lambda: Scan(checkpoint_every=-1)),
        (ValueError, "ChunkedScan ... `chunk` ... whole number ... got 2.0", lambda: ChunkedScan(chunk=2.0)),
        (TypeError, "ChunkedScan ... `keep_gates` ... True, False or None, got 1", lambda: ChunkedScan(keep_gates=1)),
        (ValueError, "ChunkedScan ... `checkpoint_every` ... got 0", lambda: ChunkedScan(checkpoint_every=0)),
    ]
)
def test_backends(error, message, how):
    refused(error, message, how)


@pytest.mark.parametrize("size", [0, -2, 1.5])
@pytest.mark.parametrize(
    "cell", [Elman, GRU, LSTM, MinGRU, UserGated, jaxrnn.ResetBeforeGRU, jaxrnn.ConstantErrorCarousel]
)
def test_hidden_sizes(cell, size):
    refused(
        ValueError,
        f"{cell.__name__} ... `hidden_size` ... whole number of at least 1 ... got {size}",
        lambda: cell(size),
    )


@table(
    [
        (ValueError, "Jordan ... `outputs` ... at least 1 ... got 0", lambda: Jordan(4, 0)),
        (ValueError, "activation ... 'swish' ... 'tanh', 'relu'", lambda: Elman(4, "swish")),
        (ValueError, "activation ... 'swish' ... 'softmax'", lambda: Jordan(4, 2, output_activation="swish")),
        (
            ValueError,
            "`min_radius` and `max_radius` ... 0 <= min < max < 1 ... 0.9 and 0.5",
            lambda: LRU(4, 3, 0.9, 0.5),
        ),
        (ValueError, "`max_phase` ... positive ... got 0", lambda: LRU(4, 3, max_phase=0)),
        (ValueError, "`features` ... at least 1 ... got 0", lambda: LRU(4, 0)),
        (ValueError, "`input_size` ... features=3 ... got 5 ... features=input_size", lambda: RING.init(KEY, 5)),
        (TypeError, "Mine: step is derived ... remove", lambda: mine(jaxrnn.Cell, "step")),
        (TypeError, "Mine: advance is derived ... remove", lambda: mine(UserGated, "advance")),
        (TypeError, "Mine: advance, output is derived ... remove", lambda: mine(UserLinear, "output", "advance")),
        (ValueError, "Chrono ... `longest` ... at least 2 ... got 1", lambda: Chrono(1)),
        (ValueError, "bias_init ... Chrono ... has none ... ZeroBias()", lambda: biased(Chrono(10))),
        (ValueError, "bias_init ... ForgetBias ... has none ... ZeroBias()", lambda: biased(ForgetBias())),
        (ValueError, "Stack ... `cells` ... at least one ... got none", lambda: Stack(())),
        (TypeError, "Stack ... a Cell, Stack or Bidirectional ... got 3", lambda: Stack((GRU(3), 3))),
        (
            TypeError,
            "Bidirectional ... a Cell, Stack or Bidirectional ... got None",
            lambda: Bidirectional(GRU(3), None),
        ),
        (
            ValueError,
            "Bidirectional ... `residual` ... 8 features ... got 3 ... sizes",
            lambda: Bidirectional(GRU(4), GRU(4), residual=True).init(KEY, 3),
        ),
    ]
)
def test_cells_initialisers_and_networks(error, message, how):
    refused(error, message, how)


def mine(base, *methods):
    return type("Mine", (base,), dict.fromkeys(methods, lambda *_: None))


def biased(bias_init):
    return Elman(4, bias_init=bias_init).init(KEY, 3)
