"""Zoneout and sequence dropout against plain loops in time, and what their masks have to be."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import GRU, LRU, LSTM, Associative, Bidirectional, ChunkedScan, MinGRU, Scan, Stack, unroll
from jaxrnn.stochastic import Regularized, recurrent_dropout, regularize, sequence_dropout, with_key, zoneout
from jaxrnn.stochastic.dropout import DropoutCarry, DropoutParams
from jaxrnn.stochastic.zoned import Zoned
from tests.checks import Acts, assert_close, draw_arguments, noise_like, spoil
from tests.examples import FEATURES, HIDDEN, UserHeads, UserNoise, UserPlain, UserReadout, name

TIME, BATCH = 3, 3
KEY = jax.random.key(3)
# A shorter sequence, one of full length and an empty one; resets inside, at a masked step, and where nothing acts.
ACTS = Acts(
    lengths=np.array([2, 3, 0]),
    mask=np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool),
    resets=np.array([[0, 0, 1], [1, 1, 0], [1, 0, 0]], bool),
)
VALID = np.arange(TIME)[:, None] < ACTS.lengths
ACTIVE = VALID & ACTS.mask


def label(value) -> str:
    return name(value) if isinstance(value, jaxrnn.Cell) else str(value)


def choose(condition, tree, other):
    """Leaf by leaf, for each sequence of the batch."""

    def leaf(a, b):
        return jnp.where(jnp.reshape(condition, (-1, *(1,) * (b.ndim - 1))), a, b)

    return jax.tree.map(leaf, tree, other)


def loop(cell, params, xs, carry, keep, drop, reverse):
    """(carry, ys) step by step; `keep` has masks (time, ...) for each array of the carry, `drop` is one for all h."""
    fresh, ys = cell.init_carry((), jnp.float64), [jnp.zeros(())] * TIME
    for t in reversed(range(TIME)) if reverse else range(TIME):
        begins = VALID[t] & ACTS.resets[t]
        if not reverse:
            carry = choose(begins, fresh, carry)
        x = jax.tree.map(lambda x: jnp.where(ACTIVE[t][:, None], x[t], 0), xs)  # noqa: B023
        u = cell.project(params, x)
        if drop is None:
            new = cell.advance(params, carry, u)
        else:
            v = jnp.split((carry.h * drop) @ cell.recurrent(params), cell.gates, axis=-1)
            new = cell.update(cell.pointwise(params), carry, u, tuple(v))
        old, structure = jax.tree.flatten(carry)
        m = [mask[t].astype(s.dtype) for mask, s in zip(keep, old, strict=True)]
        mixed = [m * s + (1 - m) * n for m, s, n in zip(m, old, jax.tree.leaves(new), strict=True)]
        new = jax.tree.unflatten(structure, mixed)
        ys[t] = jnp.where(ACTIVE[t][:, None], cell.output(params, new, u), 0)
        carry = choose(ACTIVE[t], new, carry)
        if reverse:
            carry = choose(begins, fresh, carry)
    return carry, jnp.stack(ys)


def value_and_gradient(run, arguments, cotangents):
    """(value, gradient by all arguments), compiled."""

    @jax.jit
    def both(arguments):
        value, pullback = jax.vjp(lambda a: run(*a), arguments)
        return value, pullback(cotangents)

    return both(arguments)


@functools.cache
def drawn(cell):
    """(params, xs with NaN where nothing acts, starting carry) and cotangents."""
    params, xs, carry = draw_arguments(cell, 4, TIME, (BATCH,))
    cotangents = noise_like(np.random.default_rng(5), (carry, np.zeros((TIME, BATCH, cell.output_size))))
    return (params, jax.tree.map(jnp.asarray, spoil(xs, ACTS)), jax.tree.map(jnp.asarray, carry)), cotangents


ZONED = [
    (LSTM(HIDDEN), (0.2, 0.6), True),
    (UserNoise(HIDDEN), 0.4, False),
    (LRU(HIDDEN, features=FEATURES), 0.4, True),
    (UserPlain(HIDDEN), (0.2, 0.4, 0.6), False),
]


@pytest.mark.parametrize("cell, rate, reverse", ZONED, ids=label)
def test_zoneout_is_its_equation_on_every_backend(cell, rate, reverse):
    """Training, with lengths, masks, resets and NaN in the padding; value, and gradient by everything, masks too."""
    zoned = zoneout(cell, rate)
    arguments, cotangents = drawn(cell)
    masks = zoned.with_masks(KEY, arguments[1]).masks

    def run(backend, params, xs, carry, masks):
        return unroll(zoned, params, Zoned(xs, masks), carry, **ACTS._asdict(), reverse=reverse, backend=backend)

    assert isinstance(zoned, jaxrnn.GatedCell) == isinstance(cell, jaxrnn.GatedCell)
    arguments = (*arguments, masks)
    expected = value_and_gradient(lambda *a: loop(cell, *a, None, reverse), arguments, cotangents)
    best = Associative() if isinstance(cell, jaxrnn.LinearCell) else ChunkedScan(chunk=2)
    assert_close(value_and_gradient(lambda *a: run(best, *a), arguments, cotangents), expected, 1e-12)
    assert_close(run(Scan(), *arguments), expected[0], 1e-12)


@pytest.mark.parametrize("cell, rate, reverse", ZONED, ids=label)
def test_without_masks_the_rate_stands_for_them(cell, rate, reverse):
    zoned = zoneout(cell, rate)
    (params, xs, carry), _ = drawn(cell)
    acts = ACTS._asdict() | {"reverse": reverse}
    masks = zoned.with_masks(KEY, xs).masks
    expectation = tuple(jnp.full_like(mask, r) for mask, r in zip(masks, zoned.rates, strict=True))
    evaluated = unroll(zoned, params, xs, carry, **acts)
    assert_close(evaluated, unroll(zoned, params, Zoned(xs, expectation), carry, **acts), 1e-14)


def test_evaluation_is_the_mean_over_masks():
    """For one step, whose candidate no mask has reached yet: rate of all kept, the rest of all new."""
    zoned = zoneout(LSTM(HIDDEN), 0.3)
    params, xs, carry = draw_arguments(zoned.cell, 4, 1, (BATCH,))
    kept, new = (unroll(zoned, params, Zoned(xs, (jnp.full((1, BATCH, HIDDEN), m),) * 2), carry) for m in (1.0, 0.0))
    mean = jax.tree.map(lambda a, b: 0.3 * a + 0.7 * b, kept, new)
    assert_close(unroll(zoned, params, xs, carry), mean, 1e-14)
    assert_close(kept[0], carry, 0)


@pytest.mark.parametrize("cell", [UserReadout(HIDDEN), LRU(HIDDEN, features=FEATURES)], ids=name)
def test_zoneout_at_rate_zero_is_the_cell(cell):
    zoned = zoneout(cell, 0.0)
    (params, xs, carry), _ = drawn(cell)
    plain = unroll(cell, params, xs, carry, **ACTS._asdict())
    for inputs in (xs, zoned.with_masks(KEY, xs)):
        assert_close(unroll(zoned, params, inputs, carry, **ACTS._asdict()), plain, 0)


def test_zoneout_masks():
    """Zeros and ones of the dtype of xs, at each array's own rate, alike for one key and different for another."""
    zoned = zoneout(LSTM(50), (0.1, 0.7))
    xs = jnp.ones((40, 8, FEATURES), jnp.bfloat16)
    masks = zoned.with_masks(KEY, xs).masks
    for mask, rate in zip(masks, zoned.rates, strict=True):
        assert mask.shape == (40, 8, 50) and mask.dtype == jnp.bfloat16
        assert set(np.unique(np.asarray(mask, float))) == {0, 1}
        assert np.mean(np.asarray(mask, float)) == pytest.approx(rate, abs=0.015)
    assert (masks[1][0] != masks[1][1]).any() and (masks[1][:, 0] != masks[1][:, 1]).any()
    alike = zoneout(LSTM(50), 0.5).with_masks(KEY, xs).masks
    assert (alike[0] != alike[1]).any()
    assert_close(zoned.with_masks(KEY, xs).masks, masks, 0)
    assert (zoned.with_masks(jax.random.key(4), xs).masks[1] != masks[1]).any()
    params = jax.eval_shape(lambda: zoned.init(KEY, FEATURES, jnp.bfloat16))
    carry, ys = jax.eval_shape(lambda p: unroll(zoned, p, Zoned(xs, masks)), params)
    assert carry.c.dtype == jnp.float32 and ys.dtype == jnp.bfloat16


