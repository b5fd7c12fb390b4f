"""The probability that a recurrence gives to a sentence."""

import jax
import jax.numpy as jnp
from jax import core
from jaxtyping import Array, Float, PyTree

from jaxrnn.decoding.step import Step, as_step, as_token, check_arrays, check_step, wide
from jaxrnn.numerics import select


def log_probability(step: Step, carry: PyTree, first, tokens, length=None) -> Float[Array, ""]:
    """The log probability of the tokens that follow a first one, in nats.

        carry_t, logits_t = step(carry_{t-1}, token_{t-1})
        result = sum over t < length of ln softmax(logits_t)[token_t],    token_{-1} = first

    A product of the conditional probabilities; over the number of tokens and negated it is the cross-entropy in nats a
    token. In float32 at least; gradients flow to the carry and to what a Partial holds. For one sequence; a batch is
    `jax.vmap` of this.

    Args:
        step: `(carry, token) -> (carry, logits)`, a `jax.tree_util.Partial` that holds the weights, or a function.
        carry: Where it starts, as the step returns it.
        first: The token that is read first; its own probability does not count.
        tokens: Whole numbers (time,), right-padded. The end counts if it is among the first `length`.
        length: How many of them count, 0 to time; what stands after them reaches no value and no gradient. Default:
            None, all.

    Returns:
        The log probability; 0 of no tokens, NaN if a token that counts is not in the vocabulary.

    Raises:
        ValueError: `tokens` are not (time,), `length` is not one number from 0 to time (where it is not traced),
            `first` is not one token, or `step` returns another carry or logits that are not (vocabulary,).
        TypeError: `step` is no function or returns no pair, `step` or `carry` hold what is no array, `first`, `tokens`
            or `length` are no whole numbers.

    Example:
        >>> from jax.tree_util import Partial
        >>> def step(weights, carry, token):
        ...     return carry, weights[token]
        >>> weights = jnp.log(jnp.array([[0.2, 0.8], [0.5, 0.5]], jnp.float32))
        >>> probability = jnp.exp(log_probability(Partial(step, weights), (), 0, jnp.array([0, 1, 1, 0]), length=3))
        >>> round(float(probability), 6)  # 0.2 * 0.8 * 0.5
        0.08

        A batch of sentences of their own lengths:

        >>> batch = jax.vmap(lambda tokens, length: log_probability(Partial(step, weights), (), 0, tokens, length))
        >>> batch(jnp.zeros((3, 4), int), jnp.array([0, 1, 4])).shape
        (3,)
    """
    name = "log_probability"
    partial = as_step(name, step)
    check_arrays(name, "carry", carry)
    tokens = jnp.asarray(tokens)
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise TypeError(f"{name}: `tokens` must be whole numbers, got {tokens.dtype}. Give the numbers of tokens.")
    if tokens.ndim != 1:
        raise ValueError(
            f"{name}: `tokens` must be (time,), one sentence, got shape {tokens.shape}. For a batch put {name} into "
            "jax.vmap."
        )
    length = jnp.asarray(len(tokens) if length is None else length)
    _check_length(name, length, len(tokens))
    return _log_probability(partial, carry, as_token(name, first), tokens, length.astype(jnp.int32))


def _check_length(name: str, length, time: int) -> None:
    if not jnp.issubdtype(length.dtype, jnp.integer):
        raise TypeError(f"{name}: `length` must be a whole number, got {length.dtype}. Count the tokens.")
    if length.shape != ():
        raise ValueError(f"{name}: `length` must be one number, got shape {length.shape}. Put {name} into jax.vmap.")
    if not isinstance(length, core.Tracer) and not 0 <= int(length) <= time:
        raise ValueError(
            f"{name}: `length` must lie between 0 and the {time} tokens given, got {int(length)}. Count the tokens "
            "before the padding."
        )


@jax.jit
def _log_probability(step, carry, first, tokens, length):
    size = check_step("log_probability", step, carry, first).shape[0]
    counts = jnp.arange(len(tokens), dtype=jnp.int32) < length
    # In the padding the first step is run again, which is known to work: what fails there must not reach the gradient.
    tokens = tokens.astype(jnp.int32)  # 8 bits do not hold the size of a vocabulary of 256
    read = jnp.where(counts, jnp.concatenate([first[None], tokens])[:-1], first)
    scored = jnp.where(counts, tokens, 0)

    def advance(before, x):
        token, next_token, counts = x
        after, logits = step(select(counts, before, carry), token)
        known = (token >= 0) & (next_token >= 0) & (next_token < size)
        log_p = jax.nn.log_softmax(wide(logits))[jnp.where(known, next_token, 0)]
        log_p = jnp.where(known, log_p, jnp.nan)
        return after, jnp.where(counts, log_p, 0.0)

    return jnp.sum(jax.lax.scan(advance, carry, (read, scored, counts))[1])
