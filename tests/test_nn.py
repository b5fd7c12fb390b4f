"""Layers for Flax NNX: the same numbers as the pure cells, and at home in NNX's own tools."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxrnn
from jaxrnn import GRU, LRU, LSTM, Elman, MinGRU, nn, unroll
from jaxrnn.stochastic import recurrent_dropout, regularize, with_key, zoneout
from jaxrnn.train import Trainer
from jaxrnn.train.checkpoint import Checkpoints
from tests.checks import assert_close

TIME, BATCH, FEATURES = 6, 3, 4
XS = jnp.asarray(np.random.default_rng(0).normal(size=(TIME, BATCH, FEATURES)), jnp.float32)
HOW = {"lengths": np.array([6, 2, 4]), "reverse": True}
KEY = jax.random.key(7)
NETWORK = jaxrnn.Stack((GRU(2), LRU(4, features=2)))


def noisy_layer():
    return nn.RNN(LSTM(5), FEATURES, zoneout=(0.1, 0.5), input_dropout=0.3, recurrent_dropout=0.2, rngs=nnx.Rngs(2))


class Tagger(nnx.Module):
    """What stands beside the layer comes from Flax."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(5, 4, rngs=rngs)
        self.layer = nn.RNN(GRU(6), in_features=4, zoneout=0.1, rngs=rngs)
        self.dropout = nnx.Dropout(0.1)
        self.head = nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, tokens, key=None):
        _, ys = self.layer(self.embed(tokens), key=key)
        return self.head(self.dropout(ys, deterministic=key is None, rngs=key))


def tagger_loss(model, tokens, key=None):
    """Each token tells its parity, one step late."""
    return optax.softmax_cross_entropy_with_integer_labels(model(tokens, key)[1:], tokens[:-1] % 2).mean()


TOKENS = jax.random.randint(jax.random.key(0), (12, 8), 0, 5)


@pytest.fixture(scope="module")
def layer():
    return nn.RNN(NETWORK, FEATURES, rngs=nnx.Rngs(1))


@pytest.fixture(scope="module")
def tagger():
    """A test that changes it takes a clone."""
    return Tagger(nnx.Rngs(0))


def test_a_layer_is_unroll_on_its_params(layer):
    """Value and gradient, through nnx.jit and nnx.value_and_grad; and the parameters come from the cell's own init."""
    start = jax.tree.map(jnp.ones_like, NETWORK.init_carry((BATCH,)))

    @nnx.jit
    @nnx.value_and_grad
    def of_layer(layer):
        carry, ys = layer(XS, start, **HOW)
        return sum(jnp.sum(x**2).real for x in jax.tree.leaves((carry, ys)))

    @jax.jit
    @jax.value_and_grad
    def of_params(params):
        carry, ys = unroll(NETWORK, params, XS, start, **HOW)
        return sum(jnp.sum(x**2).real for x in jax.tree.leaves((carry, ys)))

    value, gradient = of_layer(layer)
    expected = of_params(NETWORK.init(nnx.Rngs(1).params(), FEATURES))
    assert_close((value, nnx.merge(nnx.graphdef(layer), gradient).params), expected, 1e-6)


def test_the_laboratory_takes_the_params():
    layer = nn.RNN(Elman(3), FEATURES, zoneout=0.1, rngs=nnx.Rngs(0))
    norms = jaxrnn.gradients.adjoint_norms(layer.cell, layer.params, XS, lambda ys: ys[-1].sum(axis=-1))
    params = Elman(3).init(nnx.Rngs(0).params(), FEATURES)
    expected = jaxrnn.gradients.adjoint_norms(Elman(3), params, XS, lambda ys: ys[-1].sum(axis=-1))
    assert_close(norms, expected, 0)


def test_leaves_are_params_under_their_names(layer):
    """And nothing else is state: no PRNG key that a checkpoint would have to know."""
    plain = nn.RNN(LSTM(5), FEATURES, rngs=nnx.Rngs(0))
    names = {path for path, _ in nnx.to_flat_state(nnx.state(plain))}
    assert names == {("weights", name) for name in ("input", "recurrent", "bias")}
    nested = {path for path, _ in nnx.to_flat_state(nnx.state(layer))}
    assert ("weights", 0, "recurrent") in nested and ("weights", 1, "log_decay") in nested
    for model in (plain, layer, noisy_layer()):
        assert all(isinstance(leaf, nnx.Param) for _, leaf in nnx.to_flat_state(nnx.state(model)))
        assert not jax.tree.leaves(nnx.state(model, nnx.Not(nnx.Param)))
    assert "LSTM(hidden_size=5" in str(plain) and plain.out_features == 5


