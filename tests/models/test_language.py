"""Language models: segments, single steps, tied and untied heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import GRU, LRU, LSTM, Bidirectional, Stack, nn
from jaxrnn.models import LanguageModel
from jaxrnn.train.losses import cross_entropy
from tests.checks import assert_close, noise_like
from tests.models import by_hand

TIME, BATCH, FEATURES, WORDS = 6, 4, 3, 7
LENGTHS = np.array([6, 0, 2, 5])
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, WORDS, (TIME, BATCH)).astype(np.int32)
NEXT = RNG.integers(0, WORDS, (TIME, BATCH)).astype(np.int32)


def build(cell, tied=True, dtype=jnp.float64, **options):
    rngs = nnx.Rngs(0)
    embed = nnx.Embed(WORDS, FEATURES, param_dtype=dtype, rngs=rngs)
    rnn = nn.RNN(cell, FEATURES, param_dtype=dtype, rngs=rngs)
    head = None if tied else nnx.Linear(cell.output_size, WORDS, param_dtype=dtype, rngs=rngs)
    return by_hand.stirred(LanguageModel(embed, rnn, head=head, **options))


def loss(model, key=None):
    _, logits = model(TOKENS, lengths=LENGTHS, key=key)
    return cross_entropy(logits, NEXT, np.arange(TIME)[:, None] < LENGTHS)


def test_tied():
    """The embedding's matrix reads tokens and tells them; its gradient adds up from both places."""
    model = build(LSTM(FEATURES))
    E = np.asarray(model.embed.embedding[...])
    start = noise_like(RNG, model.init_carry((BATCH,)))
    ys = by_hand.layer_outputs(model.rnn, E[TOKENS], LENGTHS, start)
    _, logits = model(TOKENS, jax.tree.map(jnp.asarray, start), lengths=LENGTHS)
    assert_close(logits, ys @ E.T + np.asarray(model.bias[...]), 1e-12)
    by_hand.check_model_gradient(model, loss)
    names = {path for path, _ in nnx.to_flat_state(nnx.state(model))}
    assert ("bias",) in names and ("embed", "embedding") in names and len(names) == 5


def test_a_head_of_its_own():
    model = build(GRU(5), tied=False)
    ys = by_hand.layer_outputs(model.rnn, np.asarray(model.embed.embedding[...])[TOKENS], LENGTHS)
    _, logits = model(TOKENS, lengths=LENGTHS)
    assert_close(logits, by_hand.linear(model.head, ys), 1e-12)
    assert model.bias is None
    by_hand.check_model_gradient(model, loss)


@pytest.mark.parametrize(
    "cell", [LSTM(FEATURES), Stack((GRU(FEATURES), LRU(4, features=FEATURES)))], ids=["LSTM", "Stack"]
)
def test_segments_and_steps_are_the_whole(cell):
    """The carry is handed on between segments, and a step is a call of one token, for any batch shape."""
    model = build(cell)
    carry, logits = model(TOKENS)
    middle, first = model(TOKENS[:2], model.init_carry((BATCH,)))
    end, second = model(TOKENS[2:], middle)
    assert_close((end, jnp.concatenate([first, second])), (carry, logits), 1e-12)
    stepping, rows = model.init_carry((BATCH,)), []
    for tokens in TOKENS:
        stepping, row = model.step(stepping, tokens)
        rows.append(row)
    assert_close((stepping, jnp.stack(rows)), (carry, logits), 1e-12)
    single, row = model.step(model.init_carry(), jnp.int32(TOKENS[0, 2]))
    assert_close(row, logits[0, 2], 1e-12)
    assert jax.tree.structure(single) == jax.tree.structure(model.init_carry())
    pairs = TOKENS[0].reshape(2, 2)
    assert_close(model.step(model.init_carry((2, 2)), pairs)[1], logits[0].reshape(2, 2, WORDS), 1e-12)
    start = jax.tree.map(lambda leaf: jnp.stack([leaf] * BATCH), model.init_carry())
    mapped = jax.vmap(model.step)(start, jnp.asarray(TOKENS[0]))
    assert_close(mapped, model.step(model.init_carry((BATCH,)), TOKENS[0]), 1e-12)


