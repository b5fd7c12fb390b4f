"""Diseases in abstracts, and persons, places and organisations in articles: does a CRF tag better than a softmax?

Command:  python -m experiments.tagging --out experiments/results/tagging
Runtime:  27 minutes on 1 core; --smoke 34 seconds on 2 slow cores, of Wikigold alone
Metric:   F1 of whole entities, type and both ends right, on all sentences of the test split, in percent
Published: NCBI-disease 85.80 by the same network with a CRF (Lample et al.), 82.62 by Ma & Hovy, 83.92 by LM-LSTM-CRF
          (all in github.com/yuzhimanhua/Multi-BioNER, README): with word vectors of PubMed, where here all is trained
          from scratch. Wikigold: none known for training on it

    data      NCBI-disease with its own split; Wikigold, of every ten articles eight for training, one each for
              validation and test, a split of this library's own
    model     embeddings of words beside a bidirectional LSTM over their characters, a bidirectional LSTM over the
              sentence, and at each word a softmax, or one conditional random field over all tags
    training  Adam, its rate falling to nothing by a cosine, gradients clipped to a global norm of 5; the validation
              split chooses among the checkpoints
    decoding  with both heads the most likely of the sequences in which an entity begins before it goes on
"""

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

from benchmarks.command import check_at_least
from experiments import made_text, output
from experiments.application import Application, Common
from experiments.checks import check_choices, check_limits, check_positive, check_rate
from experiments.fitting import Fitting, parameters
from experiments.tagging_figure import DATA, HEADS, draw, rows, to_markdown
from experiments.tagging_model import Coder, WordFeatures, cut
from jaxrnn import LSTM
from jaxrnn.data import TaggedSentences, batches, ncbi_disease, wikigold
from jaxrnn.models import CRFHead, SoftmaxHead, Tagger, crf
from jaxrnn.nn import Bidirectional
from jaxrnn.train import Trainer

Splits = dict[str, TaggedSentences]
SPLITS = "train", "validation", "test"
FILES = {
    "ncbi": tuple(f"ncbi-disease/{split}.tsv" for split in ("train", "devel", "test")),
    "wikigold": ("wikigold/wikigold.conll.txt",),
}
READERS = {"ncbi": ncbi_disease, "wikigold": wikigold}
SHOWN = {True: 2, False: 3}  # sentences told right and wrong
SHOWN_TOKENS = 30  # the most of a sentence that is shown


@dataclass(frozen=True)
class Settings(Common):
    """Trains taggers with a softmax and with a CRF on two data sets of named entities."""

    corpora: tuple[Literal["ncbi", "wikigold"], ...] = ("ncbi", "wikigold")
    """Data sets that are trained on."""
    heads: tuple[Literal["softmax", "CRF"], ...] = HEADS
    """What chooses the tags."""
    embedding_size: int = 100
    """Numbers that stand for a word."""
    character_size: int = 25
    """Numbers that stand for a character, and units of each direction over characters."""
    hidden_size: int = 100
    """Units of each direction over words."""
    letters: int = 20
    """Characters of a word that are read, half of them at either end."""
    longest: int = 60
    """Tokens of a sentence that are trained on; tests take all."""
    dropout: float = 0.5
    """Rate of dropout on the features of words and on what the head reads."""
    batch: int = 32
    """Sentences in an update."""
    rate: float = 3e-3
    """Learning rate at the start."""
    updates: int = 800
    """Updates of every network."""
    every: int = 100
    """Updates between two looks at the validation split."""
    buckets: int = 4
    """Groups of sentences of similar length, so that little is padded."""
    limit: int | None = None
    """Sentences of each split that are used. Default: all."""


class Reader:
    """A tagger: how it is trained, and its tags for any sentences."""

    def __init__(self, settings: Settings, head: str, coder: Coder):
        """Builds the network."""
        rngs = nnx.Rngs(settings.seed)
        embed = WordFeatures(coder, settings.embedding_size, settings.character_size, rngs)
        rnn = Bidirectional(LSTM(settings.hidden_size), embed.features, rngs=rngs)
        kind = {"softmax": SoftmaxHead, "CRF": CRFHead}[head]
        model = Tagger(rnn, kind(rnn.out_features, len(coder.names), rngs=rngs), embed=embed, dropout=settings.dropout)
        self._graph, self.params = nnx.split(model, nnx.Param)
        self._allowed, self._coder, self._batch = crf.bio_constraints(coder.names), coder, settings.batch
        self._decode = jax.jit(self._decode_batch)
        optimizer = optax.adam(optax.cosine_decay_schedule(settings.rate, settings.updates))
        self.trainer = Trainer(self._loss, optimizer, clip=optax.clip_by_global_norm(5.0))

    def model(self, params) -> Tagger:
        """The model with such parameters."""
        return nnx.merge(self._graph, params)

    def tags(self, params, tokens: Sequence[Sequence[str]]) -> list[list[str]]:
        """The tags of each sentence."""
        found: list[list[str]] = [[] for _ in tokens]
        for batch in batches(self._coder.batches(tokens, np.arange(len(tokens)), self._batch)):
            told = np.asarray(self._decode(params, batch.inputs, batch.lengths)).T
            for number, length, row in zip(batch.targets, batch.lengths, told, strict=True):
                if length:  # else the row fills up the batch
                    found[number] = [self._coder.names[tag] if tag >= 0 else "O" for tag in row[:length]]  # -1: of NaN
        return found

    def _decode_batch(self, params, inputs, lengths):
        return self.model(params).decode(inputs, lengths, self._allowed)

    def _loss(self, params, batch, key):
        tokens = jnp.sum(batch.lengths).astype(jnp.int32)
        return self.model(params).loss(batch.inputs, batch.targets, batch.lengths, key), {"tokens": tokens}


