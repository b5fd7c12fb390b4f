"""Synthetic tasks: frozen dataclasses whose `sample(key, batch)` is pure and can be compiled and mapped.

`baseline()` is the loss of a predictor that knows the task and where in the sequence it stands, but remembers nothing
of what was shown: what a run must beat before it has learned anything. `wrong(outputs, batch)` judges each sequence as
the task's paper does.
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
