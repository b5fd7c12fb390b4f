"""A word language model of WikiText-2 with tied weights, beside the same model in PyTorch.

Command:  python -m experiments.word_lm --out experiments/results/word_lm
          (pip install torch 'jaxrnn[applications]'; --no-twin leaves PyTorch out)
Runtime:  34 minutes on 2 cores; --smoke 14 seconds on 2 slow cores
Metric:   test perplexity, exp of the mean nats a token, over all of the test split; at most 1.02 times PyTorch's
Published: 101.64 after full training of a tied LSTM of 2 layers of 200 units (GluonNLP's catalogue of models)
Full run: python -m experiments.word_lm --no-twin --device gpu --dropout 0.2 --rate 2 --updates 120000 --every 3000
          --validated 1000000 (40 epochs; rate / (1 - momentum) is the 20 of the published recipe, of which the
          command above takes twice as much; not run yet)

    data      WikiText-2, 2,088,628 words for training, 33,278 distinct
    model     embedding, two LSTM layers, logits by the transposed embedding and a bias
    training  truncated backpropagation through time in windows of 35 words, the carry handed on; steps down the
              gradient, clipped to a global norm of 0.25, with a momentum of 0.9, their rate falling to nothing by a
              cosine. Adam does worse in so few updates (benchmarks/NOTES.md)

Both start from the same weights and read the same windows in the same order. A fixed number of updates is far from full
training on 2 cores: what is shown is that nothing is lost beside PyTorch, and the speed. The run ends with an error
where losses and norms of gradients of the first updates do not agree, since it would compare different models, and
where the target is missed. Of both the weights with the best validation perplexity are tested.
"""

import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import numpy as np
import optax
from flax import nnx

from benchmarks.command import Failed, check_at_least
from benchmarks.environment import machine
from experiments import made, output
from experiments.application import Application, Common
from experiments.checks import check_limits, check_positive, check_rate
from experiments.fitting import Fitting, parameters, perplexity
from experiments.language import Reader, Stream
from experiments.word_lm_figure import OURS, TARGET, TWIN, draw, rows, to_markdown
from jaxrnn import LSTM
from jaxrnn.data import Vocabulary, wikitext2
from jaxrnn.models import LanguageModel
from jaxrnn.nn import Stack
from jaxrnn.train import TrainState

CLIP, MOMENTUM = 0.25, 0.9
AGREE, WATCHED = 1e-5, 3  # relative, of losses and norms of gradients; updates that are compared
SPLITS = "train", "validation", "test"


@dataclass(frozen=True)
class Settings(Common):
    """Trains a tied LSTM on WikiText-2 for a fixed number of updates, and the same in PyTorch."""

    hidden_size: int = 200
    """Units of each layer, and numbers that stand for a word."""
    layers: int = 2
    """LSTM layers."""
    dropout: float = 0.0
    """Rate of dropout on embeddings and on outputs; not with PyTorch beside it, which draws other noise."""
    window: int = 35
    """Words of a window, and so of backpropagation."""
    batch: int = 20
    """Rows of text that are read side by side."""
    rate: float = 4.0
    """Learning rate at the start."""
    updates: int = 1000
    """Updates in all."""
    every: int = 100
    """Updates between two looks at the validation split."""
    validated: int = 40_000
    """Words of the validation split that such a look reads."""
    twin: bool = True
    """Train the model in PyTorch too (pip install torch)."""
    limit: int | None = None
    """Words of each split that are used. Default: all."""
    most: int | None = None
    """Distinct words that are told apart, the most frequent ones. Default: all."""


class Text(NamedTuple):
    """The three splits, and the size of the vocabulary."""

    train: Stream
    validation: Stream
    test: Stream
    words: int


def check(settings: Settings) -> None:
    """Raises ValueError where a setting cannot be used."""
    check_at_least(settings, 1, "hidden_size", "layers", "window", "batch", "updates", "every", "validated")
    check_limits(settings, 1, "limit", "most")
    check_positive(settings, "rate")
    check_rate(settings, "dropout")
    if not settings.twin:
        return
    if settings.dropout:
        raise ValueError(f"--dropout: must be 0 beside PyTorch, got {settings.dropout}. Add --no-twin.")
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise ValueError(
            f"--twin: PyTorch cannot be imported ({error}). Install it with pip install torch, or leave the "
            "comparison out with --no-twin."
        ) from error


def runs(settings: Settings, splits: list[list[str]]) -> dict[str, Callable[[Fitting], dict[str, Any]]]:
    """jaxrnn's, and PyTorch's after it."""
    splits = [split[: settings.limit] for split in splits]
    vocabulary = Vocabulary.of(splits[:1], most=settings.most)
    train, validation, test = map(vocabulary.encode, splits)
    tokens = train, validation[: settings.validated], test
    streams = [Stream(part, settings.batch, settings.window) for part in tokens]
    text = Text(streams[0], streams[1], streams[2], vocabulary.size)
    return {OURS: functools.partial(train_ours, settings, text)} | (
        {TWIN: functools.partial(train_twin, settings, text)} if settings.twin else {}
    )


