"""Words and the words around them, for vectors of words."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int32, Integer, PRNGKeyArray

from jaxrnn.data.positions import check_fits_int32, check_key, check_sizes, locate_in_epoch


class Contexts(NamedTuple):
    """Words, the words around each, which of these count, and words that are drawn whatever stands around."""

    centre: Int32[np.ndarray, " batch"]
    around: Int32[np.ndarray, "batch around"]
    mask: Bool[np.ndarray, "batch around"]
    noise: Int32[np.ndarray, " noise"]


@dataclass(frozen=True, eq=False)
class ContextWindows:
    """Batches for skip-gram and CBOW with negative sampling, from one long stream of words.

        kept in an epoch     word w with the probability min(1, sqrt(threshold / f_w)),  f_w its share of all counts
        around a word        the kept words up to r steps before and after it, r uniform on 1 ... window
        noise                word w with the probability count_w^power / sum_v count_v^power, each of them reachable

    Words that are not kept are taken out before windows are laid, so that windows reach further. The words of an epoch
    come in a new order, and an epoch has the batches that the words kept on average fill: a few that are kept besides
    are left out, or where there are fewer the first come again.

    The noise is drawn once for all words of a batch: with k negatives for each pair, weigh the mean over the noise by
    k, which has the same expectation as k draws of its own for each pair, and is one matrix product.

    Shapes: centre (batch,), around and mask (batch, 2 * window), the words before it first, noise (noise,), all int32.

    Source: Mikolov et al. (2013, https://arxiv.org/abs/1310.4546 and https://arxiv.org/abs/1301.3781); the width drawn
    anew for each word, and windows over the words kept, are those of their program word2vec.

    Fields:
        tokens: The stream, whole numbers of at least 0. Leave out what should have no vector, such as unknown words.
        window: The most steps before and after a word.
        batch: Words in a batch.
        key: Decides what is kept, the orders, the widths and the noise.
        noise: Words of noise in a batch. Default: 256.
        threshold: Words of a greater share of all are kept less often. Default None: all are always kept.
        power: 0 draws the noise uniformly from all words that occur, 1 as they occur. Default: 0.75.
        counts: How often each word occurs, where that is not counted in `tokens`: those of the training split for the
            stream of another.

    Raises:
        ValueError: a size is below 1, `tokens` are no stream of at least 2 words, a word has no count, `threshold` is
            not above 0, `power` is below 0, or `key` is no single key.

    Example:
        >>> source = ContextWindows(np.array([4, 5, 6, 7]), window=1, batch=4, key=jax.random.key(0), noise=3)
        >>> batch = source.at(0)
        >>> order = np.argsort(batch.centre)
        >>> batch.centre[order].tolist()
        [4, 5, 6, 7]
        >>> (batch.around * batch.mask)[order].tolist()
        [[0, 5], [4, 6], [5, 7], [6, 0]]
    """

    tokens: Integer[np.ndarray, " length"]
    window: int
    batch: int
    key: PRNGKeyArray
    noise: int = 256
    threshold: float | None = None
    power: float = 0.75
    counts: Integer[np.ndarray, " vocabulary"] | None = None

    def __post_init__(self):  # noqa: D105
        check_sizes(self, window=self.window, batch=self.batch, noise=self.noise)
        if self.key is None:
            raise ValueError("ContextWindows: `key` must be a single key, got None. Give jax.random.key(seed).")
        check_key(self, self.key)
        whole = np.issubdtype(np.asarray(self.tokens).dtype, np.integer)
        if not whole or np.ndim(self.tokens) != 1 or len(self.tokens) < 2 or np.min(self.tokens) < 0:
            raise ValueError(
                "ContextWindows: `tokens` must be a stream (length,) of at least 2 whole numbers, none below 0, got "
                f"{np.asarray(self.tokens).dtype}{list(np.shape(self.tokens))}, the least "
                f"{np.min(self.tokens) if np.size(self.tokens) else 'of none'}. Encode words with Vocabulary.encode."
            )
        check_fits_int32("ContextWindows: `tokens`", self.tokens)
        if np.max(self.tokens) >= len(self._counts) or np.min(self._counts[self.tokens]) < 1:
            raise ValueError(
                "ContextWindows: `counts` must be at least 1 for each word of `tokens`, got counts of "
                f"{len(self._counts)} words, {int(np.sum(self._counts < 1))} of them 0, for tokens up to "
                f"{np.max(self.tokens)}. Leave words out of the stream that were not counted."
            )
        if not (self.threshold is None or self.threshold > 0):
            raise ValueError(f"ContextWindows: `threshold` must be above 0, got {self.threshold}. Try 1e-4.")
        if not self.power >= 0:
            raise ValueError(f"ContextWindows: `power` must be at least 0, got {self.power}. Try 0.75.")

    def __len__(self) -> int:
        """Batches in an epoch."""
        return max(1, round(float(self._kept_share[self.tokens].sum()) / self.batch))

    def at(self, position: int) -> Contexts:
        """The batch at a position >= 0, a pure function of it."""
        epoch, index = locate_in_epoch(self, position)
        stream, order = _epoch(self, epoch)
        places = order[np.arange(index * self.batch, (index + 1) * self.batch) % len(order)][:, None]
        generator = _generator(self.key, epoch, 1 + index)
        reach = generator.randint(1, self.window + 1, (self.batch, 1))
        offsets = np.concatenate([np.arange(-self.window, 0), np.arange(1, self.window + 1)])
        others = places + offsets
        mask = (np.abs(offsets) <= reach) & (others >= 0) & (others < len(stream))
        around = stream[np.clip(others, 0, len(stream) - 1)]
        # A draw times the sum may round up to the sum itself, past the last word.
        noise = np.searchsorted(self._cumulative, generator.random_sample(self.noise) * self._cumulative[-1], "right")
        last = np.flatnonzero(self._counts)[-1]
        return Contexts(stream[places[:, 0]], around, mask, np.minimum(noise, last).astype(np.int32))

    @functools.cached_property
    def _counts(self) -> np.ndarray:
        return np.bincount(self.tokens) if self.counts is None else self.counts

    @functools.cached_property
    def _kept_share(self) -> np.ndarray:
        if self.threshold is None:
            return np.ones(len(self._counts))
        shares = np.maximum(self._counts, 1) / self._counts.sum()
        return np.minimum(1.0, np.sqrt(self.threshold / shares))

    @functools.cached_property
    def _cumulative(self) -> np.ndarray:
        weights = np.where(self._counts > 0, np.maximum(self._counts, 1.0) ** self.power, 0.0)
        return np.cumsum(weights)


def _generator(key, epoch: int, use: int) -> np.random.RandomState:
    """NumPy's RandomState, whose values NumPy has frozen, for one use in an epoch."""
    data = jax.random.key_data(jax.random.fold_in(jax.random.fold_in(key, epoch), use))
    return np.random.RandomState(np.asarray(data).astype(np.uint32))


@functools.lru_cache(maxsize=2)
def _epoch(source: ContextWindows, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """The words that are kept in an epoch, and the order of their places; kept for the next batch of it."""
    generator = _generator(source.key, epoch, 0)
    kept = generator.random_sample(len(source.tokens)) < source._kept_share[source.tokens]
    if not kept.any():
        kept[generator.randint(len(kept))] = True
    stream = source.tokens[kept].astype(np.int32)
    return stream, generator.permutation(len(stream))
