"""Sentences from a recurrence: the next token chosen or drawn, beam search, and the probability of a sentence."""

from jaxrnn.decoding.beam import Beams as Beams
from jaxrnn.decoding.beam import beam_search as beam_search
from jaxrnn.decoding.choose import Greedy as Greedy
from jaxrnn.decoding.choose import Nucleus as Nucleus
from jaxrnn.decoding.choose import Strategy as Strategy
from jaxrnn.decoding.choose import Temperature as Temperature
from jaxrnn.decoding.choose import TopK as TopK
from jaxrnn.decoding.generate import Generated as Generated
from jaxrnn.decoding.generate import generate as generate
from jaxrnn.decoding.score import log_probability as log_probability
