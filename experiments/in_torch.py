"""What both twins in PyTorch share."""

# pyright: reportMissingImports=false

from collections.abc import Iterable

import numpy as np
import torch


def tensor(array) -> torch.Tensor:
    """An array of JAX or NumPy as a tensor of its own."""
    return torch.from_numpy(np.array(array))


def clip_gradients(parameters: Iterable[torch.nn.Parameter], largest: float) -> float:
    """g * min(1, largest / norm), exactly; torch.nn.utils.clip_grad_norm_ adds 1e-6 to the norm. Returns the norm."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    factor = torch.clamp(largest / norm, max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)
    return float(norm)