def reader_of(settings: Settings, words: int) -> Reader:
    """The model at its start, and its trainer."""
    rngs = nnx.Rngs(settings.seed)
    embed = nnx.Embed(words, settings.hidden_size, rngs=rngs)
    rnn = Stack([LSTM(settings.hidden_size)] * settings.layers, settings.hidden_size, rngs=rngs)
    model = LanguageModel(embed, rnn, dropout=settings.dropout)
    return Reader(model, optax.sgd(schedule(settings), MOMENTUM), clip=CLIP, batch=settings.batch)


def schedule(settings: Settings) -> optax.Schedule:
    """The learning rate by update."""
    return optax.cosine_decay_schedule(settings.rate, settings.updates)


def train_ours(settings: Settings, text: Text, fitting: Fitting) -> dict[str, Any]:
    """Perplexities on the way and on the test split."""
    reader = reader_of(settings, text.words)
    params, history = fitting.fit(
        reader.trainer,
        reader.init(jax.random.key(settings.seed)),
        text.train.at,
        settings.updates,
        every=settings.every,
        evaluate=lambda params: {"perplexity": perplexity(reader.nats(params, text.validation))},
        score=lambda found: found["perplexity"],
    )
    return {
        "history": output.plain(history),
        "perplexity": perplexity(reader.nats(params, text.test)),
        "tokens_per_second": fitting.speed(),
        "parameters": parameters(params),
    }


def train_twin(settings: Settings, text: Text, fitting: Fitting) -> dict[str, Any]:
    """The same in PyTorch, after the first updates of both are found to agree."""
    reader = reader_of(settings, text.words)
    make = functools.partial(
        importlib.import_module("experiments.word_lm_torch").Twin,
        *(reader.model(reader.start), schedule(settings), MOMENTUM, CLIP, int(machine()["cores"])),
    )
    differences = check_agreement(reader, reader.init(jax.random.key(settings.seed)), make(), text.train)
    twin, kept, best = make(), fitting.own_folder() / "state.pt", fitting.own_folder() / "best.pt"
    history: dict[str, list[float]] = {"step": [], "training_loss": [], "perplexity": []}

    def restored(path: Path) -> dict[str, list[float]]:
        try:
            return twin.restore(path, fitting.about)
        except ValueError as error:
            raise Failed(f"{TWIN}: {error}") from error

    if kept.exists():
        history = restored(kept)
    losses = []
    with fitting.follow(twin.made, settings.updates) as log:
        for position in range(twin.made, settings.updates):
            window = text.train.at(position)
            loss, norm = twin.update(window)
            losses.append(loss)
            log.update(position, loss, norm, int(window[0].mask.sum()))
            if twin.made % settings.every == 0 or twin.made == settings.updates:
                history["step"].append(twin.made)
                history["training_loss"].append(float(np.mean(losses)))
                history["perplexity"].append(perplexity(twin.nats(text.validation)))
                if history["perplexity"][-1] == min(history["perplexity"]):
                    twin.save(best, history, fitting.about)
                twin.save(kept, history, fitting.about)
                losses = []
                log.rest()
    restored(best)
    return {
        "history": output.plain(history),
        "perplexity": perplexity(twin.nats(text.test)),
        "tokens_per_second": fitting.speed(),
        "differences": differences,
    }


def finish(results: dict[str, Any]) -> None:
    """Raises Failed where jaxrnn's perplexity is beyond the target."""
    if TWIN in results["parts"]:
        ours, theirs = (results["parts"][name]["perplexity"] for name in (OURS, TWIN))
        if not ours <= TARGET * theirs:
            raise Failed(f"jaxrnn's perplexity, {ours:.2f}, is more than {TARGET} times PyTorch's, {theirs:.2f}.")


def check_agreement(reader: Reader, state: TrainState, twin: Any, source: Stream) -> list[float]:
    """The largest relative difference of losses and norms of gradients, of each of the first updates.

    Raises:
        Failed: one is too large: the two do not train the same model.
    """
    ours, theirs = [], []
    for position in range(WATCHED):
        state, metrics = reader.trainer.step(state, source.at(position))
        ours.append((float(metrics.loss), float(metrics.gradient_norm)))
        theirs.append(twin.update(source.at(position)))
    differences = (np.abs(np.array(ours) - theirs) / np.abs(theirs)).max(axis=1)
    if not (differences <= AGREE).all():
        raise Failed(f"jaxrnn and PyTorch do not train the same model: losses and norms {ours} and {theirs}.")
    return output.plain(differences)


APPLICATION = Application(
    name="word_lm",
    settings=Settings,
    small={"hidden_size": 16, "window": 10, "batch": 4, "updates": 60, "every": 20, "validated": 500}
    | {"limit": 3000, "most": 500, "twin": False},
    check=check,
    files=lambda settings: tuple(f"wikitext-2/{name}.txt" for name in ("train", "valid", "test")),
    read=lambda settings: [wikitext2(split, settings.data) for split in SPLITS],
    make=lambda settings: [made.articles(settings.seed + number) for number in range(len(SPLITS))],
    runs=runs,
    draw=draw,
    to_markdown=to_markdown,
    rows=rows,
    peers=("torch",),
    finish=finish,
)
main = APPLICATION.main

if __name__ == "__main__":
    sys.exit(main())
