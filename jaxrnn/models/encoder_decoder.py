"""Sequence to sequence: an encoder reads a sentence, a decoder tells another."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import core, lax
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, Integer

from jaxrnn.models.decoder import Decoder
from jaxrnn.models.encoder import Encoder, Lengths, Memory
from jaxrnn.models.encoding import split_key, valid_steps
from jaxrnn.models.step import pure_step
from jaxrnn.numerics import carry_dtype, zero_unless
from jaxrnn.train.losses import cross_entropy

Sources = Integer[Array | np.ndarray, "source_time *batch"]
Targets = Integer[Array | np.ndarray, "target_time *batch"]


class EncoderDecoder(nnx.Module):
    """An encoder and a decoder, trained by teacher forcing: the decoder reads the true tokens, one step late.

        inputs = [begin, target_1, ..., target_{T-1}]        logits_t tells target_t

    Shapes: sources (source_time, *batch), targets (target_time, *batch), lengths (*batch), right-padded; targets end
    with the token of the end. What tokens hold in padding reaches nothing. A length of 0 is a row that does not count.

    Args:
        encoder: Reads the sources.
        decoder: Tells the targets.
        begin: The token that every target sentence starts after.

    Raises:
        ValueError: encoder and decoder do not fit, or `begin` is no token of the decoder's; in a call, as told there.

    Source: Sutskever, Vinyals & Le (2014, https://arxiv.org/abs/1409.3215), Cho et al. (2014,
    https://arxiv.org/abs/1406.1078); with attention Bahdanau, Cho & Bengio (2015, https://arxiv.org/abs/1409.0473).

    Example:
        >>> from jaxrnn import nn, GRU, LSTM
        >>> from jaxrnn.models import Bahdanau, BahdanauCell
        >>> rngs = nnx.Rngs(0)
        >>> encoder = Encoder(nnx.Embed(9, 3, rngs=rngs), nn.Bidirectional(GRU(4), in_features=3, rngs=rngs))
        >>> cell = BahdanauCell(LSTM(5), Bahdanau(6), memory_size=encoder.out_features)
        >>> rnn = nn.RNN(cell, in_features=4, rngs=rngs)
        >>> decoder = Decoder(nnx.Embed(11, 4, rngs=rngs), rnn, encoder.final_features, rngs=rngs)
        >>> model = EncoderDecoder(encoder, decoder, begin=2)
        >>> sources, targets = jnp.ones((6, 2), jnp.int32), jnp.ones((7, 2), jnp.int32)
        >>> model(sources, jnp.array([6, 4]), targets, jnp.array([7, 5])).shape
        (7, 2, 11)
        >>> step, carry = model.decoding(sources[:, 0], jnp.array(6))  # one sentence, for jaxrnn.decoding
        >>> step(carry, jnp.array(2))[1].shape
        (11,)
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, *, begin: int):  # noqa: D107
        cell = decoder.attention_cell
        if cell is not None and cell.memory_size != encoder.out_features:
            raise ValueError(
                f"EncoderDecoder: the decoder's cell must have the memory_size {encoder.out_features} of the encoder's "
                f"states, got {cell.memory_size}. Build it with memory_size=encoder.out_features."
            )
        if decoder.final_features != encoder.final_features:
            raise ValueError(
                f"EncoderDecoder: `decoder` must start from the {encoder.final_features} final features of the "
                f"encoder, got {decoder.final_features}. Build it with final_features=encoder.final_features."
            )
        if not isinstance(begin, numbers.Integral) or not 0 <= int(begin) < decoder.embed.num_embeddings:
            raise ValueError(
                f"EncoderDecoder: `begin` must be one of the {decoder.embed.num_embeddings} tokens of the decoder's "
                f"embedding, got {begin!r}. Give the number of the token that begins sentences."
            )
        self.encoder = encoder
        self.decoder = decoder
        self.begin = begin

    def __call__(
        self, sources: Sources, source_lengths: Lengths, targets: Targets, target_lengths: Lengths, key=None
    ) -> Float[Array, "target_time *batch vocabulary"]:
        """Logits of the targets; `key` draws the noise of training, None evaluates."""
        encoder_key, decoder_key = split_key("EncoderDecoder", key, 2)
        memory = self.encoder(sources, source_lengths, encoder_key)
        return self.decoder(memory, self._inputs(targets), target_lengths, decoder_key)

    def loss(
        self, sources: Sources, source_lengths: Lengths, targets: Targets, target_lengths: Lengths, key=None
    ) -> Float[Array, ""]:
        """The mean cross-entropy in nats a target token, by teacher forcing."""
        logits = self(sources, source_lengths, targets, target_lengths, key)
        return cross_entropy(logits, targets, valid_steps(len(targets), target_lengths))

    def sampled_logits(
        self, sources: Sources, source_lengths: Lengths, targets: Targets, target_lengths: Lengths, key, rate
    ) -> Float[Array, "target_time *batch vocabulary"]:
        """Logits by scheduled sampling (Bengio et al., 2015, https://arxiv.org/abs/1506.03099).

        At every step and sequence the token read is, with probability `rate`, one drawn from what the model told at the
        step before, in place of the true one. A rate of 0 is `self(..., key=key)` exactly, 1 runs free. As in the paper
        no gradient goes through what was drawn; so it is drawn in a first run, and a second reads it as `__call__`
        reads true tokens. The first run knows no dropout.

        Args:
            sources: As in `__call__`, and so are the three after it.
            source_lengths: See there.
            targets: See there.
            target_lengths: See there.
            key: Draws the noise of training, the coins and the tokens.
            rate: In [0, 1]; may be traced, such as a schedule gives it (see `inverse_sigmoid`).

        Raises:
            ValueError: `rate` is outside [0, 1]; not looked for where it is traced.
            TypeError: there is no key.
        """
        if jnp.shape(rate) or (not isinstance(rate, core.Tracer) and not 0 <= float(rate) <= 1):
            raise ValueError(
                f"EncoderDecoder.sampled_logits: `rate` must be one number in [0, 1], the part of own tokens, "
                f"got {rate}. Give 0 for true tokens alone."
            )
        if key is None:
            raise TypeError(
                "EncoderDecoder.sampled_logits: `key` must be a key, from which tokens are drawn, got None. "
                "Give jax.random.key(seed)."
            )
        encoder_key, decoder_key, token_key = split_key("EncoderDecoder", key, 3)
        memory = self.encoder(sources, source_lengths, encoder_key)
        return self.decoder(memory, self._read_tokens(memory, targets, token_key, rate), target_lengths, decoder_key)

    def _read_tokens(self, memory: Memory, targets, key, rate) -> Int[Array, "target_time *batch"]:
        """The decoder's inputs by scheduled sampling."""
        true = self._inputs(targets)
        if len(true) < 2:
            return true
        step, carry = jax.tree.map(lax.stop_gradient, self._stepping(memory))

        def advance(state, inputs):
            token, own_turn, key = inputs
            carry, logits = step(*state)
            # 16 bits hold so few values that their noise would tie, and favour low tokens.
            own = jax.random.categorical(key, logits.astype(carry_dtype(logits.dtype))).astype(token.dtype)
            read = jnp.where(own_turn, own, token)
            return (carry, read), read

        coin_key, draw_key = jax.random.split(key)
        coins = jax.random.bernoulli(coin_key, jnp.asarray(rate).astype(jnp.float32), true[1:].shape)
        streams = true[1:], coins, jax.random.split(draw_key, len(true) - 1)
        _, read = lax.scan(advance, (carry, true[0]), streams)
        return jnp.concatenate([true[:1], read])

    def decoding(self, source: Sources, length: Lengths) -> tuple[Partial, Any]:
        """(step, carry) of a sentence, as `jaxrnn.decoding` takes them: `step(carry, token) -> (carry, logits)`.

        The step holds weights and memory as arrays, so that other weights or sentences compile nothing anew, and beams
        share them. Of many sentences map the whole, not this alone, which would copy the weights:
        `jax.vmap(lambda source, length: generate(*model.decoding(source, length), ...), (1, 0))(sources, lengths)`.
        """
        return self._stepping(self.encoder(source, length))

    def attention_weights(
        self, sources: Sources, source_lengths: Lengths, targets: Targets, target_lengths: Lengths
    ) -> Float[Array, "target_time source_time *batch"]:
        """What the decoder looked at on the way to each target token, by teacher forcing; zero in padding.

        Raises:
            ValueError: the decoder has no attention.
        """
        if self.decoder.attention_cell is None:
            raise ValueError(
                f"EncoderDecoder.attention_weights: the decoder must have attention, got {self.decoder.rnn.cell}. "
                "Build it with a BahdanauCell or LuongCell."
            )
        memory = self.encoder(sources, source_lengths)
        step, carry = self._stepping(memory)
        attended = self.decoder.attended(memory)

        def advance(carry, token):
            return step(carry, token)[0], self.decoder.attention(attended, carry, token)

        _, weights = lax.scan(advance, carry, self._inputs(targets))
        valid = valid_steps(len(targets), target_lengths)
        return zero_unless(valid[:, None], weights)

    def _inputs(self, targets) -> Int[Array, "target_time *batch"]:
        targets = jnp.asarray(targets)
        return jnp.concatenate([jnp.full_like(targets[:1], self.begin), targets[:-1]])

    def _stepping(self, memory: Memory) -> tuple[Partial, Any]:
        step = pure_step(self.decoder)
        return Partial(step.func, *step.args, self.decoder.attended(memory)), self.decoder.start(memory)