@pytest.mark.parametrize("cell, rate, reverse", [(LSTM(HIDDEN), 0.0, True), (GRU(HIDDEN), 0.4, False)], ids=label)
def test_recurrent_dropout_is_its_equation_on_every_backend(cell, rate, reverse):
    """One mask of h before the product; whatever else reads h reads the whole; zoneout fits inside."""
    zoned = zoneout(cell, rate)
    dropped = recurrent_dropout(zoned if rate else cell, 0.4)
    arguments, cotangents = drawn(cell)
    masks = zoned.with_masks(KEY, arguments[1]).masks
    mask = dropped.with_mask(jax.random.key(1), *arguments[:2]).mask

    def run(backend, params, xs, carry, masks, mask):
        params = DropoutParams(params, mask)
        carry = dropped.start(params, carry)
        how = ACTS._asdict() | {"reverse": reverse, "backend": backend}
        carry, ys = unroll(dropped, params, Zoned(xs, masks) if rate else xs, carry, **how)
        return carry.cell, ys

    def plain(params, xs, carry, masks, mask):
        return loop(cell, params, xs, carry, masks or [jnp.zeros((TIME, 1))] * 2, mask / 0.6, reverse)

    arguments = (*arguments, masks, mask)
    expected = value_and_gradient(plain, arguments, cotangents)
    for backend in ChunkedScan(chunk=2), Scan():
        assert_close(value_and_gradient(lambda *a: run(backend, *a), arguments, cotangents), expected, 1e-12)  # noqa: B023


