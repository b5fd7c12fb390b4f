"""Pairs of sentences as a translator reads them: cut into words, then in numbers and batches."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxrnn.data import ParallelText, Vocabulary, tokenize

Pairs = list[tuple[list[str], list[str]]]


class Corpus(NamedTuple):
    """Pairs of sentences in numbers, by split, and the words of the test split."""

    vocabularies: tuple[Vocabulary, Vocabulary]
    train: ParallelText
    validation: ParallelText
    test: Pairs


def corpus_of(
    splits: Sequence[Sequence[tuple[str, str]]], key, *, limit: int | None, longest: int, batch: int, buckets: int
) -> Corpus:
    """Sentences of training, validation and test in words, and those of the first two in numbers.

    Sources of the later splits are not trained on. Of each split `limit` pairs are used; for training and validation
    those with at most `longest` words on both sides.
    """
    words: list[Pairs] = [[(tokenize(a), tokenize(b)) for a, b in split[:limit]] for split in splits]
    held_out = {tuple(source) for split in words[1:] for source, _ in split}
    words[0] = [pair for pair in words[0] if tuple(pair[0]) not in held_out]
    first, second = (Vocabulary.of([pair[side] for pair in words[0]], least=2) for side in (0, 1))

    def numbers(pairs: Pairs, order) -> ParallelText:
        fitting = [pair for pair in pairs if max(map(len, pair)) <= longest]
        if not fitting:
            raise ValueError(f"--longest: no pair has so few words, {longest}. Give a larger number.")
        sources = [first.encode(a) for a, _ in fitting]
        targets = [second.encode([*b, "<eos>"]) for _, b in fitting]
        return ParallelText(sources, targets, batch, order, buckets)

    return Corpus((first, second), numbers(words[0], key), numbers(words[1], None), words[2])
