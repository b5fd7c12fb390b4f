"""A character language model of Shakespeare: how well it tells the next letter, what it writes, what its gates do.

Command:  python -m experiments.char_lm --out experiments/results/char_lm
Runtime:  28 minutes on 1 core; --smoke 21 seconds on 2 slow cores
Metric:   validation bits per character
Published: 2.12 bits (1.4697 nats) by nanoGPT's 6-layer transformer of characters on the same split, the best of its
          looks (github.com/karpathy/nanoGPT, README); about 2.23 and 2.24 by a minGRU and a minLSTM (1.548 and 1.555
          nats, recalled from Feng et al., 2024, https://arxiv.org/abs/2410.01201)

    data      tiny Shakespeare, first 90% for training, the rest for validation
    model     embedding, LSTM, dropout, a linear layer to the characters
    training  truncated backpropagation through time, the carry handed on from window to window; Adam, its rate falling
              to nothing by a cosine, gradients clipped to a global norm of 1
    measured  the least of all looks at the validation split, as of nanoGPT; there is no test split
    shown     text at three temperatures; every gate of some units over one line of the play
"""

import functools
import math
import re
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
from experiments import made, output
from experiments.application import Application, Common
from experiments.char_lm_figure import draw, rows, to_markdown
from experiments.checks import check_limits, check_positive, check_rate
from experiments.fitting import Fitting, parameters
from experiments.language import Reader, Stream
from jaxrnn import LSTM, decoding
from jaxrnn.data import Alphabet, split_by_position, tinyshakespeare
from jaxrnn.gradients import activations
from jaxrnn.initializers import ForgetBias
from jaxrnn.models import LanguageModel, pure_step
from jaxrnn.nn import RNN

TEMPERATURES = (0.5, 0.8, 1.0)
SHOWN_LETTERS = 35, 50  # of a line
SHOWN_UNITS = 12  # those whose forget gate moves most


@dataclass(frozen=True)
class Settings(Common):
    """Trains a character LSTM on tiny Shakespeare; writes bits per character, text that it draws, and gate traces."""

    hidden_size: int = 256
    """Units of the LSTM."""
    embedding_size: int = 64
    """Numbers that stand for a character."""
    dropout: float = 0.2
    """Rate of dropout on embeddings and on outputs."""
    window: int = 128
    """Steps of a window, and so of backpropagation."""
    batch: int = 64
    """Rows of text that are read side by side."""
    rate: float = 4e-3
    """Learning rate at the start."""
    updates: int = 2500
    """Updates in all."""
    every: int = 250
    """Updates between two looks at the validation split."""
    characters: int = 500
    """Characters of each text drawn."""
    limit: int | None = None
    """Characters of the text that are used. Default: all."""


def check(settings: Settings) -> None:
    """Raises ValueError where a setting cannot be used."""
    sizes = "hidden_size", "embedding_size", "window", "batch", "updates", "every", "characters"
    check_at_least(settings, 1, *sizes)
    check_limits(settings, 1, "limit")
    check_positive(settings, "rate")
    check_rate(settings, "dropout")


def runs(settings: Settings, text: str) -> dict[str, Callable[[Fitting], dict[str, Any]]]:
    """One network."""
    text = text[: settings.limit]
    alphabet = Alphabet.of(text)
    parts = [alphabet.encode(part) for part in split_by_position(text)]
    streams = [Stream(part, settings.batch, settings.window) for part in parts]
    return {"LSTM": functools.partial(train, settings, alphabet, *streams)}


def model_of(settings: Settings, characters: int) -> LanguageModel:
    """The network at its start."""
    rngs = nnx.Rngs(settings.seed)
    embed = nnx.Embed(characters, settings.embedding_size, rngs=rngs)
    cell = LSTM(settings.hidden_size, bias_init=ForgetBias(1.0))
    head = nnx.Linear(settings.hidden_size, characters, rngs=rngs)
    return LanguageModel(embed, RNN(cell, settings.embedding_size, rngs=rngs), head=head, dropout=settings.dropout)


def train(settings: Settings, alphabet: Alphabet, source: Stream, validation: Stream, fitting: Fitting):
    """Bits per character on the way, text, and gates over the first line of the validation split."""
    optimizer = optax.adam(optax.cosine_decay_schedule(settings.rate, settings.updates))
    reader = Reader(model_of(settings, alphabet.size), optimizer, clip=1.0, batch=settings.batch)

    def evaluate(params) -> dict[str, float]:
        return {"bits": reader.nats(params, validation) / math.log(2)}

    state = reader.init(jax.random.key(settings.seed))
    how: dict[str, Any] = {"every": settings.every, "evaluate": evaluate, "score": lambda found: found["bits"]}
    params, history = fitting.fit(reader.trainer, state, source.at, settings.updates, **how)
    model = reader.model(params)
    return {
        "history": output.plain(history),
        "bits": evaluate(params)["bits"],
        "parameters": parameters(params),
        "samples": samples(model, alphabet, settings),
        "gates": gates(model, alphabet, validation.tokens),
    }


def samples(model: LanguageModel, alphabet: Alphabet, settings: Settings) -> dict[str, str]:
    """Text at each temperature, begun after the end of a line."""
    first = jnp.int32(alphabet.characters.find("\n")) if "\n" in alphabet.characters else jnp.int32(0)
    found = {}
    for temperature in TEMPERATURES:
        drawn = decoding.generate(
            pure_step(model),
            model.init_carry(()),
            first,
            settings.characters,
            choose=decoding.Temperature(temperature),
            key=jax.random.key(settings.seed),
        )
        found[f"{temperature:g}"] = alphabet.decode(np.asarray(drawn.tokens))
    return found


def gates(model: LanguageModel, alphabet: Alphabet, tokens: np.ndarray) -> dict[str, Any]:
    """What the gates of the units whose forget gate moves most do along a line, from the end of the line before it.

    It is the first line that has as many letters as SHOWN_LETTERS says.
    """
    text = alphabet.decode(tokens[:4000])
    found = re.search(rf"\n.{{{SHOWN_LETTERS[0]},{SHOWN_LETTERS[1]}}}(?=\n)", text)
    begin, line = (found.start(), found.group()) if found else (0, text[: SHOWN_LETTERS[1]])
    xs = model.embed(jnp.asarray(tokens[begin : begin + len(line)]))[:, None]
    found = {each.name: np.asarray(each.values)[:, 0] for each in activations(model.rnn.cell, model.rnn.params, xs)}
    named = {name: values for name, values in found.items() if name.endswith("gate")}
    units = np.argsort(-found["forget gate"].std(axis=0))[:SHOWN_UNITS]
    traces = {name: output.plain(values[:, units].T) for name, values in named.items()}
    return {"text": line, "units": units.tolist(), "traces": traces}


APPLICATION = Application(
    name="char_lm",
    settings=Settings,
    small={"hidden_size": 32, "embedding_size": 16, "window": 32, "batch": 8, "updates": 100, "every": 50}
    | {"characters": 200, "limit": 30_000},
    check=check,
    files=lambda settings: ("tinyshakespeare/input.txt",),
    read=lambda settings: tinyshakespeare(settings.data),
    make=lambda settings: made.play(settings.seed),
    runs=runs,
    draw=draw,
    to_markdown=to_markdown,
    rows=rows,
)
main = APPLICATION.main

if __name__ == "__main__":
    sys.exit(main())
