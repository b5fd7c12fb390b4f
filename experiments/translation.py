"""German to English, and French to English in small, with and without attention; scored by BLEU of free translation.

Command:  python -m experiments.translation --out experiments/results/translation
Runtime:  55 minutes on 2 cores with other work beside it; --smoke 34 seconds on 2 slow cores
Metric:   BLEU of the test split, translated greedily and by a beam of 5, no true token shown (sacrebleu, on this
          library's tokens in lower case)
Published: BLEU 28.1 and 28.3 of a GRU with attention on Multi30k, 13.8 of an LSTM without (the notebooks of
          github.com/bentrevett/pytorch-seq2seq, by a tokeniser of their own); none for this split of Tatoeba
Full run: python -m experiments.translation --device gpu --hidden-size 512 --embedding-size 256 --dropout 0.5
          --epochs 20 5 --longest 40 (not run yet)

    data      Multi30k, 29,000 pairs for training, the test set of 2016; Tatoeba, pairs of at most 10 words; words that
              occur twice, in lower case
    model     bidirectional LSTM, and an LSTM with attention of Luong's or Bahdanau's kind, or without
    training  teacher forcing, or with --own-tokens scheduled sampling; Adam, its rate falling to nothing by a cosine,
              gradients clipped to a global norm of 1; the best validation perplexity is kept

Pairs whose source is one of validation or test too are left out of training: Tatoeba's split is by English sentence,
and one French sentence can have several. Pairs of which a side is longer than --longest words are left out of training
and validation. Of test sentences all count; what is beyond that length is not read.
"""

import functools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.command import check_at_least
from experiments import made, output
from experiments.application import Application, Common
from experiments.checks import check_choices, check_limits, check_positive, check_rate
from experiments.fitting import Fitting, mean_loss, parameters, perplexity
from experiments.translating import bleu, heat, translate
from experiments.translation_corpus import Corpus, corpus_of
from experiments.translation_figure import BEAM, GREEDY, MULTI30K, TATOEBA, WITHOUT, draw, rows, to_markdown
from jaxrnn import LSTM
from jaxrnn.data import multi30k, tatoeba
from jaxrnn.data.vocabulary import BOS
from jaxrnn.models import (
    Bahdanau,
    BahdanauCell,
    Concat,
    Decoder,
    Dot,
    Encoder,
    EncoderDecoder,
    General,
    LuongCell,
    valid_steps,
)
from jaxrnn.nn import RNN, Bidirectional
from jaxrnn.train import Trainer, losses

FILES = {
    MULTI30K: tuple(
        f"multi30k/{split}.{side}.gz" for split in ("train", "val", "test_2016_flickr") for side in ("de", "en")
    ),
    TATOEBA: ("tatoeba-fra-eng/fra-eng.zip",),
}
SPLITS = "train", "validation", "test"


@dataclass(frozen=True)
class Settings(Common):
    """Trains translators from German, and from French, to English; writes BLEU, translations and attention."""

    attentions: tuple[Literal["none", "bahdanau", "dot", "general", "concat"], ...] = ("none", "general")
    """Scores of attention, each in the decoder of its paper; all for the first corpus, the last for the others."""
    hidden_size: int = 256
    """Units of the decoder, and of both directions of the encoder together."""
    embedding_size: int = 128
    """Numbers that stand for a word."""
    dropout: float = 0.3
    """Rate of dropout on embeddings and on outputs."""
    own_tokens: float = 0.0
    """The part of own words that is read in training at its end; it grows from 0, linearly."""
    batch: int = 64
    """Pairs in an update."""
    rate: float = 2e-3
    """Learning rate at the start."""
    epochs: tuple[int, int] = (5, 1)
    """Times that every pair is seen, of the first corpus and of the others."""
    longest: int = 30
    """Words of a sentence, at most."""
    beam: int = 5
    """Hypotheses of the beam search."""
    penalty: float = 0.6
    """Its length penalty."""
    corpora: tuple[Literal["Multi30k de-en", "Tatoeba fr-en"], ...] = (MULTI30K, TATOEBA)
    """What is translated."""
    buckets: int = 4
    """Groups of pairs of similar length, each of which is compiled for."""
    limit: int | None = None
    """Pairs of each split that are used. Default: all."""


def check(settings: Settings) -> None:
    """Raises ValueError where a setting cannot be used."""
    check_at_least(settings, 1, "embedding_size", "batch", "epochs", "longest", "beam", "buckets")
    check_choices(settings, "corpora", "attentions")
    check_at_least(settings, 2, "hidden_size")
    if settings.hidden_size % 2:
        raise ValueError(f"--hidden-size: must be even, for two directions, got {settings.hidden_size}. Add 1.")
    check_limits(settings, 1, "limit")
    check_positive(settings, "rate")
    check_rate(settings, "dropout")
    if not 0 <= settings.own_tokens <= 1:
        raise ValueError(f"--own-tokens: must lie in [0, 1], got {settings.own_tokens}. Give another number.")
    if not 0 <= settings.penalty < math.inf:
        raise ValueError(f"--penalty: must be a finite number of at least 0, got {settings.penalty}. Give 0 for none.")


def read(settings: Settings) -> dict[str, list[list[tuple[str, str]]]]:
    """Sentences of each corpus, by split; English last."""
    readers = {
        MULTI30K: lambda split: multi30k(split, "de", "en", settings.data),
        TATOEBA: lambda split: [(f, e) for e, f in tatoeba(split, settings.data, most_words=10)],
    }
    return {name: [readers[name](split) for split in SPLITS] for name in settings.corpora}


