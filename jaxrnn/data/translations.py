"""Sentences and their translations."""

import gzip
import zipfile
import zlib
from os import PathLike

from jaxrnn.cell import is_size
from jaxrnn.data.files import check_known, locate
from jaxrnn.data.text import lines_of

_LANGUAGES = ("de", "en", "fr")
_MULTI30K = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
# The remainders of the English sentence's CRC-32 divided by 100.
_TATOEBA = {"train": range(4, 100), "validation": range(2, 4), "test": range(0, 2)}


def multi30k(
    split: str, source: str = "de", target: str = "en", directory: str | PathLike[str] | None = None
) -> list[tuple[str, str]]:
    """Multi30k: what is seen in photographs, in German, English and French, as pairs of sentences.

    Source: Elliott et al. (2016, https://arxiv.org/abs/1605.00459), the French by Elliott et al. (2017,
    https://arxiv.org/abs/1710.07177), task 1 with its split and the test set of 2016, as in
    github.com/multi30k/dataset. Licence: none stated for the sentences; the photographs, which are not here, are for
    non-commercial research and education. Where a clear licence is needed, take `tatoeba`.

    Args:
        split: "train", "validation" or "test": 29,000, 1,014 and 1,000 pairs.
        source: The language of the first of a pair: "de", "en" or "fr".
        target: That of the second.
        directory: As for `locate`.

    Raises:
        ValueError: there is no such split or language, or both are the same; else as for `locate`.

    Example:
        >>> multi30k("test")[0]  # doctest: +SKIP
        ('Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.', 'A man in an orange hat starring at something.')
    """
    check_known("multi30k", "split", split, _MULTI30K)
    check_known("multi30k", "source", source, _LANGUAGES)
    check_known("multi30k", "target", target, _LANGUAGES)
    if source == target:
        raise ValueError(f"multi30k: `source` and `target` must differ, got {source!r} twice. Choose another target.")
    paths = [locate(f"multi30k/{_MULTI30K[split]}.{language}.gz", directory) for language in (source, target)]
    return list(zip(*(lines_of(gzip.decompress(path.read_bytes())) for path in paths), strict=True))


def tatoeba(
    split: str, directory: str | PathLike[str] | None = None, most_words: int | None = None
) -> list[tuple[str, str]]:
    """Pairs of an English sentence and a French one from Tatoeba, short ones first.

    The same English sentence often comes with several French ones. No split comes with them: here it is drawn by the
    English one, so that it is in one split alone. With c the CRC-32 of its UTF-8, c mod 100 of 0 and 1 is the test
    split, 2 and 3 validation, else train. A French sentence can stand in several: of the test split 253 pairs and of
    validation 257 have one that is in train too. Who reads French leaves such pairs out of train.

    Source: https://www.manythings.org/anki and https://tatoeba.org, as of 29 September 2017, as in
    github.com/genimind/seq2seq. Licence: CC BY 2.0.

    Args:
        split: "train", "validation" or "test": 137,086, 2,901 and 2,800 pairs.
        directory: As for `locate`.
        most_words: Only pairs with at most so many words, the parts between spaces, on either side. Default: all.

    Raises:
        ValueError: there is no such split, `most_words` is no whole number of at least 1, or leaves no pair; else as
            for `locate`.

    Example:
        >>> tatoeba("train", most_words=10)[0]  # doctest: +SKIP
        ('Go.', 'Va !')
    """
    check_known("tatoeba", "split", split, _TATOEBA)
    if not (most_words is None or is_size(most_words)):
        raise ValueError(
            f"tatoeba: `most_words` must be a whole number of at least 1, or None for all, got {most_words!r}. Take 10."
        )
    with zipfile.ZipFile(locate("tatoeba-fra-eng/fra-eng.zip", directory)) as folder:
        pairs = [line.split("\t") for line in lines_of(folder.read("fra.txt"))]
    chosen = [
        (english, french)
        for english, french in pairs
        if zlib.crc32(english.encode("utf-8")) % 100 in _TATOEBA[split]
        and (most_words is None or max(len(english.split()), len(french.split())) <= most_words)
    ]
    if not chosen:
        raise ValueError(f"tatoeba: `most_words` must leave a pair of the split, got {most_words!r}. Take more words.")
    return chosen
