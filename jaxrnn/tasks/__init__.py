"""Synthetic tasks: frozen dataclasses whose `sample(key, batch)` is pure and can be compiled."""

from jaxrnn.tasks.adding import Adding as Adding
from jaxrnn.tasks.batch import Batch as Batch
