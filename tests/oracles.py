"""NumPy oracles in float64: one step of each cell as its paper writes it, and the semantics of a whole run.

Written apart from the library: of jaxrnn only the fields of parameters and cells are read. A step maps
(cell, params, carry, x) of one sample to (carry, y), the carry a tuple of arrays.
"""

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softmax(a):
    return np.exp(a) / np.exp(a).sum()


FUNCTIONS = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "relu": lambda a: a * (a > 0),
    "identity": lambda a: a,
}


def by_gate(params, h):
    """(W, U, b) of each gate, in the order of the columns."""
    n = len(h)
    for k, start in enumerate(range(0, len(params.bias), n)):
        gate = slice(start, start + n)
        yield params.input[:, gate], matrix(params.recurrent, k, n), params.bias[gate]


def matrix(recurrent, k, n):
    """U (n, n) of gate k: the heads are blocks on its diagonal, elsewhere are zeros."""
    if recurrent.ndim == 2:
        return recurrent[:, k * n : (k + 1) * n]
    U, width = np.zeros((n, n)), recurrent.shape[1]
    for head, block in enumerate(recurrent):
        own = slice(head * width, (head + 1) * width)
        U[own, own] = block[:, k * width : (k + 1) * width]
    return U


def elman(cell, p, carry, x):
    (h,) = carry
    h = FUNCTIONS[cell.activation](p.input.T @ x + matrix(p.recurrent, 0, len(h)).T @ h + p.bias)
    return (h,), h


def jordan(cell, p, carry, x):
    _, o = carry
    h = FUNCTIONS[cell.activation](p.input.T @ x + p.feedback.T @ o + p.bias)
    o = FUNCTIONS[cell.output_activation](p.output.T @ h + p.output_bias)
    return (h, o), o


def elman_jordan(cell, p, carry, x):
    h, o = carry
    h = FUNCTIONS[cell.activation](p.input.T @ x + p.recurrent.T @ h + p.feedback.T @ o + p.bias)
    o = FUNCTIONS[cell.output_activation](p.output.T @ h + p.output_bias)
    return (h, o), o


def carousel(cell, p, carry, x):
    (c,) = carry
    c = c + np.tanh(p.input.T @ x + p.recurrent.T @ np.tanh(c) + p.bias)
    return (c,), np.tanh(c)


def original_lstm(cell, p, carry, x):
    h, c = carry
    (W_i, U_i, b_i), (W_g, U_g, b_g), (W_o, U_o, b_o) = by_gate(p, h)
    i = sigmoid(x @ W_i + h @ U_i + b_i)
    g = np.tanh(x @ W_g + h @ U_g + b_g)
    o = sigmoid(x @ W_o + h @ U_o + b_o)
    c = c + i * g
    h = o * np.tanh(c)
    return (h, c), h


def lstm(cell, p, carry, x):
    h, c = carry
    (W_i, U_i, b_i), (W_f, U_f, b_f), (W_g, U_g, b_g), (W_o, U_o, b_o) = by_gate(p, h)
    i = sigmoid(x @ W_i + h @ U_i + b_i)
    f = sigmoid(x @ W_f + h @ U_f + b_f)
    g = np.tanh(x @ W_g + h @ U_g + b_g)
    o = sigmoid(x @ W_o + h @ U_o + b_o)
    c = f * c + i * g
    h = o * np.tanh(c)
    return (h, c), h


def peephole_lstm(cell, p, carry, x):
    h, c = carry
    (W_i, U_i, b_i), (W_f, U_f, b_f), (W_g, U_g, b_g), (W_o, U_o, b_o) = by_gate(p, h)
    i = sigmoid(x @ W_i + h @ U_i + p.pointwise.input * c + b_i)
    f = sigmoid(x @ W_f + h @ U_f + p.pointwise.forget * c + b_f)
    g = np.tanh(x @ W_g + h @ U_g + b_g)
    new_c = f * c + i * g
    o = sigmoid(x @ W_o + h @ U_o + p.pointwise.output * new_c + b_o)
    h = o * np.tanh(new_c)
    return (h, new_c), h


def coupled_lstm(cell, p, carry, x):
    h, c = carry
    (W_f, U_f, b_f), (W_g, U_g, b_g), (W_o, U_o, b_o) = by_gate(p, h)
    f = sigmoid(x @ W_f + h @ U_f + b_f)
    g = np.tanh(x @ W_g + h @ U_g + b_g)
    o = sigmoid(x @ W_o + h @ U_o + b_o)
    c = f * c + (1 - f) * g
    h = o * np.tanh(c)
    return (h, c), h


def gru(cell, p, carry, x):
    (h,) = carry
    (W_z, U_z, b_z), (W_r, U_r, b_r), (W_n, U_n, b_n) = by_gate(p, h)
    z = sigmoid(x @ W_z + h @ U_z + b_z)
    r = sigmoid(x @ W_r + h @ U_r + b_r)
    n = np.tanh(x @ W_n + b_n + r * (h @ U_n + p.pointwise))
    h = z * h + (1 - z) * n
    return (h,), h


def reset_before_gru(cell, p, carry, x):
    (h,) = carry
    (W_z, U_z, b_z), (W_r, U_r, b_r), (W_n, U_n, b_n) = by_gate(p, h)
    z = sigmoid(x @ W_z + h @ U_z + b_z)
    r = sigmoid(x @ W_r + h @ U_r + b_r)
    n = np.tanh(x @ W_n + (r * h) @ U_n + b_n)
    h = z * h + (1 - z) * n
    return (h,), h


def min_gru(cell, p, carry, x):
    (h,) = carry
    W_z, W_n = p.input[:, : len(h)], p.input[:, len(h) :]
    z, n = sigmoid(x @ W_z), x @ W_n
    if cell.positive:
        n = np.where(n >= 0, n + 0.5, sigmoid(n))
    h = (1 - z) * h + z * n
    return (h,), h


def lru(cell, p, carry, x):
    (h,) = carry
    B, C = p.input_real + 1j * p.input_imag, p.output_real + 1j * p.output_imag
    eigenvalues = np.exp(-np.exp(p.log_decay) + 1j * np.exp(p.log_phase))
    h = eigenvalues * h + np.exp(p.log_gain) * (x @ B)
    return (h,), (h @ C).real + p.skip * x


STEPS = {
    "Elman": elman,
    "Jordan": jordan,
    "ElmanJordan": elman_jordan,
    "ConstantErrorCarousel": carousel,
    "OriginalLSTM": original_lstm,
    "LSTM": lstm,
    "PeepholeLSTM": peephole_lstm,
    "CoupledLSTM": coupled_lstm,
    "GRU": gru,
    "ResetBeforeGRU": reset_before_gru,
    "MinGRU": min_gru,
    "LRU": lru,
}


def run(step, fresh, carry, xs, outputs, *, length=None, mask=None, resets=None, reverse=False):
    """One sequence, step by step: (carry, ys). Carries are lists of arrays, xs a list of sequences.

    Beyond `length` nothing acts. A reset starts afresh before its step, in reverse after it, whatever the mask.
    """
    time = len(xs[0])
    ys = np.zeros((time, outputs))
    for t in reversed(range(time)) if reverse else range(time):
        if length is not None and t >= length:
            continue
        begins = resets is not None and resets[t]
        if begins and not reverse:
            carry = fresh
        if mask is None or mask[t]:
            carry, ys[t] = step(carry, [x[t] for x in xs])
        if begins and reverse:
            carry = fresh
    return carry, ys