def test_the_gradient_reaches_the_carry_that_is_handed_in():
    model = build(GRU(FEATURES))
    start = jax.tree.map(jnp.asarray, noise_like(RNG, model.init_carry((BATCH,))))
    by_hand.check_gradient(lambda carry: jnp.sum(model(TOKENS, carry, lengths=LENGTHS)[1] ** 2), start)


def test_dropout():
    model = build(GRU(FEATURES), dtype=jnp.float32, dropout=0.5)
    by_hand.check_noise(lambda model, key: model(TOKENS, lengths=LENGTHS, key=key)[1], model)
    only_outputs = build(GRU(FEATURES), dtype=jnp.float32, dropout=0.5)
    only_outputs.embed = lambda tokens: jnp.zeros((*tokens.shape, FEATURES), jnp.float32)
    only_outputs.head = lambda ys: ys
    ys, drawn = (np.asarray(only_outputs(TOKENS, key=key)[1]) for key in (None, jax.random.key(0)))
    assert set(np.unique((drawn / ys).round(5))) == {0, 2}, "inputs are zeros here, so the outputs alone are dropped"


def test_dtypes():
    model = build(GRU(FEATURES), dtype=jnp.float32)
    carry, logits = model(TOKENS)
    assert logits.dtype == carry.h.dtype == model.init_carry().h.dtype == jnp.float32
    rngs = nnx.Rngs(0)
    embed = nnx.Embed(WORDS, FEATURES, dtype=jnp.bfloat16, rngs=rngs)
    half = LanguageModel(embed, nn.RNN(GRU(FEATURES), FEATURES, dtype=jnp.bfloat16, rngs=rngs))
    carry, logits = half(TOKENS, half.init_carry((BATCH,)))
    assert logits.dtype == jnp.bfloat16 and carry.h.dtype == jnp.float32


def test_it_learns_in_the_trainer_in_float32():
    by_hand.check_learns(build(LSTM(FEATURES), dtype=jnp.float32, dropout=0.1), loss)


def test_what_does_not_fit_is_refused_in_words(without_type_checks):
    rngs = nnx.Rngs(0)
    embed, rnn = nnx.Embed(WORDS, 3, rngs=rngs), nn.RNN(GRU(4), 3, rngs=rngs)
    with pytest.raises(TypeError, match="LanguageModel: `embed` must be an nnx.Embed, got Linear"):
        LanguageModel(nnx.Linear(2, 3, rngs=rngs), rnn)
    with pytest.raises(TypeError, match="LanguageModel: `rnn` must be a recurrent layer.*got GRU"):
        LanguageModel(embed, GRU(3))
    with pytest.raises(ValueError, match=r"must put out its 3 features, got 4. .* nnx.Linear\(4, 7, rngs=rngs\)"):
        LanguageModel(embed, rnn)
    with pytest.raises(ValueError, match=r"`head` must map the 4 features of `rnn` to the 7 tokens.*got 4 to 6"):
        LanguageModel(embed, rnn, head=nnx.Linear(4, 6, rngs=rngs))
    with pytest.raises(ValueError, match="`embed` must have the 3 features that `rnn` takes, got 2"):
        LanguageModel(nnx.Embed(WORDS, 2, rngs=rngs), rnn, head=nnx.Linear(4, WORDS, rngs=rngs))
    for cell in (Bidirectional(GRU(1), GRU(2)), Stack((Bidirectional(GRU(1), GRU(2)), GRU(3)))):
        with pytest.raises(ValueError, match="LanguageModel: `rnn` must run forward alone.*Take its forward cell"):
            LanguageModel(embed, nn.RNN(cell, 3, rngs=rngs))
    with pytest.raises(TypeError, match="LanguageModel: `key` must be a key, got Rngs"):
        LanguageModel(embed, nn.RNN(GRU(3), 3, rngs=rngs))(TOKENS, key=rngs)