def test_recurrent_dropout_without_a_mask_or_rate_is_the_cell():
    cell = LSTM(HIDDEN)
    dropped = recurrent_dropout(cell, 0.0)
    (params, xs, carry), _ = drawn(cell)
    plain = unroll(cell, params, xs, carry, **ACTS._asdict())
    for weights in (params, dropped.with_mask(KEY, params, xs)):
        end, ys = unroll(dropped, weights, xs, DropoutCarry(carry.h, carry), **ACTS._asdict())
        assert_close((end.cell, ys), plain, 0)


def test_sequence_dropout():
    """One mask for all steps, different for each sequence, of mean one, alike for one key."""
    xs = jnp.ones((4, 30, 50))
    ys = sequence_dropout(KEY, xs, 0.2)
    assert set(np.unique(ys)) == {0, 1.25} and float(ys.mean()) == pytest.approx(1, abs=0.03)
    assert (ys == ys[0]).all() and (ys[:, 0] != ys[:, 1]).any()
    assert_close(sequence_dropout(KEY, xs, 0.2), ys, 0)
    assert (sequence_dropout(jax.random.key(4), xs, 0.2) != ys).any()
    assert_close(sequence_dropout(KEY, xs, 0.0), xs, 0)
    mask = recurrent_dropout(GRU(50), 0.2).with_mask(KEY, None, xs).mask
    assert mask.shape == (30, 50) and set(np.unique(mask)) == {0, 1}
    assert float(mask.mean()) == pytest.approx(0.8, abs=0.03)


def test_regularize_is_all_three_together():
    """In training the carry that goes in and out is the cell's own."""
    cell = GRU(HIDDEN)
    noisy = regularize(cell, input_dropout=0.2, recurrent_dropout=0.3, zoneout=0.4)
    (params, xs, carry), _ = drawn(cell)
    inputs, zone, recurrent = jax.random.split(KEY, 3)
    dropped = recurrent_dropout(zoneout(cell, 0.4), 0.3)
    masked = zoneout(cell, 0.4).with_masks(zone, sequence_dropout(inputs, xs, 0.2))
    weights = dropped.with_mask(recurrent, params, xs)
    end, ys = unroll(dropped, weights, masked, dropped.start(weights, carry), **ACTS._asdict())
    assert_close(unroll(noisy, with_key(noisy, params, KEY), xs, carry, **ACTS._asdict()), (end.cell, ys), 0)
    evaluated = unroll(zoneout(cell, 0.4), params, xs, carry, **ACTS._asdict())
    assert_close(unroll(noisy, params, xs, carry, **ACTS._asdict()), evaluated, 0)


