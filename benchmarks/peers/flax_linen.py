"""flax.linen.RNN, time first."""

import flax.linen
import jax.numpy as jnp

MODULES = {
    "Elman": flax.linen.SimpleCell,
    "LSTM": flax.linen.OptimizedLSTMCell,
    "GRU": flax.linen.GRUCell,
}
GATES = {"LSTM": "ifgo", "GRU": "zrn"}


def weights(cell: str, params):
    """One kernel for each gate; biases stand with the hidden state in the LSTM, with the input elsewhere."""
    if cell == "Elman":
        return _named({"i": {"kernel": params.input, "bias": params.bias}, "h": {"kernel": params.recurrent}})
    parts = (jnp.split(w, len(GATES[cell]), axis=-1) for w in (params.input, params.recurrent, params.bias))
    named = {}
    for gate, from_input, from_hidden, bias in zip(GATES[cell], *parts, strict=True):
        named[f"i{gate}"] = {"kernel": from_input}
        named[f"h{gate}"] = {"kernel": from_hidden}
        named[f"h{gate}" if cell == "LSTM" else f"i{gate}"]["bias"] = bias
    if cell == "GRU":
        named["hn"]["bias"] = params.pointwise
    return _named(named)


def _named(cell):
    return {"params": {"cell": cell}}


def network(problem):
    """The cell in the RNN module."""
    return flax.linen.RNN(MODULES[problem.cell](problem.shape.hidden), time_major=True).apply
