"""What vectors of words tell: nearest words, analogies, likeness, a map. Vectors come with a length of 1."""

from typing import Any

import numpy as np
from sklearn.manifold import TSNE

from experiments import output
from experiments.embeddings_words import ASKED, GROUPS, RELATED, pairs, questions
from jaxrnn.data import Vocabulary
from jaxrnn.data.vocabulary import SPECIALS


def unit(vectors) -> np.ndarray:
    """Vectors of length 1, those of zeros as they are."""
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest(vectors: np.ndarray, target: np.ndarray, without: list[int], most: int) -> np.ndarray:
    """The numbers of the words whose unit vectors are nearest by cosine, none of the first four of a vocabulary."""
    scores = vectors @ target
    scores[[*range(len(SPECIALS)), *without]] = -np.inf
    return np.argsort(-scores, kind="stable")[: min(most, int(np.isfinite(scores).sum()))]


def nearest_words(vectors: np.ndarray, vocabulary: Vocabulary, most: int = 8) -> dict[str, list[str]]:
    """The nearest of each word that is asked for and known."""
    found = {}
    for word in filter(vocabulary.__contains__, ASKED):
        number = int(vocabulary.encode([word])[0])
        found[word] = vocabulary.decode(nearest(vectors, vectors[number], [number], most))
    return found


def analogies(vectors: np.ndarray, vocabulary: Vocabulary) -> dict[str, dict[str, int]]:
    """By kind: questions whose words are all known, and how many are answered first, or among five, by c + b - a."""
    found = {}
    for kind, asked in questions().items():
        known = [vocabulary.encode(question) for question in asked if all(word in vocabulary for word in question)]
        told = [nearest(vectors, vectors[b] - vectors[a] + vectors[c], [a, b, c], 5) for a, b, c, _ in known]
        right = [answers.tolist().index(d) if d in answers else 5 for answers, (*_, d) in zip(told, known, strict=True)]
        counts = {"first": sum(place == 0 for place in right), "five": sum(place < 5 for place in right)}
        found[kind] = {"asked": len(known)} | counts
    return found


def likeness(vectors: np.ndarray, vocabulary: Vocabulary) -> dict[str, float | None]:
    """The mean cosine of related pairs, and of each first with the second of every other pair."""
    known = [pair for pair in pairs(RELATED) if all(word in vocabulary for word in pair)]
    if len(known) < 2:
        return {"related": None, "others": None}
    firsts, seconds = (vectors[vocabulary.encode(words)] for words in zip(*known, strict=True))
    cosines = firsts @ seconds.T
    return {
        "related": output.plain(np.diag(cosines).mean()),
        "others": output.plain(cosines[~np.eye(len(known), dtype=bool)].mean()),
    }


def chart(vectors: np.ndarray, vocabulary: Vocabulary, seed: int) -> dict[str, Any]:
    """Words of the groups, and their places on a plane by t-SNE of their cosines."""
    known = [(word, group) for group, text in GROUPS.items() for word in text.split() if word in vocabulary]
    if len(known) < 4:
        return {"words": [], "groups": [], "places": []}
    words, groups = zip(*known, strict=True)
    how = {"metric": "cosine", "method": "exact", "init": "random", "perplexity": min(12.0, (len(words) - 1) / 3)}
    places = TSNE(random_state=seed, **how).fit_transform(vectors[vocabulary.encode(words)])
    return {"words": words, "groups": groups, "places": output.plain(places)}
