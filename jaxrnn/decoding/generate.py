"""Tokens one after the other, each chosen from the logits that the ones before it led to."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32, PRNGKeyArray, PyTree

from jaxrnn.decoding.choose import Greedy, Strategy, check_key
from jaxrnn.decoding.step import (
    Step,
    as_end,
    as_step,
    as_token,
    check_arrays,
    check_end,
    check_size,
    check_step,
)


class Generated(NamedTuple):
    """A sentence.

    Fields:
        tokens: What was chosen; from the end on all are `end`. From a step whose logits are no distribution on, since
            one is NaN or infinity or all are -infinity, they are -1.
        length: How many tokens come before that.
        carry: From which the next call goes on, with `tokens[-1]` as its first token; one that draws needs a key of
            its own, or it draws the same again.
    """

    tokens: Int32[Array, " length"]
    length: Int32[Array, ""]
    carry: PyTree


class _Run(NamedTuple):
    position: Int32[Array, ""]
    carry: PyTree
    token: Int32[Array, ""]
    tokens: Int32[Array, " length"]


def generate(
    step: Step,
    carry: PyTree,
    first,
    length: int,
    *,
    choose: Strategy = Greedy(),  # noqa: B008 (it is frozen)
    key: PRNGKeyArray | None = None,
    end: int | None = None,
) -> Generated:
    """Goes on from a token, each next one chosen from the logits.

        carry_t, logits_t = step(carry_{t-1}, token_{t-1})
        token_t = choose(fold_in(key, t), logits_t),    t = 0 ... length - 1, token_{-1} = first

    It stops at `end`. For one sequence; a batch is `jax.vmap` of this.

    Args:
        step: `(carry, token) -> (carry, logits)`, a `jax.tree_util.Partial` that holds the weights, or a function.
            Equal functions are compiled once for each length, strategy and end, whatever arrays the Partial holds.
        carry: Where it starts, as the step returns it.
        first: The token that is read first, such as a token that begins sentences, or the last of a prompt. What the
            step makes of one beyond its vocabulary is its own; JAX reads the last row of a table for it.
        length: How many tokens.
        choose: A strategy, such as `Temperature(0.7)`, `TopK(40)` or `Nucleus(0.9)`. Default: `Greedy()`.
        key: From which a strategy draws; a longer sentence of the same key begins as the shorter one. Default: None.
        end: The token that ends a sentence; None for no such token.

    Raises:
        ValueError: a strategy that draws has no key, `length` is below 1, `end` is no token of the vocabulary, `first`
            is not one token, or `step` returns another carry or logits that are not (vocabulary,).
        TypeError: `step` is no function or returns no pair, `step` or `carry` hold what is no array, `first` is no
            whole number, `choose` is no Strategy.

    Example:
        >>> from jax.tree_util import Partial
        >>> def step(weights, memory, carry, token):  # the chain that `weights` describe, pulled by a memory
        ...     return carry, weights[token] + memory
        >>> weights = jnp.log(jnp.array([[0.1, 0.6, 0.3], [0.2, 0.1, 0.7], [0.5, 0.3, 0.2]], jnp.float32))
        >>> generated = generate(Partial(step, weights, jnp.zeros(3, jnp.float32)), (), 0, 5, end=0)
        >>> generated.tokens.tolist(), int(generated.length)
        ([1, 2, 0, 0, 0], 2)

        A batch, each sequence with a memory and a key of its own:

        >>> def one(memory, first, key):
        ...     return generate(Partial(step, weights, memory), (), first, 5, choose=Temperature(0.7), key=key, end=0)
        >>> from jaxrnn.decoding import Temperature
        >>> memories, firsts = jnp.zeros((4, 3), jnp.float32), jnp.array([0, 1, 2, 2])
        >>> jax.vmap(one)(memories, firsts, jax.random.split(jax.random.key(0), 4)).tokens.shape
        (4, 5)
    """
    partial = as_step("generate", step)
    check_arrays("generate", "carry", carry)
    check_size("generate", "length", length)
    if not isinstance(choose, Strategy):
        raise TypeError(f"generate: `choose` must be a Strategy, such as Greedy() or Temperature(0.7), got {choose!r}.")
    check_key("generate", choose, key)
    end = None if end is None else as_end("generate", end)
    key = key if choose.draws else None
    return _generate(choose, int(length), end, partial, carry, as_token("generate", first), key)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _generate(choose: Strategy, length: int, end: int | None, step, carry, first, key) -> Generated:
    check_end("generate", end, check_step("generate", step, carry, first).shape[0])

    def has_ended(run: _Run):
        # The first token may be `end`: only what was chosen ends. If it is none, nor is any after it.
        none = run.token < 0
        return none if end is None else none | ((run.token == end) & (run.position > 0))

    def advance(run: _Run) -> _Run:
        carry, logits = step(run.carry, run.token)
        token = choose(None if key is None else jax.random.fold_in(key, run.position), logits)
        return _Run(run.position + 1, carry, token, run.tokens.at[run.position].set(token))

    start = _Run(jnp.int32(0), carry, first, jnp.zeros(length, jnp.int32))
    run = jax.lax.while_loop(lambda run: (run.position < length) & ~has_ended(run), advance, start)
    tokens = jnp.where(jnp.arange(length, dtype=jnp.int32) < run.position, run.tokens, run.token)
    return Generated(tokens, jnp.maximum(run.position - has_ended(run).astype(jnp.int32), 0), run.carry)
