"""haiku.dynamic_unroll of haiku's cores."""

import haiku
import jax.numpy as jnp

from benchmarks.peers.layout import I_G_F_O, reordered
from jaxrnn.cells import negate_update_gate

CORES = {"LSTM": haiku.LSTM, "ResetBeforeGRU": haiku.GRU}


def weights(cell: str, params):
    """LSTM: one product of (x, h), gates i | g | f | o, 1 added to f inside. Its GRU resets before, and z writes."""
    if cell == "ResetBeforeGRU":
        params = negate_update_gate(params)
        return {"gru": {"w_i": params.input, "w_h": params.recurrent, "b": params.bias}}
    hidden = params.recurrent.shape[0]
    joined = reordered(jnp.concatenate([params.input, params.recurrent]), I_G_F_O)
    one_less = jnp.zeros_like(params.bias).at[2 * hidden : 3 * hidden].set(1)
    return {"lstm/linear": {"w": joined, "b": reordered(params.bias, I_G_F_O) - one_less}}


def network(problem):
    """The core unrolled from its initial state."""

    def run(xs):
        core = CORES[problem.cell](problem.shape.hidden)
        return haiku.dynamic_unroll(core, xs, core.initial_state(problem.shape.batch))[0]

    apply = haiku.without_apply_rng(haiku.transform(run)).apply
    return apply
