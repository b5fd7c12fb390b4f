"""Text in words: a tokeniser, and data sets of words."""

import re
import unicodedata
import zipfile
from os import PathLike
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from jaxrnn.data.files import check_known, locate
from jaxrnn.data.text import lines_of, text_of

_WORD = r"[^\W_]"  # a letter or digit of any script
_TOKEN = re.compile(rf"\d+(?:[.,]\d+)+|{_WORD}+(?:['-]{_WORD}+)*|\S")
_WIKITEXT = {"train": "train", "validation": "valid", "test": "test"}
# The remainders of a line's number divided by 10.
_POLARITY = {"train": range(2, 10), "validation": range(1, 2), "test": range(0, 1)}


def tokenize(text: str) -> list[str]:
    """The words, numbers and marks of a text, in lower case.

    * A word is letters and digits, with single apostrophes and hyphens inside it: don't, l'heure,
      well-known, 3rd. The apostrophes ’ and ʼ are read as '.
    * A number keeps the dots and commas between its digits: 3.14, 1,000.
    * Every other character that is no space stands alone: "..." is three tokens.

    Composed and decomposed accents are the same (Unicode NFC); a combining mark that has no composed form, as in
    Devanagari, stands alone. No character but spaces is lost.

    Example:
        >>> tokenize("Don’t pay 1,000.50 — it's a well-known 'trick'!")
        ["don't", 'pay', '1,000.50', '—', "it's", 'a', 'well-known', "'", 'trick', "'", '!']
    """
    plain = unicodedata.normalize("NFC", text.lower()).replace("’", "'").replace("ʼ", "'")
    return _TOKEN.findall(plain)


def wikitext2(split: str, directory: str | PathLike[str] | None = None) -> list[str]:
    """WikiText-2: articles of Wikipedia as one stream of words, `<eos>` after each line, an empty one too.

    The data set is tokenised and holds `<unk>` for rare words: 33,278 distinct tokens, `<unk>` and `<eos>` among them.
    `Vocabulary.of([wikitext2("train")])` holds them all, and two more, `<pad>` and `<bos>`.

    Source: Merity et al. (2016, https://arxiv.org/abs/1609.07843), as in github.com/pytorch/examples,
    word_language_model/data/wikitext-2, with their split. Licence: CC BY-SA, as the text of Wikipedia.

    Args:
        split: "train", "validation" or "test": 2,088,628, 217,646 and 245,569 tokens.
        directory: As for `locate`.

    Raises:
        ValueError: there is no such split; else as for `locate`.

    Example:
        >>> wikitext2("test")[:6]  # doctest: +SKIP
        ['<eos>', '=', 'Robert', '<unk>', '=', '<eos>']
    """
    check_known("wikitext2", "split", split, _WIKITEXT)
    text = text_of("wikitext2", locate(f"wikitext-2/{_WIKITEXT[split]}.txt", directory))
    return text.replace("\n", " <eos> ").split()


class LabelledSentences(NamedTuple):
    """Sentences in their tokens, and a class for each."""

    tokens: list[list[str]]
    labels: Int32[np.ndarray, " count"]


def sentence_polarity(split: str, directory: str | PathLike[str] | None = None) -> LabelledSentences:
    """Sentences of film reviews that praise, 1, or blame, 0: as many of each, all those of label 0 first.

    They come tokenised, in lower case. No split comes with them: here line n, counted from 0, of either of the two
    files is in the test split for n mod 10 = 0, in validation for 1, else in train.

    Source: Pang & Lee (2005, https://arxiv.org/abs/cs/0506075), sentence polarity v1.0, as in
    github.com/nltk/nltk_data. Licence: CC BY 4.0.

    Args:
        split: "train", "validation" or "test": 8,528, 1,066 and 1,068 sentences.
        directory: As for `locate`.

    Raises:
        ValueError: there is no such split; else as for `locate`.

    Example:
        >>> tokens, labels = sentence_polarity("test")  # doctest: +SKIP
    """
    check_known("sentence_polarity", "split", split, _POLARITY)
    with zipfile.ZipFile(locate("sentence-polarity/sentence_polarity.zip", directory)) as folder:
        files = [lines_of(folder.read(f"sentence_polarity/rt-polarity.{kind}")) for kind in ("neg", "pos")]
    chosen = [[line.split() for number, line in enumerate(lines) if number % 10 in _POLARITY[split]] for lines in files]
    labels = np.repeat(np.arange(2, dtype=np.int32), [len(sentences) for sentences in chosen])
    return LabelledSentences(chosen[0] + chosen[1], labels)
