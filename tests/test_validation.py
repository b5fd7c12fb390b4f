"""Bad input: every error names the argument, what was got, and the cure."""

import re

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import jaxrnn
from jaxrnn import (
    GRU,
    LRU,
    LSTM,
    Associative,
    Bidirectional,
    ChunkedScan,
    Elman,
    Jordan,
    MinGRU,
    Scan,
    Stack,
    UnsupportedBackend,
)
from jaxrnn.initializers import Chrono, ForgetBias
from tests.examples import UserGated, UserLinear

CELL = LSTM(4)
PARAMS = CELL.init(jax.random.key(0), 3)
XS = np.zeros((6, 2, 3), np.float32)
STACK = Stack((GRU(3), GRU(3)))


@pytest.fixture(autouse=True)
def without_type_checks():
    """Messages are read as a user gets them: the type checker of the suite would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def unroll(xs=XS, carry=None, cell=CELL, params=PARAMS, **how):
    return jaxrnn.unroll(cell, params, xs, carry, **how)


def carry(cell=CELL, batch=(2,), dtype=jnp.float32):
    return cell.init_carry(batch, dtype)


def subclass(base, *methods):
    return type("Mine", (base,), dict.fromkeys(methods, lambda *_: None))


# What is wrong: (error, what the message says about argument, value got and cure, in this order, call)
BAD = {
    # Inputs
    "rank": (ValueError, ["`xs`", "(time, *batch, features)", "got shape (6,)", "xs[..., None]"], lambda: unroll(XS[:, 0, 0])),
    "features": (ValueError, ["`xs` float32[6, 2, 5]", "`params` of LSTM", "cell.init("], lambda: unroll(np.zeros((6, 2, 5), np.float32))),
    "integers": (TypeError, ["`xs`", "got int32", "one_hot"], lambda: unroll(XS.astype(np.int32))),
    "booleans": (TypeError, ["`xs`", "got bool", "astype"], lambda: unroll(XS.astype(bool))),
    "complex": (TypeError, ["`xs`", "got complex64", "astype"], lambda: unroll(XS.astype(np.complex64))),
    "nothing": (ValueError, ["`xs`", "no arrays", "(time, *batch, features)"], lambda: unroll(())),
    "mixed-xs": (TypeError, ["`xs`", "got float32 and float64", "Cast"], lambda: unroll((XS, XS.astype(np.float64)))),
    "mixed-params": (TypeError, ["`params`", "float32", "`xs` is float64", "astype"], lambda: unroll(XS.astype(np.float64))),
    "batch-of-xs": (ValueError, ["`xs`", "got shapes (6, 2, 3) and (6, 1, 3)", "Broadcast"], lambda: unroll((XS, XS[:, :1]))),
    "no-cell": (TypeError, ["`cell`", "Cell, Stack or Bidirectional", "got <class"], lambda: unroll(cell=LSTM)),
    # Carries
    "batch-of-carry": (ValueError, ["`carry` of LSTM", "float32[2, 4]", "got", "float32[3, 4]", "init_carry((2,)"], lambda: unroll(carry=carry(batch=(3,)))),
    "no-batch-in-carry": (ValueError, ["`carry` of LSTM", "got", "float32[4]", "init_carry"], lambda: unroll(carry=carry(batch=()))),
    "size-of-carry": (ValueError, ["`carry` of LSTM", "got", "float32[2, 5]", "init_carry"], lambda: unroll(carry=carry(LSTM(5)))),
    "dtype-of-carry": (ValueError, ["`carry` of LSTM", "got", "float64[2, 4]", "init_carry"], lambda: unroll(carry=carry(dtype=jnp.float64))),
    "carry-of-another-cell": (ValueError, ["`carry` of LSTM", "got HiddenCarry", "init_carry"], lambda: unroll(carry=carry(GRU(4)))),
    "carry-as-a-tuple": (ValueError, ["`carry` of LSTM", "LSTMCarry", "got (", "init_carry"], lambda: unroll(carry=tuple(carry()))),
    "carry-as-an-array": (ValueError, ["`carry` of LSTM", "got float32[2, 4]", "init_carry"], lambda: unroll(carry=carry().h)),
    "real-carry-of-complex": (
        ValueError, ["`carry` of LRU", "complex64", "got", "float32", "init_carry"],
        lambda: unroll(cell=LRU(4, 3), params=LRU(4, 3).init(jax.random.key(0), 3), carry=jaxrnn.HiddenCarry(jnp.zeros((2, 4), jnp.float32))),
    ),
    # What acts
    "lengths-too-long": (ValueError, ["`lengths`", "between 0 and the 6", "got 2 to 7", "Clip"], lambda: unroll(lengths=np.array([2, 7]))),
    "lengths-negative": (ValueError, ["`lengths`", "between 0 and the 6", "got -1 to 2", "Clip"], lambda: unroll(lengths=np.array([2, -1]))),
    "lengths-floating": (TypeError, ["`lengths`", "integers", "got float64", "astype(int)"], lambda: unroll(lengths=np.array([2.0, 3.0]))),
    "lengths-of-another-batch": (ValueError, ["`lengths`", "batch shape (2,)", "got (3,)", "one length for each"], lambda: unroll(lengths=np.array([1, 2, 3]))),
    "lengths-for-all": (ValueError, ["`lengths`", "batch shape (2,)", "got ()", "one length for each"], lambda: unroll(lengths=3)),
    **{
        f"{flags}-{wrong}": (error, [f"`{flags}`", *says], lambda flags=flags, value=value: unroll(**{flags: value}))
        for flags in ("mask", "resets")
        for wrong, error, says, value in (
            ("integers", TypeError, ["boolean", "got int64", "!= 0"], np.ones((6, 2), np.int64)),
            ("without-batch", ValueError, ["(time, *batch) = (6, 2)", "got (6,)", "broadcast_to"], np.ones(6, bool)),
            ("transposed", ValueError, ["(time, *batch) = (6, 2)", "got (2, 6)", "broadcast_to"], np.ones((2, 6), bool)),
        )
    },
    # Backends
    "no-backend": (TypeError, ["`backend`", "got 'scan'", "None"], lambda: unroll(backend="scan")),
    "backend-class": (TypeError, ["`backend`", "got <class", "None"], lambda: unroll(backend=Scan)),
    "backend-refuses": (UnsupportedBackend, ["`backend` Associative()", "LSTM", "not linear", "Leave `backend` None"], lambda: unroll(backend=Associative())),
    "unknown-option": (TypeError, ["ChunkedScan", "unknown option `chunks`=4", "chunk, checkpoint_every"], lambda: ChunkedScan(chunks=4)),
    "option-of-none": (TypeError, ["Associative", "unknown option `chunk`=4", "Options: none"], lambda: Associative(chunk=4)),
    **{
        f"{option}-{value}": (ValueError, [backend.__name__, f"`{option}`", "at least 1", f"got {value}"], lambda b=backend, o=option, v=value: b(**{o: v}))
        for backend, option, value in ((Scan, "unroll", 0), (Scan, "checkpoint_every", -1), (ChunkedScan, "chunk", 2.0), (ChunkedScan, "checkpoint_every", 0))
    },
    # Cells
    **{
        f"{cell.__name__}-of-{size}": (ValueError, [cell.__name__, "`hidden_size`", "at least 1", f"got {size}"], lambda c=cell, s=size: c(s))
        for cell in (Elman, GRU, LSTM, MinGRU, UserGated, jaxrnn.ResetBeforeGRU, jaxrnn.ConstantErrorCarousel)
        for size in (0, -2, 1.5)
    },
    "no-outputs": (ValueError, ["Jordan", "`outputs`", "at least 1", "got 0"], lambda: Jordan(4, 0)),
    "activation": (ValueError, ["activation", "'swish'", "'tanh', 'relu'"], lambda: Elman(4, "swish")),
    "output-activation": (ValueError, ["activation", "'swish'", "'softmax'"], lambda: Jordan(4, 2, output_activation="swish")),
    "radii": (ValueError, ["`min_radius` and `max_radius`", "got 0.9 and 0.5"], lambda: LRU(4, 3, 0.9, 0.5)),
    "phase": (ValueError, ["`max_phase`", "positive", "got 0"], lambda: LRU(4, 3, max_phase=0)),
    "no-features": (ValueError, ["`features`", "at least 1", "got 0"], lambda: LRU(4, 0)),
    "lru-input": (ValueError, ["`input_size`", "features=3", "got 5", "features=input_size"], lambda: LRU(4, 3).init(jax.random.key(0), 5)),
    "own-step": (TypeError, ["Mine: step", "derived", "remove"], lambda: subclass(jaxrnn.Cell, "step")),
    "own-advance": (TypeError, ["Mine: advance", "derived", "remove"], lambda: subclass(UserGated, "advance")),
    "own-output": (TypeError, ["Mine: advance, output", "derived", "remove"], lambda: subclass(UserLinear, "output", "advance")),
    # Initialisers
    "chrono": (ValueError, ["Chrono", "`longest`", "at least 2", "got 1"], lambda: Chrono(1)),
    **{
        type(init).__name__ + "-without-a-gate": (ValueError, ["bias_init", type(init).__name__, "has none", "ZeroBias()"], lambda i=init: Elman(4, bias_init=i).init(jax.random.key(0), 3))
        for init in (ForgetBias(), Chrono(10))
    },
    # Networks
    "empty-stack": (ValueError, ["Stack", "`cells`", "at least one", "got none"], lambda: Stack(())),
    "stack-of-something": (TypeError, ["Stack", "Cell, Stack or Bidirectional", "got 3"], lambda: Stack((GRU(3), 3))),
    "bidirectional-of-something": (TypeError, ["Bidirectional", "Cell, Stack or Bidirectional", "got None"], lambda: Bidirectional(GRU(3), None)),
    "residual-sizes": (ValueError, ["`residual`", "8 features", "got 3", "sizes"], lambda: Bidirectional(GRU(4), GRU(4), residual=True).init(jax.random.key(0), 3)),
    "stack-params": (ValueError, ["`params` of a Stack", "tuple of 2", "got 1 entries", "init"], lambda: unroll(cell=STACK, params=(PARAMS,))),
    "stack-carry": (ValueError, ["`carry` of a Stack", "tuple of 2", "got 3 entries", "init_carry"], lambda: unroll(cell=STACK, params=STACK.init(jax.random.key(0), 3), carry=(None,) * 3)),
    "stack-carry-list": (ValueError, ["`carry` of a Stack", "tuple of 2", "got a list", "init_carry"], lambda: unroll(cell=STACK, params=STACK.init(jax.random.key(0), 3), carry=[None, None])),
    "layer-carry": (ValueError, ["`carry` of GRU", "got", "float32[3, 3]", "init_carry"], lambda: unroll(cell=STACK, params=STACK.init(jax.random.key(0), 3), carry=STACK.init_carry((3,)))),
}  # fmt: skip


@pytest.mark.parametrize("error, says, call", BAD.values(), ids=BAD.keys())
def test_bad_input(error, says, call):
    with pytest.raises(error, match="(?s)" + ".*".join(map(re.escape, says))):
        call()


def test_lengths_that_are_traced_are_taken_as_they_are():
    """Their values cannot be looked at; too long counts as full."""
    ys = jax.jit(lambda lengths: unroll(lengths=lengths)[1])(np.array([9, 6]))
    np.testing.assert_array_equal(ys, unroll()[1])


@pytest.mark.parametrize(
    "cell", [CELL, STACK, Bidirectional(LSTM(3), GRU(3)), ChunkedScan(4)], ids=lambda c: type(c).__name__
)
def test_nothing_can_be_set_afterwards(cell):
    with pytest.raises(AttributeError):
        cell.hidden_size = 7
