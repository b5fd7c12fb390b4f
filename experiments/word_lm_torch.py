"""The word model in PyTorch, with the weights, optimizer and clipping of the one in jaxrnn."""

# pyright: reportMissingImports=false

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import optax
import torch

from experiments.in_torch import clip_gradients, tensor
from experiments.language import Placed, Stream
from jaxrnn import files
from jaxrnn.models import LanguageModel


class Twin:
    """torch.nn.Embedding and torch.nn.LSTM, the embedding's weights at the output too, run eagerly."""

    def __init__(self, model: LanguageModel, schedule: optax.Schedule, momentum: float, clip: float, threads: int):
        """Starts from the weights of `model`; both order the gates i, f, g, o."""
        torch.set_num_threads(threads)
        words, size = model.embed.num_embeddings, model.embed.features
        layers = model.rnn.params
        self._embed = torch.nn.Embedding(words, size)
        self._lstm = torch.nn.LSTM(size, size, num_layers=len(layers))
        self._bias = torch.nn.Parameter(torch.zeros(words))
        self._embed.load_state_dict({"weight": tensor(model.embed.embedding[...])})
        weights = {}
        for number, layer in enumerate(layers):
            weights[f"weight_ih_l{number}"] = tensor(layer.input).T
            weights[f"weight_hh_l{number}"] = tensor(layer.recurrent).T
            weights[f"bias_ih_l{number}"] = tensor(layer.bias)
            weights[f"bias_hh_l{number}"] = torch.zeros(4 * size)
        self._lstm.load_state_dict(weights)
        for number in range(len(layers)):  # of two biases the sum would move twice as far
            self._lstm.get_parameter(f"bias_hh_l{number}").requires_grad_(False)
        parameters = (*self._embed.parameters(), *self._lstm.parameters(), self._bias)
        self._trained = [p for p in parameters if p.requires_grad]
        self._optimizer = torch.optim.SGD(self._trained, lr=1.0, momentum=momentum)
        self._schedule, self._clip, self._carry, self._made = schedule, clip, None, 0

    def save(self, path: Path, history: dict[str, list[float]], about: dict[str, Any]) -> None:
        """Keeps all that the next update needs, the history, and what the numbers depend on."""
        state = {"optimizer": self._optimizer.state_dict(), "carry": self._carry, "made": self._made}
        state |= {"trained": [p.detach() for p in self._trained], "history": history, "about": json.dumps(about)}
        files.write_all(path.parent, {path.name: lambda beside: torch.save(state, beside)})

    def restore(self, path: Path, about: dict[str, Any]) -> dict[str, list[float]]:
        """Goes on from what was kept; gives the history.

        Raises:
            ValueError: it is damaged or gone, or was kept of other settings or versions.
        """
        try:
            state = torch.load(path, weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{path} cannot be read ({error}). Remove its folder, so that PyTorch starts anew, or give another "
                "--out."
            ) from error
        if state["about"] != json.dumps(about):
            raise ValueError(
                f"{path} was kept of {state['about']}, and now it is {json.dumps(about)}. Go back to that, or give "
                "another --out."
            )
        with torch.no_grad():
            for parameter, value in zip(self._trained, state["trained"], strict=True):
                parameter.copy_(value)
        self._optimizer.load_state_dict(state["optimizer"])
        self._carry, self._made = state["carry"], state["made"]
        return state["history"]

    @property
    def made(self) -> int:
        """Updates so far."""
        return self._made

    def update(self, placed: Placed) -> tuple[float, float]:
        """Makes one update; its loss, in nats, and the norm of its gradient."""
        for group in self._optimizer.param_groups:
            group["lr"] = float(np.asarray(self._schedule(self._made)))
        self._optimizer.zero_grad()
        self._carry, loss = self._loss(self._carry, placed)
        loss.backward()
        norm = clip_gradients(self._trained, self._clip)
        self._optimizer.step()
        self._made += 1
        return float(loss.detach()), norm

    def nats(self, stream: Stream) -> float:
        """The mean over every token of a text but the first, the carry handed on."""
        carry, nats, count = None, 0.0, 0
        with torch.no_grad():
            for position in range(len(stream)):
                carry, mean = self._loss(carry, stream.at(position))
                scored = int(stream.at(position)[0].mask.sum())
                nats, count = nats + float(mean) * scored, count + scored
        return nats / count

    def _loss(self, carry, placed: Placed):
        batch, begins = placed
        tokens, targets = (torch.from_numpy(part).long() for part in (batch.inputs, batch.targets))
        ys, carry = self._lstm(self._embed(tokens), None if begins else carry)
        logits = (ys @ self._embed.weight.T + self._bias).flatten(0, 1)
        nats = torch.nn.functional.cross_entropy(logits, targets.flatten(), reduction="none")
        scored = torch.from_numpy(batch.mask).flatten()
        return tuple(c.detach() for c in carry), (nats * scored).sum() / scored.sum()
