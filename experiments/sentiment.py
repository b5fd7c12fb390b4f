"""Praise or blame? Recurrent and feed-forward networks on sentences of film reviews, and the words that decide.

Command:  python -m experiments.sentiment --out experiments/results/sentiment
Runtime:  17 minutes on 1 core; --smoke 29 seconds on 2 slow cores
Metric:   accuracy on the test split, in percent, mean and spread over seeds; guessing gives 50
Published: about 76.1 by a convolutional network without pretrained vectors (CNN-rand, recalled), about 77 to 80 by
          LSTMs with them (recalled), above 81 by a convolutional network with them (github.com/yoonkim/CNN_sentence,
          README); all in 10-fold cross-validation, where here one tenth is the test split

    data      sentence polarity (Pang & Lee, 2005): of every ten sentences eight for training, one each for validation
              and test, a split of this library's own; words seen once in training are read as one unknown word
    models    embeddings of words, trained from scratch, then a bidirectional LSTM or GRU with attention pooling; or one
              hidden layer on the first words' embeddings side by side, or on the mean of all
    training  Adam, gradients clipped to a global norm of 1; the validation split chooses among the checkpoints
    shown     by how much the log-odds of praise fall when a word is left out, and the weight that attention gives it
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import numpy as np
from flax import nnx
from sklearn.metrics import confusion_matrix

from benchmarks.command import check_at_least
from experiments import made_text, output
from experiments.application import Application, Common
from experiments.checks import check_choices, check_limits, check_positive, check_rate
from experiments.fitting import Fitting, parameters
from experiments.sentiment_figure import draw
from experiments.sentiment_models import Judge, Perceptron, Window
from experiments.sentiment_text import MEAN, RECURRENT, WINDOW, rows, to_markdown
from jaxrnn import GRU, LSTM
from jaxrnn.data import Buckets, LabelledSentences, Vocabulary, sentence_polarity
from jaxrnn.models import AttentionPooling, MeanPooling, SequenceClassifier
from jaxrnn.nn import Bidirectional

SPLITS = "train", "validation", "test"
SHOWN_WORDS = range(6, 23)  # lengths of the sentences that are shown
Network = Literal["LSTM", "GRU", "window MLP", "mean MLP"]


@dataclass(frozen=True)
class Settings(Common):
    """Trains four networks to tell praise from blame in film reviews; shows which words moved the decision."""

    networks: tuple[Network, ...] = get_args(Network)
    """Which networks."""
    embedding_size: int = 100
    """Numbers that stand for a word."""
    hidden_size: int = 100
    """Units of each direction, and of the perceptrons' hidden layer."""
    window: int = 32
    """Words that the perceptron on a window reads."""
    dropout: float = 0.5
    """Rate of dropout on embeddings and before the last layer."""
    batch: int = 64
    """Sentences in an update."""
    rate: float = 1e-3
    """Learning rate."""
    updates: int = 700
    """Updates of every network."""
    every: int = 50
    """Updates between two looks at the validation split."""
    buckets: int = 4
    """Groups of sentences of similar length, so that little is padded."""
    seeds: int = 3
    """Networks of each kind."""
    limit: int | None = None
    """Sentences of each split that are used. Default: all."""


def models(settings: Settings, words: int) -> dict[str, Callable[..., nnx.Module]]:
    """How each network for so many different words is made."""
    size, features, dropout = settings.hidden_size, settings.embedding_size, settings.dropout

    def recurrent(cell, rngs):
        rnn = Bidirectional(cell, features, rngs=rngs)
        parts = {"embed": nnx.Embed(words, features, rngs=rngs), "pooling": AttentionPooling(2 * size, rngs=rngs)}
        return SequenceClassifier(rnn, 2, dropout=dropout, rngs=rngs, **parts)

    def feed_forward(pooling, pooled, rngs):
        return Perceptron(nnx.Embed(words, features, rngs=rngs), pooling, pooled, size, dropout, rngs)

    return {
        "LSTM": functools.partial(recurrent, LSTM(size)),
        "GRU": functools.partial(recurrent, GRU(size)),
        WINDOW: functools.partial(feed_forward, Window(settings.window), settings.window * features),
        MEAN: functools.partial(feed_forward, MeanPooling(), features),
    }


