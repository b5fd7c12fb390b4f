"""Backpropagation through time, derived by hand for an Elman network, and the same as jax.grad to 1e-10.

Command:  python -m experiments.bptt_by_hand
Runtime:  7 seconds on one core; --smoke 6 seconds, nearly all of it importing and compiling
Expected: largest difference from jax.grad below 1e-10 for every copy of every parameter (about 1e-15);
          bptt_by_hand.png and .svg, table.md and results.json in one folder

The network reads x_1 ... x_T and scores every output (many to many); vectors are columns, h_0 = 0:

    z_t = U x_t + W h_{t-1} + b     h_t = tanh(z_t)         the hidden state
    o_t = V h_t + c                 p_t = softmax(o_t)      one probability for each character
    L   = sum_t L_t                 L_t = -ln p_t[y_t]      y_t: the character that comes next

1. The output. L_t = ln(sum_k exp(o_t[k])) - o_t[y_t], so with y_t also read as a one-hot vector

       d_t = dL/do_t = p_t - y_t.

2. The hidden state. L depends on h_t along two paths: at once through o_t = V h_t + c, and later through
   z_{t+1} = W h_t + ... alone, since everything after step t sees h_t only there. The chain rule adds the two:

       a_t = dL/dh_t = V^T d_t + W^T e_{t+1},     e_t = dL/dz_t = (1 - h_t^2) * a_t,

   the latter because dtanh(z)/dz = 1 - tanh(z)^2, entry by entry. No step follows the last: e_{T+1} = 0.
   So one walk from T down to 1 gives every a_t and e_t. Put in one line, e_{t+1} reaches back by

       a_t = V^T d_t + W^T (a_{t+1} * (1 - h_{t+1}^2)),

   and k steps back by k such factors: this product is what vanishes or explodes.

3. The copies. Unfold the network: let step t have parameters of its own, U_t, W_t, b_t, V_t, c_t. W_t occurs in
   z_t alone, and dz_t[i]/dW_t[i, j] = h_{t-1}[j]; the others likewise. Each copy's share is an outer product:

       dL/dU_t = e_t x_t^T     dL/dW_t = e_t h_{t-1}^T     dL/db_t = e_t     dL/dV_t = d_t h_t^T     dL/dc_t = d_t

4. The sum. All copies are one: W_t = W, which moves every W_t one to one. The chain rule adds, it does not average:

       dL/dW = sum_t dL/dW_t,     and so for U, b, V and c.

jaxrnn holds the transposes, since it writes x @ input: input = U^T, recurrent = W^T, bias = b.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rich.console import Console
from rich.table import Table

from benchmarks.command import Failed, check_at_least, check_seed, command, ready_folder
from benchmarks.environment import machine, versions
from benchmarks.figure import save
from experiments.bptt_figure import draw
from jaxrnn import Elman, GatedParams, files, unroll

TEXT = "to be, or not to be: that is the question"  # Shakespeare, Hamlet, act 3, scene 1
TOLERANCE = 1e-10


class Parameters(NamedTuple):
    """U (h, i), W (h, h), b (h,), V (i, h), c (i,), as above; or their gradients; or copies, with time in front."""

    U: Any
    W: Any
    b: Any
    V: Any
    c: Any


class Pass(NamedTuple):
    """What the forward pass leaves: states h_0 ... h_T, probabilities p_1 ... p_T, and the loss in nats."""

    hs: np.ndarray
    ps: np.ndarray
    loss: float


def forward(p: Parameters, xs: np.ndarray, ys: np.ndarray) -> Pass:
    """The network; `xs` (T, i) and `ys` (T, i) are one-hot."""
    hs, ps = [np.zeros(len(p.b))], []
    for x in xs:
        hs.append(np.tanh(p.U @ x + p.W @ hs[-1] + p.b))
        o = p.V @ hs[-1] + p.c
        ps.append(np.exp(o - o.max()) / np.exp(o - o.max()).sum())
    return Pass(np.array(hs), np.array(ps), float(-np.log((np.array(ps) * ys).sum(axis=1)).sum()))


def backward(p: Parameters, forth: Pass, xs: np.ndarray, ys: np.ndarray) -> tuple[Parameters, np.ndarray]:
    """The share of every copy (T, ...), and the adjoints a_t (T, h)."""
    hs = forth.hs  # hs[t] is h_t: one longer than the inputs, since it begins with h_0
    d = forth.ps - ys  # step 1
    a, e = np.zeros_like(hs[1:]), np.zeros_like(hs[1:])
    later = np.zeros(len(p.b))  # W^T e_{t+1}, nothing after the last step
    for t in reversed(range(len(xs))):  # step 2; entry t of a, e, d and xs belongs to h_{t+1}: Python counts from 0
        a[t] = p.V.T @ d[t] + later
        e[t] = (1 - hs[t + 1] ** 2) * a[t]
        later = p.W.T @ e[t]
    outer = "ti,tj->tij"
    copies = Parameters(  # step 3
        U=np.einsum(outer, e, xs), W=np.einsum(outer, e, hs[:-1]), b=e, V=np.einsum(outer, d, hs[1:]), c=d
    )
    return copies, a


def total(copies: Parameters) -> Parameters:
    """The gradient by the shared parameters: the sum over their copies (step 4)."""
    return Parameters(*(copy.sum(axis=0) for copy in copies))


def as_jaxrnn(p: Parameters) -> GatedParams:
    """The same weights as an Elman cell holds them."""
    return GatedParams(jnp.swapaxes(p.U, -1, -2), jnp.swapaxes(p.W, -1, -2), p.b)


def cross_entropy(logits, ys):
    """-sum_t ln softmax(o_t)[y_t]."""
    return -jnp.sum(jax.nn.log_softmax(logits) * ys)


@jax.jit
def jax_total(p: Parameters, xs, ys) -> tuple[Any, Parameters]:
    """(loss, gradient) of the whole network through `jaxrnn.unroll`."""

    def loss(p):
        _, hs = unroll(Elman(len(p.b)), as_jaxrnn(p), xs)
        return cross_entropy(hs @ p.V.T + p.c, ys)

    return jax.value_and_grad(loss)(p)


@jax.jit
def jax_copies(p: Parameters, xs, ys) -> Parameters:
    """The gradient by each copy: parameters broadcast to (T, ...), and one unroll of one step with each."""
    cell = Elman(len(p.b))

    def step(carry, inputs):
        copy, x = inputs
        carry, hs = unroll(cell, as_jaxrnn(copy), x[None], carry)
        return carry, hs[0] @ copy.V.T + copy.c

    def loss(copies):
        _, logits = lax.scan(step, cell.init_carry((), xs.dtype), (copies, xs))
        return cross_entropy(logits, ys)

    return jax.grad(loss)(Parameters(*(jnp.broadcast_to(leaf, (len(xs), *leaf.shape)) for leaf in p)))


def problem(text: str, hidden: int, seed: int) -> tuple[Parameters, np.ndarray, np.ndarray]:
    """Parameters, inputs and targets: each character one-hot, the target the one after it."""
    alphabet = sorted(set(text))
    one_hot = np.eye(len(alphabet))[[alphabet.index(character) for character in text]]
    size, rng = len(alphabet), np.random.default_rng(seed)
    p = Parameters(
        U=rng.normal(size=(hidden, size)),  # of a one-hot input it passes one column on
        W=rng.normal(size=(hidden, hidden)) / np.sqrt(hidden),
        b=0.1 * rng.normal(size=hidden),
        V=rng.normal(size=(size, hidden)) / np.sqrt(hidden),
        c=0.1 * rng.normal(size=size),
    )
    return p, one_hot[:-1], one_hot[1:]


@dataclass(frozen=True)
class Settings:
    """Backpropagation through time by hand, in NumPy, and beside it jax.grad through jaxrnn.

    An Elman network reads a line of Shakespeare character by character and gives each next one a probability. Writes
    a figure (PNG, SVG), a table and data (JSON) into one folder: what each unfolded copy of each parameter adds to
    its gradient. Ends with exit code 1 if a number differs from jax.grad by more than 1e-10.
    """

    hidden_size: int = 16
    """Units of the network."""
    seed: int = 0
    """From which the parameters are drawn."""
    out: Path | None = None
    """Folder for the results. Default: scratch/bptt_by_hand."""
    smoke: bool = False
    """A quick look that all works: the first 12 characters and 4 units; replaces these settings."""


def compute(settings: Settings) -> dict[str, Any]:
    """Everything that is written, as it stands in the JSON."""
    text, hidden = (TEXT[:12], 4) if settings.smoke else (TEXT, settings.hidden_size)
    p, xs, ys = problem(text, hidden, settings.seed)
    forth = forward(p, xs, ys)
    copies, adjoints = backward(p, forth, xs, ys)
    with jax.enable_x64(True):
        on_device = Parameters(*map(jnp.asarray, p))
        loss, expected = jax.tree.map(np.asarray, jax_total(on_device, jnp.asarray(xs), jnp.asarray(ys)))
        expected_copies = jax.tree.map(np.asarray, jax_copies(on_device, jnp.asarray(xs), jnp.asarray(ys)))
    parameters = {}
    for name, own, summed, theirs, their_sum in zip(
        Parameters._fields, copies, total(copies), expected_copies, expected, strict=True
    ):
        norms = np.linalg.norm(own.reshape(len(own), -1), axis=1)
        parameters[name] = {
            "shape": list(summed.shape),
            "norm_of_each_copy": norms.tolist(),
            "norm_of_sum": float(np.linalg.norm(summed)),
            "sum_of_norms": float(norms.sum()),
            "difference_of_copies": float(np.abs(own - theirs).max()),
            "difference_of_sum": float(np.abs(summed - their_sum).max()),
        }
    differences = [abs(forth.loss - float(loss))]
    differences += [entry[f"difference_of_{part}"] for entry in parameters.values() for part in ("copies", "sum")]
    return {
        "settings": {"text": text, "hidden_size": hidden, "seed": settings.seed, "smoke": settings.smoke},
        "versions": versions(),
        "machine": machine(),
        "loss_nats": forth.loss,
        "largest_difference": float(np.max(differences)),
        "probability_of_target": (forth.ps * ys).sum(axis=1).tolist(),
        "norm_of_adjoint": np.linalg.norm(adjoints, axis=1).tolist(),
        "parameters": parameters,
    }


TITLE = "Gradients by hand, each the sum over its unfolded copies"
HEADINGS = ("parameter", "shape", "norm of the sum", "sum of the norms", "copies off by", "sum off by")


def table_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each parameter."""
    return [
        (
            name,
            " x ".join(map(str, entry["shape"])),
            f"{entry['norm_of_sum']:.4f}",
            f"{entry['sum_of_norms']:.4f}",
            f"{entry['difference_of_copies']:.1e}",
            f"{entry['difference_of_sum']:.1e}",
        )
        for name, entry in results["parameters"].items()
    ]


