"""Sequence to sequence: the whole model by its equations, teacher forcing, sampling, and steps for decoding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.test_util import check_grads

import jaxrnn
from jaxrnn import GRU, LRU, LSTM, nn
from jaxrnn.decoding import beam_search, generate
from jaxrnn.models import Bahdanau, BahdanauCell, Decoder, Dot, Encoder, EncoderDecoder, LuongCell, Memory
from jaxrnn.models.decoder_cells import AttentionCell
from jaxrnn.train import Trainer
from tests import oracles
from tests.checks import assert_close

SOURCE, TARGET, BATCH, WORDS, VOCABULARY, BEGIN, END = 5, 4, 3, 9, 7, 2, 3
SOURCES = jnp.asarray(np.random.default_rng(0).integers(0, WORDS, (SOURCE, BATCH)), jnp.int32)
TARGETS = jnp.asarray(np.random.default_rng(1).integers(0, VOCABULARY, (TARGET, BATCH)), jnp.int32)
SOURCE_LENGTHS, TARGET_LENGTHS = jnp.array([5, 2, 3]), jnp.array([2, 4, 3])
PAIRS = SOURCES, SOURCE_LENGTHS, TARGETS, TARGET_LENGTHS
VALID = np.arange(TARGET)[:, None] < np.asarray(TARGET_LENGTHS)
KEY = jax.random.key(7)
KINDS = ["bahdanau", "luong", "plain", "stack"]


@functools.cache
def build(kind, dtype=jnp.float64, **noise):
    """A test that changes it takes a clone."""
    rngs = nnx.Rngs(0)
    options = {"param_dtype": dtype, "rngs": rngs}
    reader = nn.RNN(GRU(4), 3, **options) if kind == "plain" else nn.Bidirectional(GRU(4), 3, **options)
    encoder = Encoder(nnx.Embed(WORDS, 3, **options), reader, dropout=noise.get("dropout", 0.0))
    cell = {
        "bahdanau": BahdanauCell(GRU(5), Bahdanau(6), memory_size=8),
        "luong": LuongCell(LSTM(8), Dot(), memory_size=8, attentional_size=6),
        "plain": LSTM(5),
        "stack": jaxrnn.Stack((GRU(4), LRU(3, features=4))),
    }[kind]
    rnn = nn.RNN(cell, 4, zoneout=noise.get("zoneout", 0.0), **options)
    embed = nnx.Embed(VOCABULARY, 4, **options)
    decoder = Decoder(embed, rnn, encoder.final_features, dropout=noise.get("dropout", 0.0), rngs=rngs)
    return EncoderDecoder(encoder, decoder, begin=BEGIN)


def pure(model, method="__call__"):
    """(function of state and arguments, state)."""
    graph, state = nnx.split(model)
    return jax.jit(lambda state, *given: getattr(nnx.merge(graph, state), method)(*given)), state


def arrays(module):
    return jax.tree.map(np.asarray, module)


def whole_by_hand(model):
    """Logits of the Bahdanau model by loops over sentences and steps."""
    encoder, decoder = model.encoder, model.decoder
    forward, backward = arrays(encoder.rnn.params)
    p = arrays(decoder.rnn.params)
    inner = p.cell._replace(input=np.concatenate([p.cell.input, p.feedback]))
    words, tokens = np.asarray(encoder.embed.embedding[...]), np.asarray(decoder.embed.embedding[...])
    linear, head = decoder.bridge.linear, decoder.head
    logits = np.zeros((TARGET, BATCH, VOCABULARY))
    for b in range(BATCH):
        xs = words[np.asarray(SOURCES)[: SOURCE_LENGTHS[b], b]]
        ahead, back, h, g = [], [], np.zeros(4), np.zeros(4)
        for x, z in zip(xs, xs[::-1], strict=True):
            (h,), _ = oracles.gru(GRU(4), forward, (h,), x)
            (g,), _ = oracles.gru(GRU(4), backward, (g,), z)
            ahead.append(h)
            back.append(g)
        memory = np.concatenate([ahead, back[::-1]], axis=1)
        state = (np.tanh(np.concatenate([h, g]) @ np.asarray(linear.kernel[...]) + np.asarray(linear.bias[...])),)
        token = BEGIN
        for t in range(TARGET_LENGTHS[b]):
            scores = np.tanh(state[0] @ p.attention.query + memory @ p.attention.memory) @ p.attention.score
            context = oracles.softmax(scores) @ memory
            state, h = oracles.gru(GRU(5), inner, state, np.concatenate([tokens[token], context]))
            logits[t, b] = np.concatenate([h, context]) @ np.asarray(head.kernel[...]) + np.asarray(head.bias[...])
            token = TARGETS[t, b]
    return logits


def test_the_whole_model_is_its_equations():
    logits = whole_by_hand(build("bahdanau"))
    assert_close(np.asarray(build("bahdanau")(*PAIRS))[VALID], logits[VALID], 1e-12)
    nats = [-np.log(oracles.softmax(logits[t, b])[TARGETS[t, b]]) for t, b in np.argwhere(VALID)]
    assert_close(build("bahdanau").loss(*PAIRS), np.mean(nats), 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_by_finite_differences(kind):
    loss, state = pure(build(kind), "loss")
    check_grads(lambda state: loss(state, *PAIRS), (state,), order=1, modes=["rev"], eps=1e-5)


@pytest.mark.parametrize("kind", ["bahdanau", "luong", "plain"])
def test_padding_and_empty_rows_reach_nothing(kind):
    """More steps of garbage, tokens that do not exist among them, and rows of length 0: same loss, same gradient."""
    loss, state = pure(build(kind), "loss")
    expected = jax.value_and_grad(loss)(state, *PAIRS)

    def wider(tokens, lengths, garbage):
        padded = np.full((len(tokens) + 2, BATCH + 1), garbage, np.int32)
        for b, length in enumerate(lengths):
            padded[:length, b] = tokens[:length, b]
        return jnp.asarray(padded)

    sources, targets = wider(SOURCES, SOURCE_LENGTHS, 10**6), wider(TARGETS, TARGET_LENGTHS, VOCABULARY)
    lengths = jnp.append(SOURCE_LENGTHS, 0), jnp.append(TARGET_LENGTHS, 0)
    assert_close(jax.value_and_grad(loss)(state, sources, lengths[0], targets, lengths[1]), expected, 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_teacher_forcing_is_stepping_with_true_tokens(kind):
    """Sentence by sentence, without a batch axis, and with the expectation of noise that an evaluation takes."""
    model = build(kind, zoneout=0.0 if kind == "stack" else 0.2)
    forced = model(*PAIRS)

    @functools.partial(jax.vmap, in_axes=(1, 0, 1), out_axes=1)
    def by_steps(source, length, target):
        step, carry = model.decoding(source, length)
        inputs = jnp.concatenate([jnp.array([BEGIN], jnp.int32), target[:-1]])
        return jax.lax.scan(step, carry, inputs)[1]

    stepped = jax.jit(by_steps)(SOURCES, SOURCE_LENGTHS, TARGETS)
    assert_close(np.asarray(forced)[VALID], np.asarray(stepped)[VALID], 1e-12)


def test_decoding_compiles_once_for_all_weights_and_sentences():
    """And beams share the memory: width 1 is greedy, and the best of many is no worse."""
    traces = []

    @jax.jit
    def logits_of(step, carry):
        traces.append(step)
        return step(carry, jnp.int32(BEGIN))[1]

    model = build("luong")
    other = nnx.clone(model)
    other.decoder.head.bias[...] = jnp.arange(VOCABULARY, dtype=jnp.float64)
    first = logits_of(*model.decoding(SOURCES[:, 0], SOURCE_LENGTHS[0]))
    second = logits_of(*other.decoding(SOURCES[:, 1], SOURCE_LENGTHS[1]))
    assert len(traces) == 1 and (first != second).any()

    def translate(width, source, length):
        return beam_search(*model.decoding(source, length), jnp.int32(BEGIN), 6, width=width, end=END)

    def greedy(source, length):
        return generate(*model.decoding(source, length), jnp.int32(BEGIN), 6, end=END)

    narrow, wide = (
        jax.jit(jax.vmap(functools.partial(translate, width), (1, 0)))(SOURCES, SOURCE_LENGTHS) for width in (1, 5)
    )
    expected = jax.jit(jax.vmap(greedy, (1, 0)))(SOURCES, SOURCE_LENGTHS)
    assert_close(narrow.tokens[:, 0], expected.tokens, 0)
    assert (wide.scores[:, 0] >= narrow.scores[:, 0] - 1e-12).all()


def test_a_rate_of_0_is_teacher_forcing():
    """Exactly, dropout and all, and in the gradient."""
    model = build("bahdanau", dropout=0.3)
    sampled, state = pure(model, "sampled_logits")
    forced, _ = pure(model)
    assert_close(sampled(state, *PAIRS, KEY, 0.0), forced(state, *PAIRS, KEY), 0)

    def squares(function, *given):
        return jax.grad(lambda state: jnp.sum(function(state, *PAIRS, KEY, *given) ** 2))(state)

    assert_close(squares(sampled, 0.0), squares(forced), 1e-12)
    assert (sampled(state, *PAIRS, KEY, 1.0) != forced(state, *PAIRS, KEY)).any()


def test_a_rate_of_1_runs_free():
    """With logits so far apart that draws are the largest, the true tokens are not read, and greedy steps agree."""
    model = nnx.clone(build("luong"))
    model.decoder.head.kernel[...] *= 1e6
    full = jnp.full(BATCH, TARGET)
    free = model.sampled_logits(SOURCES, SOURCE_LENGTHS, TARGETS, full, KEY, 1.0)
    assert_close(free, model.sampled_logits(SOURCES, SOURCE_LENGTHS, (TARGETS + 1) % VOCABULARY, full, KEY, 1.0), 0)

    def greedy(source, length):
        return generate(*model.decoding(source, length), jnp.int32(BEGIN), TARGET).tokens

    tokens = jax.vmap(greedy, (1, 0), 1)(SOURCES, SOURCE_LENGTHS)
    assert_close(jnp.argmax(free, axis=-1), tokens, 0)
    assert len(np.unique(tokens)) > 1


def test_own_tokens_come_at_the_rate_and_from_the_models_distribution():
    """One trace for all rates and keys."""
    model, many, traces = build("plain"), 2000, []
    true = jnp.full((3, many), 6, jnp.int32)

    @jax.jit
    def read(key, rate):
        traces.append(rate)
        memory = model.encoder(jnp.tile(SOURCES[:, :1], many), jnp.full(many, SOURCE))
        return model._read_tokens(memory, true, key, rate)

    step, carry = model.decoding(SOURCES[:, 0], jnp.array(SOURCE))
    told = np.asarray(jax.nn.softmax(step(carry, jnp.int32(BEGIN))[1]))
    tokens = np.asarray(read(KEY, jnp.float32(1.0)))
    assert (tokens[0] == BEGIN).all()
    shares = np.bincount(tokens[1], minlength=VOCABULARY) / many
    assert (np.abs(shares - told) < 4 * np.sqrt(told * (1 - told) / many)).all()
    assert (read(KEY, jnp.float32(0.0))[1:] == 6).all()
    own = (1 - told[6]) * 0.3
    changed = (np.asarray(read(jax.random.key(8), jnp.float32(0.3)))[1] != 6).mean()
    assert abs(changed - own) < 4 * np.sqrt(own * (1 - own) / many)
    assert len(traces) == 1


@pytest.mark.parametrize("kind", ["bahdanau", "luong"])
def test_attention_weights_for_a_picture(kind):
    model = build(kind)
    weights = np.asarray(model.attention_weights(*PAIRS))
    assert weights.shape == (TARGET, SOURCE, BATCH)
    read = np.arange(SOURCE)[:, None] < np.asarray(SOURCE_LENGTHS)
    assert_close(weights.sum(axis=1), VALID.astype(float), 1e-12)
    assert not weights[:, ~read].any() and (weights[:, read][VALID[:, np.argwhere(read)[:, 1]]] > 0).all()
    pair = model.attention_weights(SOURCES[:2, 1], jnp.array(2), TARGETS[:, 1], jnp.array(TARGET))
    assert_close(pair, weights[:, :2, 1], 1e-12)


@pytest.mark.parametrize("kind", ["bahdanau", "luong"])
@pytest.mark.parametrize("zoneout", [0.0, 0.4])
def test_attention_weights_are_what_the_steps_look_at(kind, zoneout, monkeypatch):
    """As recorded in steps that run one by one."""
    model, seen = build(kind, zoneout=zoneout), []
    weights = model.attention_weights(SOURCES[:, 0], jnp.array(SOURCE), TARGETS[:, 0], jnp.array(TARGET))
    look = AttentionCell.look

    def recorded(self, params, query):
        found = look(self, params, query)
        seen.append(found)
        return found

    monkeypatch.setattr(AttentionCell, "look", recorded)
    step, carry = model.decoding(SOURCES[:, 0], jnp.array(SOURCE))
    with jax.disable_jit():
        for token in (BEGIN, *TARGETS[:-1, 0].tolist()):
            carry, _ = step(carry, jnp.int32(token))
    assert len(seen) == TARGET
    assert_close(jnp.stack(seen), weights, 1e-12)
    assert np.ptp(np.asarray(weights), axis=0).max() > 1e-4  # they move from step to step


def test_own_tokens_are_drawn_anew_at_every_step_by_a_coin_of_its_own():
    """Of a model that tells all tokens alike whatever it has read: tokens of two steps know nothing of each other."""
    model, many = nnx.clone(build("plain")), 4000
    model.decoder.head.kernel[...] = jnp.zeros_like(model.decoder.head.kernel[...])
    model.decoder.head.bias[...] = jnp.zeros(VOCABULARY)
    memory = model.encoder(jnp.tile(SOURCES[:, :1], many), jnp.full(many, SOURCE))
    true = jnp.full((3, many), 6, jnp.int32)
    _, first, second = np.asarray(model._read_tokens(memory, true, KEY, 0.5))
    told = 0.5 / VOCABULARY + 0.5 * np.eye(VOCABULARY)[6]
    expected = many * np.outer(told, told)
    table = np.histogram2d(first, second, bins=np.arange(VOCABULARY + 1))[0]
    assert (np.abs(table - expected) < 5 * np.sqrt(expected)).all()


def test_own_tokens_of_16_bits_favour_none():
    """Noise of 16 bits would tie and favour low tokens: their mean would be off by some fifteen deviations."""
    rngs, words, many = nnx.Rngs(0), 2000, 1000
    options = {"param_dtype": jnp.bfloat16, "dtype": jnp.bfloat16, "rngs": rngs}
    encoder = Encoder(nnx.Embed(WORDS, 3, **options), nn.RNN(GRU(4), 3, **options))
    rnn = nn.RNN(GRU(4), 3, **options)
    model = EncoderDecoder(encoder, Decoder(nnx.Embed(words, 3, **options), rnn, 4, rngs=rngs), begin=BEGIN)
    model.decoder.head.kernel[...] = jnp.zeros_like(model.decoder.head.kernel[...])
    memory = model.encoder(jnp.tile(SOURCES[:, :1], many), jnp.full(many, SOURCE))
    read = np.asarray(model._read_tokens(memory, jnp.zeros((3, many), jnp.int32), KEY, 1.0))[1:]
    assert abs(read.mean() - (words - 1) / 2) < 4 * words / np.sqrt(12 * read.size)


def test_a_memory_of_another_dtype_is_read_in_the_decoders():
    for first, second in ((jnp.float32, jnp.bfloat16), (jnp.bfloat16, jnp.float32)):
        model = EncoderDecoder(build("bahdanau", first).encoder, build("bahdanau", second).decoder, begin=BEGIN)
        assert model(*PAIRS).dtype == second


def test_a_batch_of_no_target_step_tells_nothing():
    none = jnp.zeros((0, BATCH), jnp.int32), jnp.zeros(BATCH, jnp.int32)
    model = build("plain")
    assert model(SOURCES, SOURCE_LENGTHS, *none).shape == (0, BATCH, VOCABULARY)
    assert model.sampled_logits(SOURCES, SOURCE_LENGTHS, *none, KEY, 0.5).shape == (0, BATCH, VOCABULARY)


def test_a_key_draws_noise_and_eval_turns_it_off():
    model = nnx.clone(build("bahdanau", dropout=0.3, zoneout=0.2))
    plain = model(*PAIRS)
    noisy = model(*PAIRS, KEY)
    assert_close(model(*PAIRS), plain, 0)
    assert_close(model(*PAIRS, KEY), noisy, 0)
    assert (noisy != plain).any() and (noisy != model(*PAIRS, jax.random.key(8))).any()
    for layer in (model.decoder.dropout, model.encoder.dropout):
        layer.deterministic = True
    assert (model(*PAIRS, KEY) != plain).any()  # zoneout of the decoder's cell
    model.eval()
    assert_close(model(*PAIRS, KEY), plain, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_dtypes(kind):
    """Float32 throughout; in bfloat16 logits are, and the memory, while carries stay float32."""
    model = build(kind, jnp.float32)
    assert jax.eval_shape(lambda: model(*PAIRS)).dtype == jnp.float32
    half = nnx.clone(model)
    half.encoder.rnn.dtype = half.decoder.rnn.dtype = half.decoder.head.dtype = jnp.bfloat16
    memory = jax.eval_shape(lambda: half.encoder(SOURCES, SOURCE_LENGTHS))
    assert memory.states.dtype == jnp.bfloat16 and memory.final.dtype == jnp.float32
    assert jax.eval_shape(lambda: half(*PAIRS)).dtype == jnp.bfloat16
    assert jax.eval_shape(lambda: half.loss(*PAIRS)).dtype == jnp.float32
    carry, logits = jax.eval_shape(
        lambda: (lambda step, carry: step(carry, jnp.zeros(BATCH, jnp.int32)))(*half.decoding(SOURCES, SOURCE_LENGTHS))
    )
    assert logits.dtype == jnp.bfloat16 and jnp.finfo(jax.tree.leaves(carry)[0].dtype).bits == 32


def test_a_model_learns_in_the_trainer():
    graph, params = nnx.split(build("luong", jnp.float32, dropout=0.1), nnx.Param)

    def loss_fn(params, batch, key):
        return nnx.merge(graph, params).loss(*batch, key=key), ()

    trainer = Trainer(loss_fn, optax.adam(0.03))
    state, losses = trainer.init(params, KEY), []
    for _ in range(20):
        state, metrics = trainer.step(state, PAIRS)
        losses.append(float(metrics.loss))
    assert losses[-1] < 0.5 * losses[0]


def test_what_does_not_fit_is_refused_in_words(without_type_checks):
    model, rngs = build("plain"), nnx.Rngs(0)
    encoder, embed = build("bahdanau").encoder, nnx.Embed(VOCABULARY, 4, rngs=rngs)

    def decoder(cell, final_features=8):
        return Decoder(embed, nn.RNN(cell, 4, rngs=rngs), final_features, rngs=rngs)

    with pytest.raises(ValueError, match=r"the memory_size 8 of the encoder's states, got 5\. Build it with"):
        EncoderDecoder(encoder, decoder(BahdanauCell(GRU(3), Bahdanau(2), memory_size=5)), begin=BEGIN)
    with pytest.raises(ValueError, match=r"start from the 8 final features of the encoder, got 6\. Build it"):
        EncoderDecoder(encoder, decoder(GRU(3), 6), begin=BEGIN)
    with pytest.raises(ValueError, match=r"must look at the memory itself, got BahdanauCell.* inside a Stack"):
        decoder(jaxrnn.Stack((BahdanauCell(GRU(3), Bahdanau(2), memory_size=8),)))
    with pytest.raises(ValueError, match="`final_features` must be a whole number of at least 1, got 0"):
        decoder(GRU(3), 0)
    with pytest.raises(TypeError, match="`embed` must be an nnx.Embed, got Linear"):
        Decoder(nnx.Linear(4, 4, rngs=rngs), nn.RNN(GRU(3), 4, rngs=rngs), 8, rngs=rngs)
    with pytest.raises(ValueError, match="`begin` must be one of the 7 tokens of the decoder's embedding, got 7"):
        EncoderDecoder(encoder, decoder(GRU(3)), begin=VOCABULARY)
    with pytest.raises(ValueError, match="Decoder: `rnn` must run forward alone, got Bidirectional.* Take its forward"):
        decoder(jaxrnn.Stack((GRU(3), jaxrnn.Bidirectional(GRU(3), GRU(3)))))
    with pytest.raises(ValueError, match="Encoder: `embed` must have the 5 features that `rnn` takes, got 4"):
        Encoder(embed, nn.RNN(GRU(3), 5, rngs=rngs))
    with pytest.raises(TypeError, match="Decoder: `rnn` must be a recurrent layer .* got GRU"):
        Decoder(embed, GRU(3), 8, rngs=rngs)
    with pytest.raises(ValueError, match=r"attention_weights: the decoder must have attention, got LSTM.* Build"):
        model.attention_weights(*PAIRS)
    with pytest.raises(ValueError, match=r"Decoder\.attention: the cell of `rnn` must have attention, got LSTM"):
        model.decoder.attention((), model.decoder.start(model.encoder(*PAIRS[:2])), TARGETS[0])
    with pytest.raises(ValueError, match=r"`rate` must be one number in \[0, 1\], the part of own tokens, got 1\.5"):
        model.sampled_logits(*PAIRS, KEY, 1.5)
    with pytest.raises(TypeError, match="sampled_logits: `key` must be a key, from which tokens are drawn, got None"):
        model.sampled_logits(*PAIRS, None, 0.5)
    with pytest.raises(TypeError, match=r"EncoderDecoder: `key` must be a key, got Rngs\. Give rngs\.dropout\(\)"):
        model(*PAIRS, nnx.Rngs(0))


def test_the_memory_of_a_sentence():
    """Complex carries come as real and imaginary part; padding is zero and masked."""
    options = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    encoder = Encoder(nnx.Embed(WORDS, 3, **options), nn.Stack([LSTM(3), LRU(2, features=3)], 3, **options))
    memory = encoder(SOURCES, SOURCE_LENGTHS)
    carry, states = encoder.rnn(encoder.embed(SOURCES), lengths=SOURCE_LENGTHS)
    expected = jnp.concatenate([carry[0].h, carry[0].c, carry[1].h.real, carry[1].h.imag], axis=-1)
    mask = jnp.arange(SOURCE)[:, None] < SOURCE_LENGTHS
    assert_close(memory, Memory(states, mask, expected), 0)
    assert encoder.final_features == 10 and encoder.out_features == 3 and not states[~mask].any()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_16_bits_are_taken_without_promotion(kind, dtype):
    model = build(kind, dtype)
    logits = model(*PAIRS)
    assert logits.dtype == dtype
    near = build(kind, jnp.float32)
    nnx.update(near, jax.tree.map(lambda x: x.astype(jnp.float32), nnx.state(model)))
    valid = np.isfinite(np.asarray(near(*PAIRS)))
    assert valid.all() and np.abs(np.asarray(logits.astype(jnp.float32) - near(*PAIRS))).max() < 0.05
