"""Vectors of words from WikiText-2, by skip-gram and by CBOW: what is near, what is alike, which analogies hold.

Command:  python -m experiments.embeddings --out experiments/results/embeddings
Runtime:  19 minutes on 1 core; --smoke 28 seconds on 2 slow cores
Metric:   share of 100 analogies answered at once, and by how much the cosine of related words exceeds that of others
Published: none on WikiText-2. No standard set of questions is used either: those asked here, and the pairs, are lists
          written for this, of words that occur at least 20 times (experiments/embeddings_words.py)

    data      WikiText-2 as one stream; words seen fewer than 5 times, <unk> and the ends of lines are left out
    model     two vectors for each word, v as the word and u as context, with negative sampling (Mikolov et al., 2013,
              https://arxiv.org/abs/1310.4546 and https://arxiv.org/abs/1301.3781)
                  skip-gram   -ln s(v_word . u_context) - k mean over noise n of ln s(-v_word . u_n), for each context
                  CBOW        the same of the mean of the contexts' v, and the word's u
    training  Adam, its rate falling to nothing in a line; frequent words are kept less often
    shown     nearest words, and a map of words in groups by t-SNE
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.command import check_at_least
from experiments import output
from experiments.application import Application, Common
from experiments.checks import check_limits, check_positive
from experiments.embeddings_figure import draw, rows, to_markdown
from experiments.embeddings_measures import analogies, chart, likeness, nearest_words, unit
from experiments.fitting import Fitting
from experiments.made_embeddings import articles
from jaxrnn.data import Contexts, ContextWindows, Vocabulary, wikitext2
from jaxrnn.data.vocabulary import SPECIALS
from jaxrnn.train import Trainer

SPLITS = ("train", "validation", "test")
SCORED = 10  # batches in an evaluation


@dataclass(frozen=True)
class Settings(Common):
    """Trains vectors of words by skip-gram and CBOW on WikiText-2, and asks them analogies and what is alike."""

    features: int = 100
    """Numbers in a vector."""
    window: int = 5
    """The most words to either side that count as context."""
    negatives: int = 5
    """Weight of the noise: how many words drawn at random stand against each true one."""
    noise: int = 256
    """Words drawn for a batch, over which the noise is averaged."""
    threshold: float = 1e-4
    """Words of a greater share of the text are kept less often."""
    least: int = 5
    """Words that occur fewer times are left out."""
    batch: int = 8192
    """Words in an update."""
    rate: float = 1e-2
    """Learning rate at the start."""
    updates: int = 2400
    """Updates of either."""
    every: int = 200
    """Updates between two looks at the validation split."""
    limit: int | None = None
    """Words of each split that are used. Default: all."""


class Vectors(nnx.Module):
    """A vector for each word as the word itself, and one as context."""

    def __init__(self, size: int, features: int, rngs: nnx.Rngs):
        """As in word2vec: words on +-1 / (2 features), contexts at zero."""
        init = nnx.initializers.uniform(1 / features)
        words = lambda key, shape, dtype: init(key, shape, dtype) - jnp.asarray(0.5 / features, dtype)  # noqa: E731
        self.word = nnx.Embed(size, features, embedding_init=words, rngs=rngs)
        self.context = nnx.Embed(size, features, embedding_init=nnx.initializers.zeros, rngs=rngs)


def skip_gram(model: Vectors, contexts: Contexts, negatives: int):
    """The mean over pairs of a word and one around it, in nats, and their number."""
    centre, around, counted, noise = map(jnp.asarray, contexts)
    words, around, noise = model.word(centre), model.context(around), model.context(noise)
    mask = counted.astype(words.dtype)
    true = jax.nn.log_sigmoid(jnp.einsum("bf,bwf->bw", words, around))
    false = jnp.mean(jax.nn.log_sigmoid(-words @ noise.T), axis=1)
    total, pairs = jnp.sum(mask * (true + negatives * false[:, None])), jnp.sum(mask)
    return -total / pairs, pairs


def cbow(model: Vectors, contexts: Contexts, negatives: int):
    """The mean over words that have one around them, in nats, and their number."""
    centre, around, counted, noise = map(jnp.asarray, contexts)
    around, word, noise = model.word(around), model.context(centre), model.context(noise)
    mask = counted.astype(word.dtype)
    count = jnp.sum(mask, axis=1)
    mean = jnp.einsum("bw,bwf->bf", mask, around) / jnp.maximum(count, 1)[:, None]
    true = jax.nn.log_sigmoid(jnp.sum(mean * word, axis=1))
    false = jnp.mean(jax.nn.log_sigmoid(-mean @ noise.T), axis=1)
    scored = (count > 0).astype(word.dtype)
    return -jnp.sum(scored * (true + negatives * false)) / jnp.sum(scored), jnp.sum(scored)


OBJECTIVES = {"skip-gram": skip_gram, "CBOW": cbow}


def train(settings: Settings, vocabulary: Vocabulary, sources: dict[str, ContextWindows], name: str, fitting: Fitting):
    """Loss on the way and at the end, and what the vectors tell."""
    key = jax.random.key(settings.seed)
    graph, params = nnx.split(Vectors(vocabulary.size, settings.features, nnx.Rngs(settings.seed)), nnx.Param)

    def loss_fn(params, contexts, key):
        loss, count = OBJECTIVES[name](nnx.merge(graph, params), contexts, settings.negatives)
        return loss, {"tokens": count.astype(jnp.int32)}

    of_batch = jax.jit(loss_fn)

    def loss_on(params, split: str) -> float:
        source = sources[split]
        return float(np.mean([of_batch(params, source.at(n), None)[0] for n in range(min(SCORED, len(source)))]))

    trainer = Trainer(loss_fn, optax.adam(optax.linear_schedule(settings.rate, 0.0, settings.updates)))
    params, history = fitting.fit(
        trainer,
        trainer.init(params, key),
        sources["train"].at,
        settings.updates,
        every=settings.every,
        evaluate=lambda params: {"loss": loss_on(params, "validation")},
        score=lambda found: found["loss"],
    )
    vectors = unit(nnx.merge(graph, params).word.embedding[...])
    return {
        "history": output.plain(history),
        "words": vocabulary.size - len(SPECIALS),
        "test_loss": loss_on(params, "test"),
        "analogies": analogies(vectors, vocabulary),
        "likeness": likeness(vectors, vocabulary),
        "nearest": nearest_words(vectors, vocabulary),
        "map": chart(vectors, vocabulary, settings.seed),
    }


def check(settings: Settings) -> None:
    """Raises ValueError where a setting cannot be used."""
    sizes = "features", "window", "negatives", "noise", "least", "batch", "updates", "every"
    check_at_least(settings, 1, *sizes)
    check_positive(settings, "rate", "threshold")
    check_limits(settings, 1, "limit")


def runs(settings: Settings, splits: dict[str, list[str]]) -> dict[str, Callable[[Fitting], dict[str, Any]]]:
    """Both objectives, on the same stream."""
    splits = {split: words[: settings.limit] for split, words in splits.items()}
    vocabulary = Vocabulary.of([splits["train"]], least=settings.least)
    streams = {split: vocabulary.encode(words) for split, words in splits.items()}
    streams = {split: tokens[tokens >= len(SPECIALS)] for split, tokens in streams.items()}
    for split, tokens in streams.items():
        if len(tokens) < 2:
            raise ValueError(f"--limit, --least: they leave {len(tokens)} words of the {split} split. Let more in.")
    counts = np.bincount(streams["train"], minlength=vocabulary.size)
    how: dict[str, Any] = {"window": settings.window, "batch": settings.batch, "noise": settings.noise}
    how |= {"key": jax.random.key(settings.seed), "threshold": settings.threshold, "counts": counts}
    sources = {split: ContextWindows(tokens, **how) for split, tokens in streams.items()}
    return {name: functools.partial(train, settings, vocabulary, sources, name) for name in OBJECTIVES}


APPLICATION = Application(
    name="embeddings",
    settings=Settings,
    small={"features": 16, "noise": 64, "threshold": 1e-3, "least": 3, "batch": 512, "rate": 3e-2}
    | {"updates": 100, "every": 50, "limit": 200_000},
    check=check,
    files=lambda settings: tuple(f"wikitext-2/{split}.txt" for split in ("train", "valid", "test")),
    read=lambda settings: {split: wikitext2(split, settings.data) for split in SPLITS},
    make=lambda settings: {split: articles(settings.seed + n) for n, split in enumerate(SPLITS)},
    runs=runs,
    draw=draw,
    to_markdown=to_markdown,
    rows=rows,
)
main = APPLICATION.main

if __name__ == "__main__":
    sys.exit(main())