def train(settings: Settings, head: str, coder: Coder, data: Splits, fitting: Fitting) -> dict[str, Any]:
    """Entities found on the test split, the history, sentences to look at, and what a CRF has learned of its tags."""
    key = jax.random.key(settings.seed)
    short, validation, test = cut(data["train"], settings.longest), data["validation"], data["test"]
    source = coder.batches(short.tokens, coder.tags(short.tags), settings.batch, key, settings.buckets)
    reader = Reader(settings, head, coder)
    params, history = fitting.fit(
        reader.trainer,
        reader.trainer.init(reader.params, key),
        source.at,
        settings.updates,
        every=settings.every,
        evaluate=lambda params: scores(validation.tags, reader.tags(params, validation.tokens)),
        score=lambda found: -found["f1"],
        block=1,  # batches of different lengths cannot be stacked
    )
    told, model = reader.tags(params, test.tokens), reader.model(params)
    found = scores(test.tags, told) | {
        "validation": max(history["f1"]),
        "history": output.plain(history),
        "parameters": parameters(params),
        "sentences": len(test.tokens),
        "examples": examples(test, told),
    }
    if isinstance(model.head, CRFHead):
        scored = {name: output.plain(values) for name, values in model.head.transitions._asdict().items()}
        found["transitions"] = {"names": coder.names} | scored
    return found


def scores(tags: Sequence[Sequence[str]], told: Sequence[Sequence[str]]) -> dict[str, float]:
    """Of whole entities, over all sentences together; 0 where there are none."""
    sentences = [*map(list, tags)], [*map(list, told)]
    found = precision_recall_fscore_support(*sentences, average="micro", zero_division=cast(Any, 0))
    return {name: float(np.mean(value)) for name, value in zip(("precision", "recall", "f1"), found, strict=False)}


def examples(test: TaggedSentences, told: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The first sentences with an entity that were told right, and the first ones told wrong."""
    found: dict[bool, list] = {right: [] for right in SHOWN}
    for tokens, true, tags in zip(*test, told, strict=True):
        if len(tokens) <= SHOWN_TOKENS and {*true, *tags} != {"O"}:
            found[true == tags].append({"tokens": tokens, "true": true, "told": tags})
    return [example for right, count in SHOWN.items() for example in found[right][:count]]


def check(settings: Settings) -> None:
    """Raises ValueError where a setting cannot be used."""
    sizes = "embedding_size", "character_size", "hidden_size", "longest", "batch", "updates", "every", "buckets"
    check_at_least(settings, 1, *sizes)
    check_at_least(settings, 2, "letters")
    check_limits(settings, 1, "limit")
    check_choices(settings, "corpora", "heads")
    check_positive(settings, "rate")
    check_rate(settings, "dropout")


def runs(settings: Settings, data: dict[str, Splits]) -> dict[str, Callable[[Fitting], dict[str, Any]]]:
    """One for each data set and head."""
    found = {}
    for name in settings.corpora:
        kept = {
            split: TaggedSentences(*(rows[: settings.limit] for rows in each)) for split, each in data[name].items()
        }
        coder = Coder(kept, settings.letters)
        for head in settings.heads:
            found[f"{DATA[name]}, {head}"] = functools.partial(train, settings, head, coder, kept)
    return found


def read(settings: Settings) -> dict[str, Splits]:
    """Every split of each data set."""
    return {name: {split: READERS[name](split, settings.data) for split in SPLITS} for name in settings.corpora}


def make(settings: Settings) -> dict[str, Splits]:
    """The same, made."""
    seeds = {split: settings.seed + n for n, split in enumerate(SPLITS)}
    types = {"ncbi": made_text.DISEASES, "wikigold": made_text.NAMES}
    return {name: {split: made_text.tagged(seed, 200, types[name]) for split, seed in seeds.items()} for name in types}


APPLICATION = Application(
    name="tagging",
    settings=Settings,
    small={"corpora": ("wikigold",), "heads": ("CRF",), "embedding_size": 16, "character_size": 8, "hidden_size": 16}
    | {"letters": 10, "longest": 25, "dropout": 0.2, "batch": 8, "rate": 1e-2, "updates": 160, "every": 80}
    | {"buckets": 1, "limit": 300},
    check=check,
    files=lambda settings: tuple(file for name in settings.corpora for file in FILES[name]),
    read=read,
    make=make,
    runs=runs,
    draw=draw,
    to_markdown=to_markdown,
    rows=rows,
)
main = APPLICATION.main

if __name__ == "__main__":
    sys.exit(main())
