"""Synthetic tasks: frozen dataclasses whose `sample(key, batch)` is pure and can be compiled and mapped.

`sample` raises a ValueError unless `batch` is a whole number of at least 1. `baseline()` is the loss that a run must
beat before it has learned anything: that of a predictor that knows the task and where in the sequence it stands, but
reads no inputs. Two tasks differ: in `EmbeddedReber` it has read the string and forgotten the outer symbol alone; in
`Adding` the last input may hold a mark, and one who reads that input alone does a little better.
`wrong(outputs, batch)` judges each sequence as the task's paper does.
"""

from jaxrnn.tasks.adding import Adding as Adding
from jaxrnn.tasks.batch import Batch as Batch
from jaxrnn.tasks.copying import Copy as Copy
from jaxrnn.tasks.copying import VariableCopy as VariableCopy
from jaxrnn.tasks.memorisation import Memorisation as Memorisation
from jaxrnn.tasks.multiplication import Multiplication as Multiplication
from jaxrnn.tasks.order import TemporalOrder as TemporalOrder
from jaxrnn.tasks.parity import Parity as Parity
from jaxrnn.tasks.reber import EmbeddedReber as EmbeddedReber
from jaxrnn.tasks.two_sequence import TwoSequence as TwoSequence
