"""Words and characters as a tagger reads them: sentences in numbers, batches, and the features of each word."""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrnn import LSTM
from jaxrnn.data import PAD, Buckets, TaggedSentences, Vocabulary, lengths
from jaxrnn.models import LastState
from jaxrnn.nn import Bidirectional

ROUND = 512  # distinct words of a batch are filled up to a multiple of it, so that few shapes are compiled


class Inputs(NamedTuple):
    """What is read of a batch: `places` says for each step which of the distinct words it is."""

    words: np.ndarray  # (time, batch), in lower case, digits as 0
    places: np.ndarray  # (time, batch)
    characters: np.ndarray  # (letters, distinct words), as they are written


class Tagged(NamedTuple):
    """A batch, with the targets that its source was given: tags (time, batch), or one number a sentence (batch,)."""

    inputs: Inputs
    targets: np.ndarray
    lengths: np.ndarray  # (batch,)


class Coder:
    """From sentences to numbers and back. Words, characters and their numbers are those of the training split."""

    def __init__(self, data: dict[str, TaggedSentences], letters: int):
        """Of words longer than `letters` the first and the last ones are kept."""
        train = data["train"].tokens
        self.words = Vocabulary.of([[*map(plain, sentence)] for sentence in train], least=2)
        self.characters = Vocabulary.of([[*word] for sentence in train for word in sentence])
        tags = {tag for split in data.values() for sentence in split.tags for tag in sentence}
        self.names = ["O", *sorted(tags - {"O"})]
        tokens = itertools.chain.from_iterable(sentence for split in data.values() for sentence in split.tokens)
        self._forms = {form: number for number, form in enumerate(dict.fromkeys(tokens), start=1)}
        self._spelled = np.full((letters, len(self._forms) + 1), PAD, np.int32)  # form 0 is padding
        for form, number in self._forms.items():
            kept = form if len(form) <= letters else form[: (letters + 1) // 2] + form[len(form) - letters // 2 :]
            self._spelled[: len(kept), number] = self.characters.encode([*kept])

    def tags(self, tags: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """The number of each tag."""
        numbers = {name: number for number, name in enumerate(self.names)}
        return [np.array([numbers[tag] for tag in sentence], np.int32) for sentence in tags]

    def batches(self, tokens: Sequence[Sequence[str]], targets, batch: int, key=None, buckets: int = 1) -> "Batches":
        """Batches of sentences, as of `Buckets`; all words have to be those of the data."""
        numbers = [
            np.stack([self.words.encode([*map(plain, words)]), [self._forms[word] for word in words]], axis=1)
            for words in tokens
        ]
        source = Buckets([each.astype(np.int32) for each in numbers], targets, batch, key, buckets)
        return Batches(source, self._spelled)


class Batches:
    """`Tagged` batches of a source, the characters of each distinct word once."""

    def __init__(self, source: Buckets, spelled: np.ndarray):
        """`spelled` (letters, forms) holds the characters of every form."""
        self._source, self._spelled = source, spelled

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._source)

    def at(self, position: int) -> Tagged:
        """The batch at a position."""
        batch = self._source.at(position)
        words, forms = np.moveaxis(np.asarray(batch.inputs), -1, 0)
        distinct, places = np.unique(forms, return_inverse=True)
        distinct = np.pad(distinct, (0, -len(distinct) % ROUND))
        places = places.reshape(forms.shape).astype(np.int32)
        inputs = Inputs(words, places, self._spelled[:, distinct])
        return Tagged(inputs, np.asarray(batch.targets), np.asarray(lengths(batch.mask)))


class WordFeatures(nnx.Module):
    """A word's embedding beside both ends of a bidirectional LSTM over its characters.

    Source: Lample et al. (2016, https://arxiv.org/abs/1603.01360).
    """

    def __init__(self, coder: Coder, embedding_size: int, character_size: int, rngs: nnx.Rngs):
        """Draws the parameters; characters have as many features as the LSTM has units in each direction."""
        self.words = nnx.Embed(coder.words.size, embedding_size, rngs=rngs)
        self.characters = nnx.Embed(coder.characters.size, character_size, rngs=rngs)
        self.rnn = Bidirectional(LSTM(character_size), character_size, rngs=rngs)
        self.pooling = LastState(self.rnn.cell)
        self.features = embedding_size + self.rnn.out_features

    def __call__(self, inputs: Inputs):
        """Features (time, batch, features)."""
        lengths = jnp.sum(inputs.characters != PAD, axis=0).astype(jnp.int32)
        _, ys = self.rnn(self.characters(jnp.asarray(inputs.characters)), lengths=lengths)
        spelled = self.pooling(ys, lengths)[inputs.places]
        return jnp.concatenate([self.words(jnp.asarray(inputs.words)), spelled], axis=-1)


def plain(word: str) -> str:
    """A word in lower case, with 0 for every digit."""
    return re.sub(r"\d", "0", word.lower())


def cut(sentences: TaggedSentences, longest: int) -> TaggedSentences:
    """Sentences of at most so many tokens, the rest of longer ones left out."""
    return TaggedSentences(*([row[:longest] for row in rows] for rows in sentences))
