"""Training: one compiled update on Optax, truncated backpropagation, losses with masks, checkpoints, a loop."""

from jaxrnn.train import losses as losses
from jaxrnn.train.checkpoint import Checkpoints as Checkpoints
from jaxrnn.train.log import MetricsLog as MetricsLog
from jaxrnn.train.log import read_log as read_log
from jaxrnn.train.loop import Diverged as Diverged
from jaxrnn.train.loop import run as run
from jaxrnn.train.state import Metrics as Metrics
from jaxrnn.train.state import TrainState as TrainState
from jaxrnn.train.trainer import Trainer as Trainer
from jaxrnn.train.truncated import unroll_segment as unroll_segment
