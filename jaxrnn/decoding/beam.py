"""Beam search: the sentences of highest score among those that a beam of the best beginnings leads to."""

import functools
import math
import numbers
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, PyTree

from jaxrnn.decoding.step import (
    NO_TOKEN,
    Step,
    as_end,
    as_step,
    as_token,
    check_arrays,
    check_end,
    check_size,
    check_step,
    is_distribution,
    wide,
)


class Beams(NamedTuple):
    """Sentences, the one of highest score first.

    Fields:
        tokens: Each from the end on all `end`.
        lengths: How many tokens come before the end.
        scores: log probability / ((5 + n) / 6)^length_penalty, where n counts the end too: min(lengths + 1, length).
            -infinity in a place that is left empty, for fewer sentences than places are possible; its tokens are all
            `end`. NaN in all places if a hypothesis that was still compared met logits that are no distribution, since
            one is NaN or infinity or all are -infinity; the tokens are all -1 then.
    """

    tokens: Int32[Array, "width length"]
    lengths: Int32[Array, " width"]
    scores: Float[Array, " width"]


class _Beam(NamedTuple):
    """Hypotheses, best first, each with its log probability and how many tokens that counts."""

    position: Int32[Array, ""]
    carry: PyTree
    tokens: Int32[Array, "width length"]
    last: Int32[Array, " width"]
    log_probabilities: Float[Array, " width"]
    counts: Int32[Array, " width"]
    finished: Bool[Array, " width"]
    broken: Bool[Array, ""]


