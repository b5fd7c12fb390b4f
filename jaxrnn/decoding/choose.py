"""How the next token is chosen from the logits: the most likely one, or a draw from all or some of them."""

import abc
import numbers
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, PRNGKeyArray

from jaxrnn.decoding.step import NO_TOKEN, check_size, is_distribution, wide


class Strategy(abc.ABC):
    """A choice of the next token, `(key, logits) -> token`, as a frozen dataclass.

    Whoever writes one writes `logits`: those of the tokens that may be chosen, -infinity for the others. The token is
    drawn from their softmax, or is the highest where `draws` is False; of equal ones the lowest number.
    Logits that are no distribution, since one is NaN or infinity or all are -infinity, choose the token -1.
    """

    draws: ClassVar[bool] = True

    @abc.abstractmethod
    def logits(self, logits: Float[Array, " vocabulary"]) -> Float[Array, " vocabulary"]:
        """The logits that the token is drawn from, up to a constant, in float32 at least."""

    def __call__(self, key: PRNGKeyArray | None, logits: Float[Array, " vocabulary"]) -> Int32[Array, ""]:
        """The token chosen.

        Raises:
            ValueError: the strategy draws and `key` is None, or no single key.
        """
        check_key(type(self).__name__, self, key)
        kept = self.logits(logits)
        token = jax.random.categorical(key, kept) if key is not None and self.draws else jnp.argmax(kept)
        return jnp.where(is_distribution(wide(logits)), token.astype(jnp.int32), jnp.int32(NO_TOKEN))


@dataclass(frozen=True)
class Greedy(Strategy):
    """The most likely token; of equally likely ones that of the lowest number. Needs no key.

    Example:
        >>> int(Greedy()(None, jnp.array([0.0, 2.0, 2.0])))
        1
    """

    draws: ClassVar[bool] = False

    def logits(self, logits: Float[Array, " vocabulary"]) -> Float[Array, " vocabulary"]:
        """See Strategy."""
        return _only(jnp.arange(len(logits)) == jnp.argmax(logits), wide(logits))


@dataclass(frozen=True)
class Temperature(Strategy):
    """A draw from all tokens.

        p = softmax(logits / temperature)

    Fields:
        temperature: Below 1 likely tokens become likelier still, above 1 all become more alike. Default: 1.

    Raises:
        ValueError: `temperature` is not above 0 in float32.

    Example:
        >>> bool(Temperature(0.5).logits(jnp.log(jnp.array([0.2, 0.8])))[0] < jnp.log(0.1))
        True
    """

    temperature: float = 1.0

    def __post_init__(self):  # noqa: D105
        _check_temperature(self, self.temperature)

    def logits(self, logits: Float[Array, " vocabulary"]) -> Float[Array, " vocabulary"]:
        """See Strategy."""
        return _over(logits, self.temperature)


@dataclass(frozen=True)
class TopK(Strategy):
    """A draw from the k most likely tokens; of equally likely ones the lowest numbers are kept, so always k.

    Source: Fan, Lewis & Dauphin (2018, https://arxiv.org/abs/1805.04833).

    Fields:
        k: How many tokens are kept.
        temperature: As in Temperature. Default: 1.

    Raises:
        ValueError: `k` is below 1, or at a call beyond the vocabulary; `temperature` is not above 0 in float32.

    Example:
        >>> TopK(2).logits(jnp.array([1.0, 3.0, 1.0, 0.0])).tolist()
        [-2.0, 0.0, -inf, -inf]
    """

    k: int
    temperature: float = 1.0

    def __post_init__(self):  # noqa: D105
        check_size("TopK", "k", self.k)
        _check_temperature(self, self.temperature)

    def logits(self, logits: Float[Array, " vocabulary"]) -> Float[Array, " vocabulary"]:
        """See Strategy."""
        if self.k > len(logits):
            raise ValueError(
                f"TopK: `k` is {self.k}, beyond the vocabulary of {len(logits)} tokens. Give at most {len(logits)}."
            )
        over = _over(logits, self.temperature)
        unsigned = jnp.where(over == 0, 0.0, over)  # top_k puts 0 before -0, which are equally likely
        return _only(jnp.zeros(over.shape, bool).at[jax.lax.top_k(unsigned, self.k)[1]].set(True), over)


@dataclass(frozen=True)
class Nucleus(Strategy):
    """A draw from the smallest set of most likely tokens whose probability reaches p; at least one token is in it.

    Probabilities are those at the temperature, and reach p to rounding. Of equally likely tokens the lowest numbers
    come in first.

    Source: Holtzman et al. (2020, https://arxiv.org/abs/1904.09751).

    Fields:
        p: The probability that is kept, above 0 and up to 1; 1 keeps every token.
        temperature: As in Temperature. Default: 1.

    Raises:
        ValueError: `p` is not in (0, 1], or `temperature` is not above 0 in float32.

    Example:
        >>> jnp.isfinite(Nucleus(0.6).logits(jnp.log(jnp.array([0.2, 0.5, 0.3])))).tolist()
        [False, True, True]
    """

    p: float
    temperature: float = 1.0

    def __post_init__(self):  # noqa: D105
        if not _is_real(self.p) or not 0 < self.p <= 1:
            raise ValueError(
                f"Nucleus: `p` must be a probability above 0 and up to 1, got {self.p!r}. Give, for example, 0.9."
            )
        _check_temperature(self, self.temperature)

    def logits(self, logits: Float[Array, " vocabulary"]) -> Float[Array, " vocabulary"]:
        """See Strategy."""
        over = _over(logits, self.temperature)
        order = jnp.argsort(over, descending=True, stable=True)
        # What is left from each token on, summed from the small end, where rounding loses least.
        left = jnp.cumsum(jax.nn.softmax(over)[order][::-1])[::-1]
        rounding = 1 + 16 * float(jnp.finfo(left.dtype).eps)  # so that 2 of 5 equal ones reach 0.4
        kept = (left > (1 - float(self.p)) * rounding).at[0].set(True) | (self.p == 1)
        return _only(jnp.zeros(over.shape, bool).at[order].set(kept), over)


def check_key(name: str, choose: Strategy, key) -> None:
    """Raises ValueError if a strategy that draws has no single key."""
    if not choose.draws:
        return
    if key is None:
        raise ValueError(f"{name}: `key` is None, but {choose} draws. Give jax.random.key(seed).")
    try:
        jax.eval_shape(lambda: jax.random.fold_in(key, 0))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: `key` must be a single key: {error}. Give jax.random.key(seed).") from error


def _over(logits: Float[Array, " vocabulary"], temperature: float) -> Float[Array, " vocabulary"]:
    """Logits over temperature, the highest at 0, so that the smallest temperature overflows to -infinity alone."""
    logits = wide(logits)
    return (logits - jnp.max(logits)) / float(temperature)


def _only(kept, logits: Float[Array, " vocabulary"]) -> Float[Array, " vocabulary"]:
    return jnp.where(kept, logits, -jnp.inf)


def _is_real(value) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _check_temperature(choose: Strategy, temperature: float) -> None:
    held = np.finfo(np.float32)
    if not _is_real(temperature) or not held.tiny <= temperature <= held.max:
        raise ValueError(
            f"{type(choose).__name__}: `temperature` must be a number above 0 that float32 holds, got {temperature!r}. "
            "Give, for example, 0.7; the limit 0 is Greedy()."
        )