def closing(results: dict[str, Any]) -> str:
    """The one sentence of the run."""
    return (
        f"Loss {results['loss_nats']:.4f} nats over {len(results['settings']['text']) - 1} steps; largest difference "
        f"from jax.grad, over every copy of every parameter, their sums and the loss: "
        f"{results['largest_difference']:.1e}."
    )


def to_markdown(results: dict[str, Any]) -> str:
    """The table as a file."""
    return f"{TITLE}\n\n{files.markdown_table(HEADINGS, table_rows(results))}\n{closing(results)}\n"


def to_table(results: dict[str, Any]) -> Table:
    """The table for the terminal."""
    table = Table(title=TITLE, caption=closing(results))
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right")
    for row in table_rows(results):
        table.add_row(*row)
    return table


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    check_at_least(settings, 1, "hidden_size")
    check_seed(settings)
    return settings, ready_folder(settings.out, "bptt_by_hand")


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Computes, compares and writes."""
    results = compute(settings)
    if not results["largest_difference"] <= TOLERANCE:
        raise Failed(f"differs from jax.grad. {closing(results)} Nothing was written.")
    texts = {
        "results.json": files.text(json.dumps(results, indent=1, allow_nan=False, ensure_ascii=False) + "\n"),
        "table.md": files.text(to_markdown(results)),
    }
    picture = draw(results)
    pictures = {f"bptt_by_hand.{kind}": lambda path: save(picture, path) for kind in ("png", "svg")}
    files.write_all(folder, texts | pictures)
    Console(width=120).print(to_table(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says: 1 if a gradient differs."""
    return command(Settings, plan, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
