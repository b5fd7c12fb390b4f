"""The character model in PyTorch, with the weights, optimizer and clipping of the one in jaxrnn."""

# pyright: reportMissingImports=false

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from experiments.char_model_jax import Placed
from experiments.in_torch import clip_gradients, tensor


class TorchSide:
    """The model in PyTorch: torch.nn.LSTM and torch.nn.Linear, run eagerly."""

    def __init__(self, params, rate: float, clip: float, batch_at: Callable[[int], Placed], threads: int):
        """Starts from the weights of jaxrnn; both order the gates i, f, g, o."""
        torch.set_num_threads(threads)
        cell, readout = params["cell"], params["readout"]
        characters, hidden_size = len(readout["bias"]), len(readout["weight"])
        self._lstm = torch.nn.LSTM(characters, hidden_size)
        self._readout = torch.nn.Linear(hidden_size, characters)
        weights = {
            "weight_ih_l0": tensor(cell.input).T,
            "weight_hh_l0": tensor(cell.recurrent).T,
            "bias_ih_l0": tensor(cell.bias),
            "bias_hh_l0": torch.zeros(4 * hidden_size),
        }
        self._lstm.load_state_dict(weights)
        self._readout.load_state_dict({"weight": tensor(readout["weight"]).T, "bias": tensor(readout["bias"])})
        self._lstm.get_parameter("bias_hh_l0").requires_grad_(False)  # of two biases Adam moves the sum twice as far
        self._trained = [p for p in (*self._lstm.parameters(), *self._readout.parameters()) if p.requires_grad]
        self._optimizer = torch.optim.Adam(self._trained, lr=rate, betas=(0.9, 0.999), eps=1e-8)
        self._clip, self._batch_at = clip, batch_at
        self._carry, self._position = None, 0

    def advance(self, count: int) -> np.ndarray:
        """Makes so many updates; the loss of each, in nats."""
        found = []
        for _ in range(count):
            self._optimizer.zero_grad()
            self._carry, loss = self._loss(self._carry, self._batch_at(self._position))
            loss.backward()
            clip_gradients(self._trained, self._clip)
            self._optimizer.step()
            self._position += 1
            found.append(loss.detach())
        return torch.stack(found).numpy()

    def score(self, carry, batch: Placed) -> tuple[Any, float]:
        """The carry after a segment, and its mean loss in nats; a carry of None is a fresh one."""
        with torch.no_grad():
            carry, loss = self._loss(carry, batch)
        return carry, float(loss)

    def _loss(self, carry, batch: Placed):
        segment, begins = batch
        tokens, targets = (torch.from_numpy(part).long() for part in (segment.inputs, segment.targets))
        xs = torch.nn.functional.one_hot(tokens, self._lstm.input_size).float()
        ys, carry = self._lstm(xs, None if begins else carry)
        logits = self._readout(ys).flatten(0, 1)
        nats = torch.nn.functional.cross_entropy(logits, targets.flatten(), reduction="none")
        scored = torch.from_numpy(segment.mask).flatten()
        return tuple(c.detach() for c in carry), (nats * scored).sum() / scored.sum()
