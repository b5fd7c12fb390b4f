"""Readers of real data from files, in NumPy; nothing is downloaded."""

from jaxrnn.data.idx import read_idx as read_idx
from jaxrnn.data.text import read_bytes as read_bytes