def model_of(settings: Settings, corpus: Corpus, attention: str) -> EncoderDecoder:
    """The network at its start."""
    rngs, half = nnx.Rngs(settings.seed), settings.hidden_size // 2
    first, second = (nnx.Embed(v.size, settings.embedding_size, rngs=rngs) for v in corpus.vocabularies)
    encoder = Encoder(first, Bidirectional(LSTM(half), settings.embedding_size, rngs=rngs), dropout=settings.dropout)
    inner, memory, size = LSTM(settings.hidden_size), encoder.out_features, settings.hidden_size
    cells: dict[str, Any] = {"none": inner, "bahdanau": BahdanauCell(inner, Bahdanau(size), memory)}
    for name, score in {"dot": Dot(), "general": General(), "concat": Concat(size)}.items():
        cells[name] = LuongCell(inner, score, memory, attentional_size=size)
    rnn = RNN(cells[attention], settings.embedding_size, rngs=rngs)
    decoder = Decoder(second, rnn, encoder.final_features, dropout=settings.dropout, rngs=rngs)
    return EncoderDecoder(encoder, decoder, begin=BOS)


def runs(settings: Settings, data: dict[str, list]) -> dict[str, Callable[[Fitting], dict[str, Any]]]:
    """The first corpus with every attention, the others with the last."""
    found, key = {}, jax.random.key(settings.seed)
    for place, corpus_name in enumerate(settings.corpora):
        corpus = corpus_of(
            data[corpus_name], key, limit=settings.limit, longest=settings.longest, batch=settings.batch,
            buckets=settings.buckets,
        )  # fmt: skip
        words = corpus.vocabularies[1].size
        if settings.beam > words:
            raise ValueError(
                f"--beam: must not exceed the vocabulary of {words} words, got {settings.beam}. Give a smaller one."
            )
        for attention in settings.attentions if place == 0 else settings.attentions[-1:]:
            name = f"{corpus_name}, {WITHOUT if attention == 'none' else attention}"
            found[name] = functools.partial(train, settings, corpus, attention, settings.epochs[min(place, 1)])
    return found


def train(settings: Settings, corpus: Corpus, attention: str, epochs: int, fitting: Fitting) -> dict[str, Any]:
    """Perplexity on the way; BLEU, translations, and attention over a sentence."""
    updates = epochs * len(corpus.train)
    graph, params = nnx.split(model_of(settings, corpus, attention), nnx.Param)

    def loss_fn(params, placed, key):
        batch, rate = placed
        model = nnx.merge(graph, params)
        if settings.own_tokens and key is not None:
            logits = model.sampled_logits(*batch, key=key, rate=rate)
        else:
            logits = model(*batch, key=key)
        mask = valid_steps(len(batch.targets), batch.target_lengths)
        return losses.cross_entropy(logits, batch.targets, mask), {"tokens": jnp.sum(mask).astype(jnp.int32)}

    def batch_at(position):
        return corpus.train.at(position), np.float32(settings.own_tokens * position / updates)

    score = jax.jit(lambda params, batch: loss_fn(params, (batch, np.float32(0)), None))

    def evaluate(params) -> dict[str, float]:
        found = (score(params, corpus.validation.at(position)) for position in range(len(corpus.validation)))
        return {"perplexity": perplexity(mean_loss(found))}

    optimizer = optax.adam(optax.cosine_decay_schedule(settings.rate, updates))
    trainer = Trainer(loss_fn, optimizer, clip=optax.clip_by_global_norm(1.0))
    params, history = fitting.fit(
        trainer,
        trainer.init(params, jax.random.key(settings.seed)),
        batch_at,
        updates,
        every=len(corpus.train),
        evaluate=evaluate,
        score=lambda found: found["perplexity"],
        block=1,  # batches of other lengths follow one another, and each number of equal ones would be compiled
    )
    model, references = nnx.merge(graph, params), [words for _, words in corpus.test]
    how = {"longest": settings.longest, "penalty": settings.penalty}
    told = {name: translate(model, corpus, width=width, **how) for name, width in ((GREEDY, 1), (BEAM, settings.beam))}
    return {
        "history": output.plain(history),
        "perplexity": min(history["perplexity"]),
        "parameters": parameters(params),
        "bleu": {name: output.plain(bleu(sentences, references)) for name, sentences in told.items()},
        "sentences": [
            {"source": " ".join(a), "reference": " ".join(b)} | {name: " ".join(told[name][n]) for name in told}
            for n, (a, b) in enumerate(corpus.test[:8])
        ],
        "attention": heat(model, corpus, told[BEAM], settings.longest) if attention != "none" else None,
    }


APPLICATION = Application(
    name="translation",
    settings=Settings,
    small={
        "hidden_size": 32,
        "embedding_size": 16,
        "batch": 16,
        "epochs": (2, 1),
        "longest": 12,
        "beam": 2,
        "limit": 160,
        "corpora": (MULTI30K,),
        "attentions": ("general",),
        "buckets": 1,
    },
    check=check,
    files=lambda settings: tuple(file for name in settings.corpora for file in FILES[name]),
    read=read,
    make=lambda settings: {name: made.sentence_pairs(settings.seed) for name in settings.corpora},
    runs=runs,
    draw=draw,
    to_markdown=to_markdown,
    rows=rows,
)
main = APPLICATION.main

if __name__ == "__main__":
    sys.exit(main())
