"""The Elman network, and with relu and an identity matrix the IRNN."""

from dataclasses import dataclass
from typing import ClassVar

from jaxrnn.activations import Activation, activation
from jaxrnn.cell import GatedCell, HiddenCarry
from jaxrnn.initializers import BiasInitializer, Glorot, Initializer, Orthogonal, ZeroBias


@dataclass(frozen=True)
class Elman(GatedCell):
    """Simple recurrent network (Elman, 1990, https://doi.org/10.1207/s15516709cog1402_1).

        h_t = s(U x_t + W h_{t-1} + b)

    The IRNN (Le, Jaitly & Hinton, 2015, https://arxiv.org/abs/1504.00941) is
    `Elman(n, "relu", input_init=Gaussian(0.001 * input_size**0.5), recurrent_init=Identity())`.

    Shapes: x (..., i), h (..., h); input = U (i, h), recurrent = W (h, h), bias = b (h,).
    Defaults: s = tanh; other names are "relu", "sigmoid", "identity", or pass a function.
    With `heads` of k, recurrent is (k, h / k, h / k): k blocks on the diagonal of W.

    Raises:
        ValueError: hidden_size is below 1 or no multiple of heads, or the activation's name is not known.

    Example:
        >>> Elman(3).output_size
        3
    """

    hidden_size: int
    activation: Activation = "tanh"
    input_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()
    bias_init: BiasInitializer = ZeroBias()
    heads: int = 1
    gates: ClassVar[int] = 1
    gate_names: ClassVar[tuple[str, ...]] = ("hidden state",)

    def __post_init__(self):  # noqa: D105
        super().__post_init__()
        activation(self.activation)

    def update(self, pointwise, carry, u, v):
        """s(u + v)."""
        return HiddenCarry(activation(self.activation)(u[0] + v[0]))
