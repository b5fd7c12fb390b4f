"""Made data in the formats of the real ones, for a look that all works where the real ones are not at hand.

They can be learned a little, so that a smoke run shows a falling loss; they stand for nothing else.
"""

import numpy as np

SPEAKERS = ("FIRST", "SECOND", "BOTH")
WORDS = "to be or not that is the question whether it is nobler in mind suffer".split()


def play(seed: int) -> str:
    """Lines of words under the names of speakers, as in tiny Shakespeare."""
    generator = np.random.default_rng(seed)
    speeches = (f"{generator.choice(SPEAKERS)}:\n{' '.join(generator.choice(WORDS, 8))}.\n\n" for _ in range(800))
    return "".join(speeches)


def articles(seed: int) -> list[str]:
    """Words and marks with the ends of lines, as WikiText-2 is read."""
    generator = np.random.default_rng(seed)
    lines = ([*generator.choice(WORDS, 9).tolist(), ".", "<eos>"] for _ in range(600))
    return [word for line in lines for word in line]


def sentence_pairs(seed: int) -> list[list[tuple[str, str]]]:
    """Sentences and the same with other words in another order, in three splits, as translations are read."""
    generator = np.random.default_rng(seed)
    splits = []
    for count in (160, 40, 20):
        drawn = [generator.choice(WORDS, generator.integers(3, 9)).tolist() for _ in range(count)]
        splits.append([(" ".join(word[::-1] for word in reversed(words)), " ".join(words) + ".") for words in drawn])
    return splits
