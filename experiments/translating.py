"""Free translation of many sentences, greedily or by a beam, its BLEU, and what attention looks at."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from sacrebleu.metrics.bleu import BLEU

from experiments import output
from experiments.translation_corpus import Corpus
from jaxrnn.data.vocabulary import BOS, EOS
from jaxrnn.decoding import beam_search, generate
from jaxrnn.models import EncoderDecoder

TOGETHER = 50  # sentences that are translated side by side


def translate(model: EncoderDecoder, corpus: Corpus, width: int, longest: int, penalty: float) -> list[list[str]]:
    """The words of each test sentence in the other language, at most half as many again as `longest`, what is read.

    A width of 1 is greedy.
    """
    vocabulary, target = corpus.vocabularies
    numbers = [vocabulary.encode(source[:longest]) for source, _ in corpus.test]
    time = max(map(len, numbers))
    how = {"width": width, "length": longest + longest // 2, "penalty": penalty}
    found: list[list[str]] = []
    for begin in range(0, len(numbers), TOGETHER):
        part = numbers[begin : begin + TOGETHER]
        sources = np.zeros((time, TOGETHER), np.int32)
        for column, tokens in enumerate(part):
            sources[: len(tokens), column] = tokens
        # Columns that fill up are sentences of one unknown word.
        lengths = np.array([len(tokens) for tokens in part] + [1] * (TOGETHER - len(part)), np.int32)
        tokens, ends = _translated(*nnx.split(model), sources, lengths, **how)
        told = [np.asarray(row)[:end] for row, end in zip(tokens, ends, strict=True)]
        found += [target.decode(row) for row in told[: len(part)]]
    return found


@functools.partial(jax.jit, static_argnames=("graph", "width", "length", "penalty"))
def _translated(graph, state, sources, lengths, *, width: int, length: int, penalty: float):
    model = nnx.merge(graph, state)

    def one(source, count):
        step, carry = model.decoding(source, count)
        if width == 1:
            told = generate(step, carry, jnp.int32(BOS), length, end=EOS)
            return told.tokens, told.length
        beams = beam_search(step, carry, jnp.int32(BOS), length, width=width, end=EOS, length_penalty=penalty)
        return beams.tokens[0], beams.lengths[0]

    return jax.vmap(one, (1, 0))(sources, lengths)


def bleu(told: list[list[str]], references: list[list[str]]) -> float:
    """BLEU in percent, of sentences in words, one reference each.

    Source: Papineni et al. (2002), as sacrebleu computes it (Post, 2018), on the words as they are.
    """
    metric = BLEU(tokenize="none", force=True)
    return metric.corpus_score([" ".join(words) for words in told], [[" ".join(words) for words in references]]).score


def heat(model: EncoderDecoder, corpus: Corpus, told: list[list[str]], longest: int) -> dict[str, Any]:
    """What the decoder looked at while it told a test sentence of middling length."""
    lengths = [len(source) if words else longest + 1 for (source, _), words in zip(corpus.test, told, strict=True)]
    place = int(np.argmin(np.abs(np.array(lengths) - 12)))
    source, words = corpus.test[place][0][:longest], told[place]
    tokens = [
        vocabulary.encode(sentence)
        for vocabulary, sentence in zip(corpus.vocabularies, (source, [*words, "<eos>"]), strict=True)
    ]
    weights = model.attention_weights(tokens[0], np.array(len(tokens[0])), tokens[1], np.array(len(tokens[1])))
    return {"source": source, "told": [*words, "<eos>"], "weights": output.plain(np.asarray(weights))}