@pytest.fixture(scope="module")
def network():
    return Stack((GRU(FEATURES), Bidirectional(MinGRU(2), MinGRU(1))), residual=True)


def test_networks_take_noise_in_every_cell(network):
    """Reproducible from the key, the same carries and parameters as without noise, nothing in the padding."""
    noisy = regularize(network, input_dropout=0.4, zoneout=0.3)
    params, start = network.init(KEY, FEATURES, jnp.float64), network.init_carry((BATCH,), jnp.float64)
    xs = spoil(np.random.default_rng(0).normal(size=(TIME, BATCH, FEATURES)), ACTS)

    @jax.jit
    def run(seed):
        weights = with_key(noisy, params, jax.random.key(seed))
        return unroll(noisy, weights, xs, start, **ACTS._asdict())

    keys = [
        leaf
        for leaf in jax.tree.leaves(with_key(noisy, params, KEY))
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    ]
    assert len({tuple(np.asarray(jax.random.key_data(key))) for key in keys}) == 3
    first, again, other = run(0), run(0), run(1)
    assert_close(first, again, 0)
    assert jax.tree.structure(first[0]) == jax.tree.structure(start)
    assert np.isfinite(first[1]).all() and (np.asarray(first[1])[~ACTIVE] == 0).all()
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(other), strict=True):
        assert (np.asarray(a) != np.asarray(b)).any()
    silent = regularize(network)
    keyed = with_key(silent, params, KEY)
    plain = unroll(network, params, xs, start, **ACTS._asdict())
    assert_close(unroll(silent, keyed, xs, start, **ACTS._asdict()), plain, 0)
    assert jax.tree.map(id, with_key(network, params, KEY)) == jax.tree.map(id, params)


def test_rates_by_layer(network):
    """A layer that is not regularized takes no key."""
    layers = Stack((regularize(network.cells[0], zoneout=0.3), network.cells[1]))
    params = network.init(KEY, FEATURES, jnp.float64)
    keyed = with_key(layers, params, KEY)
    assert keyed[0].params is params[0] and keyed[1] == params[1]
    xs = jnp.ones((TIME, FEATURES))
    (_, plain), _ = unroll(layers, params, xs)
    (_, noisy), _ = unroll(layers, keyed, xs)
    assert (plain[0].h != noisy[0].h).any()


def test_equal_cells_are_equal():
    """So that nothing is traced twice."""
    for make in (zoneout, recurrent_dropout, lambda cell, rate: regularize(Stack((cell,)), zoneout=rate)):
        assert make(LSTM(3), 0.1) == make(LSTM(3), 0.1) != make(LSTM(3), 0.2)
        assert hash(make(LSTM(3), 0.1)) == hash(make(LSTM(3), 0.1))


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_rates_outside_are_refused(rate):
    for call in (
        lambda: zoneout(LSTM(3), rate),
        lambda: zoneout(LSTM(3), (0.1, rate)),
        lambda: recurrent_dropout(LSTM(3), rate),
        lambda: sequence_dropout(KEY, jnp.ones((2, 1, 1)), rate),
        lambda: regularize(LSTM(3), input_dropout=rate),
        lambda: regularize(LSTM(3), recurrent_dropout=rate),
        lambda: regularize(LSTM(3), zoneout=rate),
    ):
        with pytest.raises(ValueError, match=r"must be a number in \[0, 1\)"):
            call()


@pytest.mark.parametrize("rate", [np.float64(0.5), np.float32(0.5), Fraction(1, 2)], ids=str)
def test_any_number_is_a_rate(rate):
    """It becomes a float where it comes in, so that the noise takes the dtype of the inputs, not that of the rate."""
    cell = Regularized(LSTM(3), input_dropout=rate, recurrent_dropout=rate, zoneout=[0, rate])
    zoned = zoneout(LSTM(3), rate)
    rates = cell.input_dropout, cell.recurrent_dropout, recurrent_dropout(LSTM(3), rate).rate, zoned.rate, *zoned.rates
    assert rates == (0.5,) * 6 and {type(rate) for rate in rates} == {float}
    assert str(cell.zoneout) == "(0.0, 0.5)"
    assert cell == regularize(LSTM(3), input_dropout=0.5, recurrent_dropout=0.5, zoneout=(0.0, 0.5))
    assert zoneout(LSTM(3), [0.1, rate]) == zoneout(LSTM(3), (0.1, 0.5))