def train(settings: Settings, name: str, vocabulary: Vocabulary, data: dict[str, LabelledSentences], fitting: Fitting):
    """Accuracy and history of each seed, the confusion matrix of all seeds together, and the words that decided."""
    longest = max(len(words) for split in data.values() for words in split.tokens)
    judge = Judge(models(settings, vocabulary.size)[name], vocabulary, settings.rate, settings.batch, longest)
    (sentences, classes), validation, test = (data[split] for split in SPLITS)
    tokens = [vocabulary.encode(sentence) for sentence in sentences]

    def evaluate(params) -> dict[str, float]:
        return scores(judge.margins(params, validation.tokens), validation.labels)

    found: dict[str, list] = {"accuracy": [], "validation": [], "history": [], "examples": []}
    confusion, size = np.zeros((2, 2), int), 0
    for seed in range(settings.seeds):
        key = jax.random.fold_in(jax.random.key(settings.seed), seed)
        params, history = fitting.fit(
            judge.trainer,
            judge.init(key),
            Buckets(tokens, classes, settings.batch, key, settings.buckets).at,
            settings.updates,
            every=settings.every,
            evaluate=evaluate,
            score=lambda found: -found["accuracy"],
            block=1,  # batches of different lengths cannot be stacked
            part=f"seed {seed}" if settings.seeds > 1 else None,
        )
        margins = judge.margins(params, test.tokens)
        found["accuracy"].append(scores(margins, test.labels)["accuracy"])
        found["validation"].append(evaluate(params)["accuracy"])
        found["history"].append(output.plain(history))
        confusion += confusion_matrix(test.labels, (margins > 0).astype(int), labels=[0, 1])
        size = parameters(params)
        if seed == 0 and name in RECURRENT:
            found["examples"] = explain(judge, params, test, chosen(test, margins))
    return found | {"confusion": confusion.tolist(), "parameters": size}


def scores(margins: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The share told right, and the cross-entropy in nats."""
    nats = np.logaddexp(0, np.where(labels == 1, -margins, margins))
    return {"accuracy": float(np.mean((margins > 0) == labels)), "nats": float(np.mean(nats))}


def chosen(test: LabelledSentences, margins: np.ndarray) -> list[int]:
    """Right ones, then wrong ones: the surest of each class, and the least sure of all."""
    short = np.array([len(sentence) in SHOWN_WORDS for sentence in test.tokens])
    right, found = (margins > 0) == test.labels, []
    for among in (short & right, short & ~right):
        for group, sureness in (
            (test.labels == 1, abs(margins)),
            (test.labels == 0, abs(margins)),
            (True, -abs(margins)),
        ):
            if (among & group).any():
                found.append(int(np.argmax(np.where(among & group, sureness, -np.inf))))
    return list(dict.fromkeys(found))


def explain(judge: Judge, params, test: LabelledSentences, numbers: list[int]) -> list[dict[str, Any]]:
    """By how much each word moves the log-odds of praise, seen by leaving it out, and its weight in the attention."""
    sentences = [test.tokens[number] for number in numbers]
    if not sentences:
        return []
    without = [[*words[:n], *words[n + 1 :]] for words in sentences for n in range(len(words))]
    ends = np.cumsum([len(sentences), *map(len, sentences)])
    whole, *left_out, _ = np.split(judge.margins(params, sentences + without), ends)
    attention, found = judge.attention(params, sentences), []
    for number, margin, rest, weights in zip(numbers, whole, left_out, attention, strict=True):
        moved = {"moved": output.plain(margin - rest), "attention": output.plain(weights)}
        label = int(test.labels[number])
        found.append({"words": test.tokens[number], "label": label, "margin": output.plain(margin)} | moved)
    return found


def check(settings: Settings) -> None:
    """Raises ValueError where a setting cannot be used."""
    sizes = "embedding_size", "hidden_size", "window", "batch", "updates", "every", "buckets", "seeds"
    check_at_least(settings, 1, *sizes)
    check_choices(settings, "networks")
    check_limits(settings, 2, "limit")
    check_positive(settings, "rate")
    check_rate(settings, "dropout")


def runs(settings: Settings, data: dict[str, LabelledSentences]) -> dict[str, Callable[[Fitting], dict[str, Any]]]:
    """One for each kind of network."""
    data = {split: limited(sentences, settings.limit) for split, sentences in data.items()}
    vocabulary = Vocabulary.of(data["train"].tokens, least=2)
    return {name: functools.partial(train, settings, name, vocabulary, data) for name in settings.networks}


def limited(sentences: LabelledSentences, limit: int | None) -> LabelledSentences:
    """Sentences evenly taken, so that both classes are in."""
    count = len(sentences.tokens)
    taken = np.linspace(0, count - 1, min(limit or count, count)).astype(int)
    return LabelledSentences([sentences.tokens[n] for n in taken], sentences.labels[taken])


APPLICATION = Application(
    name="sentiment",
    settings=Settings,
    small={"networks": ("GRU", MEAN), "embedding_size": 16, "hidden_size": 16, "updates": 60, "every": 30, "rate": 1e-2}
    | {"buckets": 1, "seeds": 1, "limit": 400},
    check=check,
    files=lambda settings: ("sentence-polarity/sentence_polarity.zip",),
    read=lambda settings: {split: sentence_polarity(split, settings.data) for split in SPLITS},
    make=lambda settings: {split: made_text.opinions(settings.seed + n, 400) for n, split in enumerate(SPLITS)},
    runs=runs,
    draw=draw,
    to_markdown=to_markdown,
    rows=rows,
)
main = APPLICATION.main

if __name__ == "__main__":
    sys.exit(main())