def test_params_out_and_in(layer):
    other = nn.RNN(NETWORK, FEATURES, rngs=nnx.Rngs(5))
    before = nnx.graphdef(other)
    other.set_params(layer.params)
    assert_close(other.params, layer.params, 0)
    assert nnx.graphdef(other) == before
    assert_close(nnx.merge(*nnx.split(layer)).params, layer.params, 0)
    with pytest.raises(
        ValueError, match=r"RNN.set_params: `params` must be those of Stack.*float32\[4, 6\].*, or cast"
    ):
        other.set_params(NETWORK.init(KEY, FEATURES + 1))


def test_a_key_draws_noise_and_eval_turns_it_off():
    layer, cell = noisy_layer(), LSTM(5)
    network = regularize(cell, input_dropout=0.3, recurrent_dropout=0.2, zoneout=(0.1, 0.5))
    evaluated = unroll(network, layer.params, XS, **HOW)
    assert_close(layer(XS, **HOW), evaluated, 0)
    trained = layer(XS, key=KEY, **HOW)
    assert_close(trained, unroll(network, with_key(network, layer.params, KEY), XS, **HOW), 0)
    assert jax.tree.structure(trained) == jax.tree.structure(evaluated)
    assert (trained[1] != evaluated[1]).any() and (trained[1] != layer(XS, key=jax.random.key(8), **HOW)[1]).any()
    layer.eval()
    assert_close(layer(XS, key=KEY, **HOW), evaluated, 0)
    layer.train()
    assert_close(layer(XS, key=KEY, **HOW), trained, 0)
    assert_close(nnx.view(layer, deterministic=True)(XS, key=KEY, **HOW), evaluated, 0)


def test_view_eval_and_train_agree(tagger):
    """A view is a copy that evaluates; what it does not name stays, and Flax still refuses what nobody knows."""
    model = nnx.clone(tagger)

    def modes(model):
        return model.layer.deterministic, model.dropout.deterministic

    assert modes(nnx.view(model, deterministic=True)) == (True, True) and modes(model) == (False, False)
    model.eval()
    assert modes(model) == modes(nnx.view(model, deterministic=None)) == (True, True)
    assert modes(nnx.view(model, deterministic=False)) == (False, False)
    with pytest.raises(ValueError, match="Unused keys.*determinist'"):
        nnx.view(model.layer, determinist=True)


def test_stack_and_bidirectional_are_thin():
    cells = [LSTM(5), GRU(FEATURES)]
    stack = nn.Stack(cells, FEATURES, residual=True, zoneout=0.2, rngs=nnx.Rngs(1))
    plain = nn.RNN(jaxrnn.Stack(tuple(cells), residual=True), FEATURES, zoneout=0.2, rngs=nnx.Rngs(1))
    assert stack.cell == plain.cell and stack.network == plain.network
    assert_close(stack.params, plain.params, 0)
    both = nn.Bidirectional(Elman(2), FEATURES, rngs=nnx.Rngs(1))
    assert both.cell == jaxrnn.Bidirectional(Elman(2), Elman(2)) and both.out_features == 4
    assert (both.params[0].input != both.params[1].input).any()
    residual = nn.Bidirectional(Elman(3), FEATURES, backward=GRU(1), residual=True, rngs=nnx.Rngs(1))
    assert residual.cell == jaxrnn.Bidirectional(Elman(3), GRU(1), residual=True)
    carry, ys = jax.eval_shape(lambda: residual(XS))
    assert ys.shape == XS.shape and carry[1].h.shape == (BATCH, 1)


