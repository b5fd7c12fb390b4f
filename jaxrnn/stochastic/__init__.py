"""Noise that regularises recurrences: zoneout, and dropout by one mask for the whole sequence; pure, keys come in.

`zoneout` and `recurrent_dropout` make a cell of the same contract from a cell; without masks it evaluates.
`regularize` puts all noise into a cell, Stack or Bidirectional, and `with_key` turns it on for one call.
"""

from jaxrnn.stochastic.dropout import RecurrentDropout as RecurrentDropout
from jaxrnn.stochastic.dropout import recurrent_dropout as recurrent_dropout
from jaxrnn.stochastic.dropout import sequence_dropout as sequence_dropout
from jaxrnn.stochastic.regularized import Regularized as Regularized
from jaxrnn.stochastic.regularized import regularize as regularize
from jaxrnn.stochastic.regularized import with_key as with_key
from jaxrnn.stochastic.zoned import zoneout as zoneout
