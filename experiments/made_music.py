"""Made pieces in the format of the recorded ones: three chords in turn, which stand for nothing."""

import numpy as np

from jaxrnn.data import piano_roll

CHORDS = ([60, 64, 67], [57, 60, 65], [55, 59, 62, 74])
PIECES = {"train": 40, "validation": 12, "test": 12}


def rolls(split: str, seed: int) -> list[np.ndarray]:
    """Pieces of 30 to 60 frames, a chord held for two to four."""
    generator = np.random.default_rng((seed, list(PIECES).index(split)))

    def piece() -> np.ndarray:
        length = int(generator.integers(30, 60))
        turns = np.repeat(np.arange(length), generator.integers(2, 5, length))[:length]
        return piano_roll([CHORDS[turn % len(CHORDS)] for turn in turns])

    return [piece() for _ in range(PIECES[split])]
