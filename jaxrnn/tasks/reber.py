"""The embedded Reber grammar: predict the next symbol, whose last but one repeats the second."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxrnn.numerics import zero_unless
from jaxrnn.tasks.batch import Batch
from jaxrnn.tasks.common import check_batch, check_outputs, check_size, leads

SYMBOLS = "BTPSXVE"

# From each state two edges of probability 1/2, "symbol to state"; one edge of probability 1 is written twice.
EDGES = (
    (("B", 1), ("B", 1)),
    (("T", 2), ("P", 2)),  # the symbol to remember
    (("B", 3), ("B", 3)),  # the inner string begins
    (("T", 4), ("P", 5)),
    (("S", 4), ("X", 6)),
    (("T", 5), ("V", 7)),
    (("X", 5), ("S", 8)),
    (("P", 6), ("V", 8)),
    (("E", 9), ("E", 9)),  # the inner string ends
    (("T", 10), ("P", 10)),  # the symbol remembered: to one who has forgotten it, either
    (("E", 11), ("E", 11)),
    (("E", 11), ("E", 11)),  # the end, where nothing more is emitted
)
RECALL, END = 9, 11


@dataclass(frozen=True)
class EmbeddedReber:
    """The embedded Reber grammar (Hochreiter & Schmidhuber, 1997, Neural Computation 9(8), experiment 1).

        string   B, T or P, an inner Reber string B ... E, the same T or P again, E;    target: the next symbol

        inner    after B:  T to 1, P to 2;    1: S to 1, X to 3;    2: T to 2, V to 4;    3: X to 2, S to 5;
                 4: P to 3, V to 5;    5: E.    Each of two edges is taken with probability 1/2.

    Strings have no longest length. Here they are drawn conditioned on at most `longest` symbols, which is as drawing
    until a string is short enough, so that all of them are whole and each has the probability of the grammar over the
    probability of being short enough. Of all strings 0.13% are longer than 30, 0.00025% longer than 50.

    The shortest string has 9 symbols, the mean is 12: no long time lag. Not the plain Reber grammar, which needs
    no memory beyond its state. The paper draws 256 strings once for training and 256 others for a test.

    Shapes: inputs (longest - 1, batch, 7), one-hot of B T P S X V E without each string's last symbol, zero in the
    padding, float32; targets (longest - 1, batch), classes in the same order, int32; mask True where there is a next
    symbol. Units: none.

    Raises:
        ValueError: longest is below 9.

    Example:
        >>> round(EmbeddedReber(longest=50).baseline(), 4), round(8 * np.log(2).item() / 11, 4)
        (0.5041, 0.5041)
    """

    longest: int = 50

    def __post_init__(self):  # noqa: D105
        check_size(self, "longest", 9, "the symbols of the shortest string")

    @property
    def input_size(self) -> int:
        """Features of a step: one-hot of the symbols."""
        return len(SYMBOLS)

    @property
    def output_size(self) -> int:
        """Outputs of the readout: a class for each symbol."""
        return len(SYMBOLS)

    def sample(self, key, batch: int) -> Batch:
        """Draws `batch` sequences; the same key gives the same sequences."""
        check_batch(self, batch)
        symbols, following = jnp.asarray(_symbols(), jnp.int32), jnp.asarray(_following(), jnp.int32)

        def emit(state, drawn):
            uniform, first = drawn
            edge = (uniform >= first[state]).astype(jnp.int32)
            return following[state, edge], (state, symbols[state, edge])

        uniforms = jax.random.uniform(key, (self.longest, batch), jnp.float32)
        drawn = (uniforms, jnp.asarray(self._first_edge(), jnp.float32))
        states, string = lax.scan(emit, jnp.zeros(batch, jnp.int32), drawn)[1]
        string = jnp.where(states == RECALL, string[1], string)
        mask = states[1:] != END
        return Batch(
            inputs=zero_unless(mask, jax.nn.one_hot(string[:-1], len(SYMBOLS), dtype=jnp.float32)),
            targets=jnp.where(mask, string[1:], 0),
            mask=mask,
        )

    def baseline(self) -> float:
        """Nats a step of a predictor that knows the grammar and `longest`, but forgot the outer T or P.

        That is the expected sum of the entropies of all choices, the second T or P among them, over the expected number
        of scored steps, exact by the Markov chain of the strings. Without a bound there are 8 choices of ln 2 in 11
        steps, 8 ln 2 / 11 = 0.5041; one who remembers needs 7 ln 2 / 11 = 0.4411.
        """
        first, symbols, following = self._first_edge(), _symbols(), _following()
        reached, nats, steps = np.eye(len(EDGES))[0], 0.0, -1.0  # the first symbol of a string is not predicted
        for probability in first:
            both = np.stack([probability, 1 - probability], axis=-1)
            entropy = -np.sum(both * np.log(np.where(both > 0, both, 1)), axis=-1)
            nats += reached @ np.where(symbols[:, 0] == symbols[:, 1], 0, entropy)
            steps += 1 - reached[END]
            reached = np.bincount(following.ravel(), (reached[:, None] * both).ravel(), len(EDGES))
        return float(nats / steps)

    def wrong(self, outputs: Float[Array, "time batch 7"], batch: Batch) -> Bool[Array, " batch"]:
        """Whether at any step some impossible next symbol is as active as a possible one, as the paper counts.

        Possible is what the grammar allows after the symbols so far, the remembered T or P alone when it is due,
        whatever `longest` leaves room for.

        Raises:
            ValueError: outputs are not (time, batch, 7).
        """
        check_outputs(self, outputs, batch)
        string = jnp.argmax(batch.inputs, axis=-1).astype(jnp.int32)
        after, possible = jnp.asarray(_after(), jnp.int32), jnp.asarray(_possible())

        def read(state, symbol):
            state = after[state, symbol]
            return state, state

        states = lax.scan(read, jnp.zeros(string.shape[1], jnp.int32), string)[1]
        remembered = jax.nn.one_hot(string[1], len(SYMBOLS), dtype=bool)
        members = jnp.where((states == RECALL)[..., None], remembered, possible[states])
        return jnp.any(batch.mask & ~leads(outputs, members), axis=0)

    def _first_edge(self) -> np.ndarray:
        """The probability (longest, state) of the first edge, given that the string will be short enough."""
        within = np.eye(len(EDGES))[END]  # the probability to end within the symbols that are left
        rows = []
        for _ in range(self.longest):
            both = within[_following()]
            total = both.sum(axis=-1)
            rows.append(np.divide(both[:, 0], total, out=np.full(len(EDGES), 0.5), where=total > 0))
            within = total / 2
        return np.stack(rows[::-1])


def _symbols() -> np.ndarray:
    """The symbol of each edge, (state, 2)."""
    return np.array([[SYMBOLS.index(symbol) for symbol, _ in edges] for edges in EDGES])


def _following() -> np.ndarray:
    """The state each edge leads to, (state, 2)."""
    return np.array([[state for _, state in edges] for edges in EDGES])


def _possible() -> np.ndarray:
    """Whether a state may emit a symbol, (state, symbol)."""
    return np.any(_symbols()[..., None] == np.arange(len(SYMBOLS)), axis=1)


def _after() -> np.ndarray:
    """The state after a symbol, (state, symbol); a symbol that is not possible leads to the end."""
    table = np.full((len(EDGES), len(SYMBOLS)), END)
    np.put_along_axis(table, _symbols(), _following(), axis=1)
    return table
