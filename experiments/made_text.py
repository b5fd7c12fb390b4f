"""Made sentences in the formats of the real ones: with a class each, and with the named entities in them tagged."""

import numpy as np

from jaxrnn.data import LabelledSentences, TaggedSentences

PLAIN = "the film story of a and its plot with this actor that music scene to be in an idea".split()
PRAISE, BLAME = "great moving clever warm funny".split(), "dull weak boring flat empty".split()
DISEASES = {"Disease": ["ataxia", "Wilson disease", "colon cancer", "G6PD deficiency", "Tay-Sachs disease"]}
NAMES = {
    "PER": ["Ada Lovelace", "Noether"],
    "LOC": ["Paris", "New York"],
    "ORG": ["Bell Labs"],
    "MISC": ["Latin", "Old Norse"],
}


def opinions(seed: int, count: int) -> LabelledSentences:
    """Sentences whose class says of which kind most of their telling words are, those of label 0 first."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(2, dtype=np.int32), [count // 2, count - count // 2])
    sentences = []
    for label in labels:
        own, other = (PRAISE, BLAME) if label else (BLAME, PRAISE)
        words = [*generator.choice(PLAIN, generator.integers(4, 12)), *generator.choice(own, 2)]
        words += [*generator.choice(other, 1)] if generator.random() < 0.3 else []
        sentences.append([str(word) for word in generator.permutation(words)])
    return LabelledSentences(sentences, labels)


def tagged(seed: int, count: int, names: dict[str, list[str]]) -> TaggedSentences:
    """Sentences with one or two entities of types and with names as given, in tags B-TYPE, I-TYPE and O."""
    generator = np.random.default_rng(seed)
    made = TaggedSentences([], [])
    for _ in range(count):
        tokens, tags = [], []
        for _ in range(generator.integers(1, 3)):
            plain = [str(word) for word in generator.choice(PLAIN, generator.integers(1, 7))]
            kind = str(generator.choice(list(names)))
            name = str(generator.choice(names[kind])).split()
            tokens += [*plain, *name]
            tags += ["O"] * len(plain) + [f"{'I' if place else 'B'}-{kind}" for place in range(len(name))]
        made.tokens.append([*tokens, "."])
        made.tags.append([*tags, "O"])
    return made
