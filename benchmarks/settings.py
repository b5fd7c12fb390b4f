"""The settings of the main job, one field a flag, and the checks that need nothing but them."""

import math
from dataclasses import dataclass
from pathlib import Path

from benchmarks import configurations
from benchmarks.command import check_at_least, check_seed
from benchmarks.environment import Device
from benchmarks.inputs import Kind
from benchmarks.measure import Dtype, LossKind
from benchmarks.source import Source


@dataclass(frozen=True)
class Settings:
    """How far back do gradients reach? Compares the norms ||dL/ds_t|| of recurrent cells over sequence length.

    Writes a figure (PNG, SVG), a table, data (CSV) and every setting (JSON) into one folder, shortest length first
    and again after each, so that it can be interrupted at any time.
    """

    data: Kind = "adding"
    """Sequences: a synthetic task; bytes of a text, pixels of MNIST, Bach's chorales (jsb); or images of your own in
    idx or idx.gz, which have no labels to train on."""
    path: Path | None = None
    """A file of your own, for text (default: Tiny Shakespeare) and idx."""
    directory: Path | None = None
    """Where the data sets lie. Default: JAXRNN_DATA, else a folder in the user's cache; downloaded if missing."""
    cells: tuple[str, ...] = configurations.DEFAULT
    """What to compare: any cell that the library exports, or IRNN, LSTM-forget-0, LSTM-forget-1, LSTM-chrono."""
    inits: tuple[str, ...] = (configurations.OWN,)
    """Initialisers, each for every cell that has a place for it: own, orthogonal:RADIUS, gaussian:SIGMA_W,
    identity:SCALE for recurrent weights; forget:BIAS, chrono:PART-OF-LENGTH for biases."""
    lengths: tuple[int, ...] = ()
    """Sequence lengths in steps. Default: 8 to 1024 by doubling, or up to what the data have."""
    seeds: int = 8
    """How many networks and sets of sequences."""
    batch: int = 16
    """Sequences for each seed, and for each update of training."""
    hidden_size: int = 64
    """Units of every cell."""
    loss: LossKind = "terminal"
    """What is measured: the gradient of a random projection of the last output, or of the sum of it over every step
    (no longer a pure curve over lag)."""
    train_steps: int = 0
    """Updates by which the networks are trained on the task of the data at the longest length, to be measured again."""
    learning_rate: float = 1e-3
    """Of Adam, which trains; gradients are clipped to a global norm of 1."""
    dtype: Dtype = "float32"
    """What the networks are computed in; they are drawn in float32 whatever it is."""
    device: Device | None = None
    """Where to compute. Default: what JAX takes."""
    seed: int = 0
    """The key from which every draw follows."""
    out: Path | None = None
    """Folder for the results. Default: scratch/gradient_norms/DATA."""
    smoke: bool = False
    """A quick look that all works: two short lengths and seeds, small cells, two updates; replaces these settings."""


def check(settings: Settings) -> None:
    """Raises ValueError where a number makes no sense."""
    check_at_least(settings, 1, "seeds", "batch", "hidden_size")
    check_at_least(settings, 0, "train_steps")
    check_seed(settings)
    if not (settings.learning_rate > 0 and math.isfinite(settings.learning_rate)):
        raise ValueError(f"--learning-rate: must be above 0, got {settings.learning_rate}. Give one such as 0.001.")


def check_source(settings: Settings, source: Source) -> None:
    """Raises ValueError where a length does not fit the data, or there is nothing to train on."""
    lengths = settings.lengths
    if source.limit is not None and source.limit[0] < source.shortest:
        raise ValueError(
            f"--path: there must be at least {source.shortest} {source.limit[1]}, got {source.limit[0]}. "
            "Give a larger file."
        )
    if min(lengths) < source.shortest:
        raise ValueError(
            f"--lengths: must be at least {source.shortest} steps, got {min(lengths)}. Leave the short ones out."
        )
    if source.limit is not None and max(lengths) > source.limit[0]:
        raise ValueError(
            f"--lengths: {max(lengths)} steps are more than the {source.limit[0]} {source.limit[1]}. "
            "Give shorter lengths."
        )
    if settings.train_steps and source.objective is None:
        raise ValueError(
            f"--train-steps: --data {settings.data} has no labels to train on, got {settings.train_steps} updates. "
            "Leave them out, or take --data mnist."
        )
