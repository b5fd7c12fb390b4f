"""The cells, one export line a recurrence; tests, benchmarks and the command line enumerate these names."""

from jaxrnn.cells.elman import Elman as Elman
from jaxrnn.cells.gru import GRU as GRU
from jaxrnn.cells.gru import ResetBeforeGRU as ResetBeforeGRU
from jaxrnn.cells.gru import negate_update_gate as negate_update_gate
from jaxrnn.cells.jordan import ElmanJordan as ElmanJordan
from jaxrnn.cells.jordan import Jordan as Jordan
from jaxrnn.cells.lru import LRU as LRU
from jaxrnn.cells.lstm import LSTM as LSTM
from jaxrnn.cells.lstm import ConstantErrorCarousel as ConstantErrorCarousel
from jaxrnn.cells.lstm import CoupledLSTM as CoupledLSTM
from jaxrnn.cells.lstm import OriginalLSTM as OriginalLSTM
from jaxrnn.cells.lstm import PeepholeLSTM as PeepholeLSTM
from jaxrnn.cells.min_gru import MinGRU as MinGRU