def beam_search(
    step: Step,
    carry: PyTree,
    first,
    length: int,
    *,
    width: int,
    end: int,
    length_penalty: float = 0.0,
) -> Beams:
    """Looks for the most likely sentences that follow a token.

        score = sum of ln p(token) / ((5 + n) / 6)^length_penalty,    n tokens, the end counted

    The beam holds `width` hypotheses. At each step the candidates are every live hypothesis with each token after it,
    and every finished one as it is; the `width` of highest score stay, whether live or finished. A candidate with `end`
    is finished. After `length` tokens all compete as they stand, ended or not. Of equal scores that which came from the
    better hypothesis is first, then that of the lowest token. A width of 1 is the greedy choice.

    It stops once all are finished, since nothing would change any more. For one sequence; a batch is `jax.vmap` of
    this, as in `generate`.

    Source: the penalty of Wu et al. (2016, https://arxiv.org/abs/1609.08144, eq. 14), without their coverage penalty.

    Args:
        step: `(carry, token) -> (carry, logits)`, a `jax.tree_util.Partial` that holds the weights, or a function.
            Equal functions are compiled once for each setting, whatever arrays the Partial holds.
        carry: Where it starts; each hypothesis has a copy, while what the Partial holds is shared.
        first: The token that is read first.
        length: Tokens at most, the end counted.
        width: How many hypotheses are kept.
        end: The token that ends a sentence.
        length_penalty: 0 compares log probabilities, which favours short sentences; 1 nearly their means. Default: 0.

    Raises:
        ValueError: `length` or `width` is below 1, `width` is wider than the vocabulary, `end` is no token of it,
            `length_penalty` is negative, `first` is not one token, or `step` returns another carry or logits that are
            not (vocabulary,).
        TypeError: `step` is no function or returns no pair, `step` or `carry` hold what is no array, `first` is no
            whole number.

    Example:
        >>> from jax.tree_util import Partial
        >>> def step(weights, carry, token):
        ...     return carry, weights[token]
        >>> table = [[0.2, 0.5, 0.3], [0.6, 0.2, 0.2], [0.9, 0.05, 0.05]]
        >>> weights = jnp.log(jnp.array(table, jnp.float32))
        >>> beams = beam_search(Partial(step, weights), (), 0, 4, width=2, end=0)
        >>> beams.tokens.tolist(), beams.lengths.tolist(), [f"{p:.2f}" for p in jnp.exp(beams.scores)]
        ([[1, 0, 0, 0], [2, 0, 0, 0]], [1, 1], ['0.30', '0.27'])
    """
    partial = as_step("beam_search", step)
    check_arrays("beam_search", "carry", carry)
    check_size("beam_search", "length", length)
    check_size("beam_search", "width", width)
    real = isinstance(length_penalty, numbers.Real) and math.isfinite(length_penalty)
    if not real or length_penalty < 0:
        raise ValueError(
            f"beam_search: `length_penalty` must be a number of at least 0, got {length_penalty!r}. "
            "Give, for example, 0.6, or 0 for none."
        )
    settings = int(length), int(width), as_end("beam_search", end), float(length_penalty)
    return _beam_search(*settings, partial, carry, as_token("beam_search", first))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _beam_search(length: int, width: int, end: int, length_penalty: float, step, carry, first) -> Beams:
    logits = check_step("beam_search", step, carry, first)
    size = logits.shape[0]
    check_end("beam_search", end, size)
    if width > size:
        raise ValueError(
            f"beam_search: `width` is {width}, wider than the vocabulary of {size} tokens. Give at most {size}."
        )

    def scores(log_probabilities, counts):
        return log_probabilities / ((5.0 + counts.astype(log_probabilities.dtype)) / 6.0) ** length_penalty

    def advance(beam: _Beam) -> _Beam:
        carry, logits = jax.vmap(step)(beam.carry, beam.last)
        logits = wide(logits)
        live = _is_live(beam)
        extended = beam.log_probabilities[:, None] + jax.nn.log_softmax(logits)
        # A finished hypothesis stands as one candidate, in the column of its last token.
        kept = jnp.where(jnp.arange(size) == end, beam.log_probabilities[:, None], -jnp.inf)
        candidates = jnp.where(live[:, None], extended, kept)
        counts = jnp.where(beam.finished, beam.counts, beam.position + 1)
        _, best = jax.lax.top_k(scores(candidates, counts[:, None]).reshape(-1), width)
        parents, last = best // size, (best % size).astype(jnp.int32)
        return _Beam(
            beam.position + 1,
            jax.tree.map(lambda leaf: leaf[parents], carry),
            beam.tokens[parents].at[:, beam.position].set(last),
            last,
            candidates.reshape(-1)[best],
            counts[parents],
            last == end,
            beam.broken | jnp.any(live & ~is_distribution(logits)),
        )

    def goes_on(beam: _Beam):
        return (beam.position < length) & jnp.any(_is_live(beam)) & ~beam.broken

    beam = jax.lax.while_loop(goes_on, advance, _start(carry, first, length, width, logits.dtype))
    held = beam.log_probabilities > -jnp.inf
    written = held[:, None] & (jnp.arange(length, dtype=jnp.int32) < beam.position)
    tokens = jnp.where(written, beam.tokens, jnp.int32(end))
    return Beams(
        jnp.where(beam.broken, jnp.int32(NO_TOKEN), tokens),
        jnp.where(held & ~beam.broken, beam.counts - beam.finished.astype(jnp.int32), 0),
        jnp.where(beam.broken, jnp.nan, scores(beam.log_probabilities, beam.counts)),
    )


def _start(carry: PyTree, first: Int32[Array, ""], length: int, width: int, dtype) -> _Beam:
    """The first token `width` times, but for one without probability: copies of a hypothesis must not compete."""
    return _Beam(
        jnp.int32(0),
        jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (width, *jnp.shape(leaf))), carry),
        jnp.zeros((width, length), jnp.int32),
        jnp.full(width, first),
        jnp.full(width, -jnp.inf, dtype).at[0].set(0.0),
        jnp.zeros(width, jnp.int32),
        jnp.zeros(width, bool),
        first < 0,
    )


def _is_live(beam: _Beam) -> Bool[Array, " width"]:
    return ~beam.finished & (beam.log_probabilities > -jnp.inf)
