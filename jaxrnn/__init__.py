"""Recurrent sequence models in JAX: a cell is ten lines of mathematics, the rest is derived from it."""

import importlib

from jaxrnn import cells as cells
from jaxrnn import initializers as initializers
from jaxrnn.backends import Associative as Associative
from jaxrnn.backends import Backend as Backend
from jaxrnn.backends import ChunkedScan as ChunkedScan
from jaxrnn.backends import CuDNN as CuDNN
from jaxrnn.backends import Pallas as Pallas
from jaxrnn.backends import Scan as Scan
from jaxrnn.cell import Cell as Cell
from jaxrnn.cell import GatedCell as GatedCell
from jaxrnn.cell import GatedParams as GatedParams
from jaxrnn.cell import HiddenCarry as HiddenCarry
from jaxrnn.cell import LinearCell as LinearCell
from jaxrnn.cells import *  # noqa: F403
from jaxrnn.errors import UnsupportedBackend as UnsupportedBackend
from jaxrnn.sequence import Bidirectional as Bidirectional
from jaxrnn.sequence import Stack as Stack
from jaxrnn.unroll import explain as explain
from jaxrnn.unroll import unroll as unroll

_LAZY = ("data", "debug", "decoding", "gradients", "models", "nn", "stochastic", "tasks", "train")


def __getattr__(name: str):
    """Loads the higher floors on first use, so that `import jaxrnn` stays light."""
    if name in _LAZY:
        return importlib.import_module(f"jaxrnn.{name}")
    raise AttributeError(f"module 'jaxrnn' has no attribute {name!r}")


def __dir__():
    """Names for completion, those that load on first use too."""
    return sorted({*globals(), *_LAZY})
