"""Made words in the format of WikiText-2, for a look that all works where it is not at hand."""

import numpy as np

from experiments.embeddings_words import GROUPS

COMMON = "the of and a in <unk>".split()


def articles(seed: int, lines: int = 3000) -> list[str]:
    """Lines of words, all of one group of the map, between common ones."""
    generator = np.random.default_rng(seed)
    groups = [text.split() for text in GROUPS.values()]
    found = []
    for group in generator.integers(0, len(groups), lines):
        words = generator.choice(groups[group], 6)
        between = generator.choice(COMMON, 6)
        found += [word for pair in zip(between, words, strict=True) for word in pair] + ["<eos>"]
    return list(map(str, found))
