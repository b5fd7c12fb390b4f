"""What clipping does to one gradient, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import GRU, unroll
from jaxrnn.gradients import clip_shares, clipping, contributions

KEY = jax.random.key(0)
CLIPS = {"norm": lambda c: optax.clip_by_global_norm(c), "value": lambda c: optax.clip(c)}


def gradient(dtype=jnp.float64, scale=1.0):
    keys = jax.random.split(KEY, 2)
    shapes = {"weight": (3, 4), "bias": (4,)}
    return {
        name: (scale * jax.random.normal(key, shape, jnp.float64)).astype(dtype)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def flat(tree):
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def expected(g, kind, c):
    after = np.clip(g, -c, c) if kind == "value" else g * min(1.0, c / np.linalg.norm(g))
    before, norm = np.linalg.norm(g), np.linalg.norm(after)
    return before, norm, norm / before, (after != g).mean(), g @ after / (before * norm)


@pytest.mark.parametrize("kind", ["norm", "value"])
@pytest.mark.parametrize("c", [0.3, 1.2, 50.0])
def test_against_numpy(kind, c):
    found = jax.jit(lambda g: clipping(g, CLIPS[kind](c)))(gradient())
    np.testing.assert_allclose(np.stack(found), expected(flat(gradient()), kind, c), rtol=1e-12)
    if kind == "norm":
        np.testing.assert_allclose(found.cosine, 1.0, rtol=1e-14)
    elif c < 50:
        assert 0.5 < found.cosine < 0.999 and 0 < found.fraction_clipped < 1


def test_norm_clipping_leaves_the_threshold_where_dividing_by_the_squared_norm_leaves_less():
    """c = 5, ||g|| = 100: c / ||g||^2 would leave a norm of .05, and fire at sqrt(5) already."""
    found = clipping(jnp.array([60.0, 80.0]), optax.clip_by_global_norm(5.0))
    np.testing.assert_allclose([found.norm_before, found.norm_after, found.coefficient], [100, 5, 0.05], rtol=1e-14)
    wrong = optax.stateless(lambda g, _: jax.tree.map(lambda x: x * 5.0 / jnp.sum(g**2), g))
    np.testing.assert_allclose(clipping(jnp.array([60.0, 80.0]), wrong).norm_after, 0.05, rtol=1e-14)
    small = clipping(jnp.array([3.0, 0.0]), optax.clip_by_global_norm(5.0))
    assert small.coefficient == 1 and small.fraction_clipped == 0


def test_many_gradients_and_the_share_of_updates_that_were_clipped():
    scales = jnp.array([0.01, 1.0, 10.0, 0.02], jnp.float64)
    many = jax.vmap(lambda s: jax.tree.map(lambda x: s * x, gradient()))(scales)
    found = jax.vmap(lambda g: clipping(g, optax.clip(1.0)))(many)
    assert np.mean(found.fraction_clipped > 0) == 0.5
    for i, s in enumerate(scales):
        np.testing.assert_allclose(found.cosine[i], expected(flat(gradient()) * float(s), "value", 1.0)[4], rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("kind", ["norm", "value"])
def test_float32_squares_do_not_leave_the_range(scale, kind):
    g = gradient(jnp.float32, scale)
    found = clipping(g, optax.clip(1e29) if kind == "value" else optax.identity())
    assert all(value.dtype == jnp.float32 for value in found)
    wanted = expected(flat(g), kind, 1e29 if kind == "value" else 1e38)
    np.testing.assert_allclose(np.stack(found), wanted, rtol=1e-6)


def test_bfloat16_is_measured_in_float32_and_dtypes_may_be_mixed():
    g = gradient(jnp.bfloat16, 3.0)
    found = clipping(g, optax.clip(1.0))
    assert found.norm_before.dtype == jnp.float32
    np.testing.assert_allclose(np.stack(found), expected(flat(g), "value", 1.0), rtol=1e-6)
    mixed = g | {"bias": g["bias"].astype(jnp.float64)}
    np.testing.assert_allclose(np.stack(clipping(mixed, optax.clip(1.0))), expected(flat(g), "value", 1.0), rtol=1e-6)


def test_complex_parameters():
    g = {"a": jnp.array([3 + 4j, 0j]), "b": jnp.array([12.0])}
    found = clipping(g, optax.clip_by_global_norm(6.5))
    np.testing.assert_allclose(np.stack(found), [13, 6.5, 0.5, 2 / 3, 1], rtol=1e-14)
    with pytest.raises(ValueError, match="[Cc]omplex"):
        clipping(g, optax.clip(1.0))


@pytest.mark.parametrize("kind", ["norm", "value"])
def test_a_gradient_of_zero_is_not_clipped(kind):
    found = clipping({"a": jnp.zeros((2, 3), jnp.float32)}, CLIPS[kind](1.0))
    assert [float(value) for value in found] == [0, 0, 1, 0, 1]


@pytest.mark.parametrize("kind", ["norm", "value"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_shows(kind, bad):
    found = clipping(jnp.array([1.0, bad, 2.0]), CLIPS[kind](1.0))
    assert np.array_equal(found.norm_before, bad, equal_nan=True)
    assert all(np.isnan(value) for value in (found.coefficient, found.fraction_clipped, found.cosine))
    overflow = clipping(jnp.full(4, 3e38, jnp.float32), CLIPS[kind](1.0))
    assert overflow.norm_before == np.inf and np.isnan(overflow.coefficient) and np.isnan(overflow.cosine)


def test_clipped_away_and_clipping_that_reads_parameters():
    gone = clipping(jnp.ones(2), optax.set_to_zero())
    assert gone.coefficient == 0 and gone.fraction_clipped == 1 and np.isnan(gone.cosine)
    g, params = jnp.array([[3.0, 4.0]]).T, jnp.array([[0.3, 0.4]]).T
    found = clipping(g, optax.adaptive_grad_clip(0.1), params)  # bounds ||g|| by a tenth of ||params||, unit by unit
    np.testing.assert_allclose(found.coefficient, 0.01, rtol=1e-12)


def test_what_is_no_gradient_is_refused(without_type_checks):
    with pytest.raises(TypeError, match=r"`clip` must be a transformation of Optax, got 1.0. .*clip_by_global_norm"):
        clipping(gradient(), 1.0)
    with pytest.raises(TypeError, match="must be floating point, got int32"):
        clipping(jnp.arange(3, dtype=jnp.int32), optax.clip(1.0))
    for empty in ((), jnp.zeros((0, 3))):
        with pytest.raises(ValueError, match="holds no entry"):
            clipping(empty, optax.clip(1.0))


def test_shares_of_steps_against_numpy():
    parts = {"w": jax.random.normal(KEY, (5, 2, 3), jnp.float64), "b": jnp.arange(10.0).reshape(5, 2) - 3}
    flats = np.stack([flat(jax.tree.map(lambda x, t=t: x[t], parts)) for t in range(5)])
    total, clipped = flats.sum(axis=0), np.clip(flats.sum(axis=0), -0.5, 0.5)
    found = jax.jit(lambda p: clip_shares(p, optax.clip(0.5)))(parts)
    np.testing.assert_allclose(found.before, flats @ total / (total @ total), rtol=1e-12)
    np.testing.assert_allclose(found.after, (flats * clipped / total) @ clipped / (clipped @ clipped), rtol=1e-12)
    np.testing.assert_allclose([found.before.sum(), found.after.sum()], 1, rtol=1e-12)
    assert np.abs(found.after - found.before).max() > 0.01
    by_norm = clip_shares(parts, optax.clip_by_global_norm(0.5))
    np.testing.assert_allclose(by_norm.after, by_norm.before, rtol=1e-12)


def test_shares_of_measured_contributions():
    cell, xs = GRU(3), jax.random.normal(KEY, (6, 4, 2), jnp.float64)
    params = cell.init(KEY, 2, jnp.float64)
    found = contributions(cell, params, xs, lambda ys: ys[-1].sum(axis=-1))
    in_full = jax.tree.map(lambda x: x * jnp.exp(found.log_norms).reshape(-1, *(1,) * (x.ndim - 1)), found.directions)
    clip = optax.clip(0.1)
    got, expected = clip_shares(found, clip), clip_shares(in_full, clip)
    np.testing.assert_allclose(np.stack(got), np.stack(expected), rtol=1e-12)
    np.testing.assert_allclose([got.before.sum(), got.after.sum()], 1, rtol=1e-12)
    gradient = jax.grad(lambda p: unroll(cell, p, xs)[1][-1].sum())(params)
    last = jax.tree.map(lambda x: x[-1], in_full)
    share = flat(last) @ flat(gradient) / (flat(gradient) @ flat(gradient))
    np.testing.assert_allclose(got.before[-1], share, rtol=1e-9)


def test_shares_of_no_gradient_are_nan_and_ragged_contributions_refused():
    cancelling = jnp.array([[1.0, 2.0], [-1.0, -2.0]])
    assert np.isnan(np.stack(clip_shares(cancelling, optax.clip(1.0)))).all()
    tiny = clip_shares(jnp.full((4, 3), 1e-30, jnp.float32), optax.clip(1.0))
    np.testing.assert_allclose(np.stack(tiny), 0.25, rtol=1e-6)
    with pytest.raises(ValueError, match="of the same time, got"):
        clip_shares((jnp.ones((2, 3)), jnp.ones((3, 3))), optax.clip(1.0))


def test_shares_by_what_is_no_clipping_are_refused(without_type_checks):
    with pytest.raises(TypeError, match="clip_shares: `clip` must be a transformation of Optax, got 1.0"):
        clip_shares(jnp.ones((2, 3)), 1.0)