def test_dtypes():
    """Computation in `dtype`, parameters and their gradients in `param_dtype`, the carry never below float32."""
    layer = nn.RNN(GRU(3), FEATURES, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    carry, ys = jax.eval_shape(lambda: layer(XS))
    assert ys.dtype == jnp.bfloat16 and carry.h.dtype == jnp.float32
    structure, state = nnx.split(layer)
    gradient = jax.eval_shape(jax.grad(lambda state: nnx.merge(structure, state)(XS)[1].sum()), state)
    assert {leaf.dtype for leaf in jax.tree.leaves((gradient, state))} == {jnp.dtype(jnp.float32)}
    half = nn.RNN(GRU(3), FEATURES, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert half.params.input.dtype == jnp.bfloat16
    assert jax.eval_shape(lambda: half(XS.astype(jnp.bfloat16)))[1].dtype == jnp.bfloat16
    with pytest.raises(TypeError, match="RNN: `xs` is float32 while the parameters are bfloat16. Build the layer with"):
        half(XS)


def test_what_does_not_fit_is_refused_in_words(layer):
    with pytest.raises(ValueError, match=r"in_features=4\), got shape \(6, 3, 2\). Build the layer with in_features=2"):
        layer(XS[..., :2])
    with pytest.raises(TypeError, match="`xs` must be real floating point, got int32"):
        layer(jnp.ones((3, 2, FEATURES), jnp.int32))
    with pytest.raises(TypeError, match="RNN: `cell` must be a Cell, jaxrnn.Stack or jaxrnn.Bidirectional, got 3"):
        nn.RNN(3, FEATURES, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`in_features` must be a whole number of at least 1, got 0"):
        nn.RNN(GRU(3), 0, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="must be a GatedCell.*got MinGRU"):
        nn.RNN(MinGRU(3), FEATURES, recurrent_dropout=0.1, rngs=nnx.Rngs(0))
    for bare in (zoneout(LSTM(3), 0.5), jaxrnn.Stack((GRU(3), recurrent_dropout(GRU(3), 0.5)))):
        with pytest.raises(TypeError, match="RNN: `cell` must hold no noise of its own.* Give the rates to nn.RNN"):
            nn.RNN(bare, FEATURES, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`input_dropout` must be a number in \[0, 1\)"):
        nn.RNN(GRU(3), FEATURES, input_dropout=1.0, rngs=nnx.Rngs(0))


def test_a_model_learns_with_the_optimizer_of_nnx(tagger):
    """Embed, layer and Linear, with noise; one trace for all steps."""
    model, traces = nnx.clone(tagger), []
    optimizer = nnx.Optimizer(model, optax.adam(0.03), wrt=nnx.Param)

    @nnx.jit
    @jax.numpy_dtype_promotion("standard")  # Optax is written for it; everything else here runs under the strict one
    def step(model, optimizer, key):
        traces.append(key)
        loss, gradient = nnx.value_and_grad(tagger_loss)(model, TOKENS, key)
        optimizer.update(model, gradient)
        return loss

    losses = [step(model, optimizer, jax.random.fold_in(KEY, i)) for i in range(30)]
    assert len(traces) == 1
    assert losses[-1] < 0.35 < 0.6 < losses[0]
    model.eval()
    assert tagger_loss(model, TOKENS) < 0.3


def test_a_model_in_the_trainer_and_its_checkpoint(tagger, tmp_path):
    """Two steps, saved, restored into a fresh state, and two more, are four steps."""
    structure, params = nnx.split(tagger, nnx.Param)

    def loss_fn(params, tokens, key):
        return tagger_loss(nnx.merge(structure, params), tokens, key), ()

    trainer = Trainer(loss_fn, optax.adam(0.03))
    state = trainer.init(params, KEY)
    losses = []
    for i in range(4):
        state, metrics = trainer.step(state, TOKENS)
        losses.append(metrics.loss)
        if i == 1:
            Checkpoints(tmp_path, {"cell": GRU(6)}).save(state)
    fresh = trainer.init(jax.tree.map(jnp.zeros_like, params), jax.random.key(9))
    resumed = Checkpoints(tmp_path, {"cell": GRU(6)}).restore(fresh)
    again = []
    for _ in range(2):
        resumed, metrics = trainer.step(resumed, TOKENS)
        again.append(metrics.loss)
    assert again == losses[2:] and losses[3] < losses[0]
    assert_close(resumed.params, state.params, 0)
    model = nnx.merge(structure, resumed.params)
    assert np.isfinite(tagger_loss(model, TOKENS))


def test_rates_and_keys_of_other_kinds_are_refused_in_words(layer, without_type_checks):
    with pytest.raises(ValueError, match=r"RNN: `zoneout` must be a number in \[0, 1\), .* got array\("):
        nn.RNN(LSTM(3), FEATURES, zoneout=np.array([0.1, 0.5]), rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"RNN: `key` must be a key, got Rngs\. Give rngs\.dropout\(\)"):
        layer(XS, key=nnx.Rngs(0))
