"""Backends: ways to run the same recurrence, each with its options and its refusals."""

from jaxrnn.backends.associative import Associative as Associative
from jaxrnn.backends.base import Backend as Backend
from jaxrnn.backends.chunked import ChunkedScan as ChunkedScan
from jaxrnn.backends.cudnn import CuDNN as CuDNN
from jaxrnn.backends.pallas import Pallas as Pallas
from jaxrnn.backends.scan import Scan as Scan