def test_noise_keeps_the_dtype():
    xs = jax.ShapeDtypeStruct((4, 2, 3), jnp.bfloat16)
    assert jax.eval_shape(lambda xs: sequence_dropout(KEY, xs, np.float64(0.5)), xs).dtype == jnp.bfloat16
    cell = recurrent_dropout(GRU(3), np.float64(0.5))
    params = jax.eval_shape(lambda: cell.init(KEY, 3))

    def run(params, xs):
        return unroll(cell, cell.with_mask(KEY, params, xs), xs)

    shapes = jax.eval_shape(run, params, jax.ShapeDtypeStruct((4, 2, 3), jnp.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float32)}


def test_noise_that_no_key_reaches_is_refused():
    for cell in (zoneout(LSTM(3), 0.5), recurrent_dropout(LSTM(3), 0.5)):
        for network in (cell, Stack((GRU(3), cell)), Bidirectional(GRU(3), Stack((cell,)))):
            with pytest.raises(TypeError, match="with_key: `cell` must hold no noise of its own.* or to regularize"):
                with_key(network, None, KEY)
        with pytest.raises(TypeError, match="Regularized: `cell` must hold no noise of its own"):
            regularize(Stack((cell,)), input_dropout=0.1)


def test_what_does_not_fit_is_refused_in_words():
    with pytest.raises(ValueError, match="each of the 2 arrays in the carry of LSTM, got 3"):
        zoneout(LSTM(3), (0.1, 0.2, 0.3))
    with pytest.raises(TypeError, match="Zoneout goes inside"):
        zoneout(recurrent_dropout(LSTM(3), 0.1), 0.1)
    with pytest.raises(TypeError, match="For a Stack or Bidirectional see regularize"):
        zoneout(Stack((LSTM(3),)), 0.1)
    with pytest.raises(TypeError, match="must be a GatedCell.*got MinGRU"):
        recurrent_dropout(MinGRU(3), 0.1)
    with pytest.raises(TypeError, match="has it already"):
        recurrent_dropout(recurrent_dropout(GRU(3), 0.1), 0.1)
    with pytest.raises(ValueError, match="must start from h = 0"):
        recurrent_dropout(UserHeads(6, heads=2), 0.1)
    with pytest.raises(TypeError, match="Give the rates of a cell once"):
        regularize(regularize(GRU(3), zoneout=0.1), input_dropout=0.1)
    noisy = regularize(UserNoise(3), input_dropout=0.1)
    entries = (jnp.ones((4, 5, 2)), jnp.ones((4, 5, 3)))
    with pytest.raises(TypeError, match=r"`input_dropout` is for inputs that are one array, got \(float64\[4, 5, 2\]"):
        unroll(noisy, with_key(noisy, noisy.init(KEY, 2, jnp.float64), KEY), entries)
    noisy = regularize(GRU(3), recurrent_dropout=0.1)
    params, xs = noisy.init(KEY, 2), np.ones((4, 5, 2), np.float32)
    with pytest.raises(ValueError, match="`carry` of GRU must be"):
        unroll(noisy, with_key(noisy, params, KEY), xs, noisy.init_carry((4,)))


def test_masks_are_the_same_with_64_bits_or_without():
    network = regularize(LSTM(4), input_dropout=0.4, recurrent_dropout=0.3, zoneout=(0.2, 0.5))
    found = []
    for on in (False, True):
        with jax.enable_x64(on):
            params = network.init(jax.random.key(0), 3, jnp.float32)
            xs = jnp.ones((6, 2, 3), jnp.float32)
            _, ys = unroll(network, with_key(network, params, jax.random.key(1)), xs)
            found.append((np.asarray(ys), np.asarray(sequence_dropout(jax.random.key(2), xs, 0.3))))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *found)
