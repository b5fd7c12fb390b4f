"""What lectures on recurrent networks say, run: where a claim holds, where it does not, and by how much."""

import math
from collections import Counter
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from sacrebleu.metrics.bleu import BLEU

from jaxrnn import (
    GRU,
    LSTM,
    ConstantErrorCarousel,
    Elman,
    ElmanJordan,
    GatedParams,
    HiddenCarry,
    Jordan,
    OriginalLSTM,
    unroll,
)
from jaxrnn.cells.gru import negate_update_gate
from jaxrnn.gradients import adjoint_norms
from jaxrnn.initializers import Identity
from tests.checks import assert_close

FLOAT = jnp.float64
EXACT = 1e-12
DEFECTIVE = np.array([[0.9, 10.0], [0.0, 0.9]])  # both eigenvalues .9, far from normal


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def draw_params(cell, features, scale=0.5):
    """Every parameter of a cell normal; drawn by NumPy, which has nothing to compile."""
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), features, FLOAT))
    return jax.tree.map(lambda leaf: scale * draw(leaf.size, *leaf.shape), shapes)


def orthogonal(seed, size):
    return np.linalg.qr(np.asarray(draw(seed, size, size)))[0]


def last_output(ys):
    return ys[-1].sum(axis=-1)


# Clipping


def flat(gradient):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])


def rescaled(gradient, norm):
    """The same direction with another norm."""
    return jax.tree.map(lambda x: x * norm / np.linalg.norm(flat(gradient)), gradient)


def clip(transformation, gradient):
    return transformation.update(gradient, transformation.init(gradient))[0]


def cosine(a, b):
    return flat(a) @ flat(b) / (np.linalg.norm(flat(a)) * np.linalg.norm(flat(b)))


GRADIENT = {"input": draw(0, 3, 4), "recurrent": draw(1, 4, 4)}


def clip_without_root(gradient, c):
    """Clipping by norm as slides write it, the root left out: if sum g^2 > c then g * c / sum g^2."""
    squared = np.sum(flat(gradient) ** 2)
    return jax.tree.map(lambda x: x * min(1, c / squared), gradient)


@pytest.mark.parametrize(
    ("norm", "right", "without_root"), [(2.0, 2.0, 2.0), (3.0, 3.0, 5 / 3), (6.0, 5.0, 5 / 6), (100.0, 5.0, 0.05)]
)
def test_clipping_by_norm_needs_the_square_root(norm, right, without_root):
    # Claim: above a threshold c, scale the gradient by c over its sum of squares, so that its norm becomes c.
    # Not true: it becomes c / ||g||, from sqrt(c) on, and a larger gradient takes a smaller step. Optax takes the root.
    gradient = rescaled(GRADIENT, norm)
    clipped = clip(optax.clip_by_global_norm(5.0), gradient)
    np.testing.assert_allclose(np.linalg.norm(flat(clipped)), right, rtol=EXACT)
    np.testing.assert_allclose(np.linalg.norm(flat(clip_without_root(gradient, 5.0))), without_root, rtol=EXACT)


def test_clipping_by_value_turns_the_gradient():
    # Claim: clipping keeps the direction of descent and shortens the step.
    # True of clipping by norm alone; clipping by value bounds each entry by itself, and turns the gradient.
    gradient = rescaled(GRADIENT, 100.0)
    by_norm, by_value = clip(optax.clip_by_global_norm(5.0), gradient), clip(optax.clip(5.0), gradient)
    np.testing.assert_allclose(cosine(by_norm, gradient), 1, rtol=EXACT)
    assert 0 < cosine(by_value, gradient) < 0.9
    np.testing.assert_array_equal(flat(by_value), np.clip(flat(gradient), -5, 5))
    assert np.linalg.norm(flat(by_value)) > 5  # so the bound is none on the norm


# Singular values and eigenvalues


def norms_of_powers(matrix, time=101):
    """ln of the Frobenius norm of W^k for k = time - 1 ... 0: adjoint norms of h' = W h, one sample a unit vector."""
    size = len(matrix)
    cell = Elman(size, "identity")
    params = GatedParams(jnp.zeros((1, size), FLOAT), jnp.asarray(matrix.T), jnp.zeros(size, FLOAT))
    norms = adjoint_norms(cell, params, jnp.zeros((time, size, 1), FLOAT), lambda ys: jnp.diagonal(ys[-1]))
    return np.logaddexp.reduce(2 * np.asarray(norms), axis=-1) / 2


@pytest.mark.parametrize(
    ("matrix", "steps"),
    [(np.diag([16.0, 16.0, 16.0], k=1), 4), (DEFECTIVE, 100)],
    ids=["nilpotent", "defective"],
)
def test_a_largest_singular_value_above_one_may_come_with_gradients_that_vanish(matrix, steps):
    # Claim: a largest singular value above 1 makes gradients explode.
    # Not true, it is only necessary: none explodes without it; with it they may vanish, even to an exact zero.
    assert np.linalg.svd(matrix)[1][0] > 10
    logs = norms_of_powers(matrix, time=steps + 1)
    power = np.linalg.norm(np.linalg.matrix_power(matrix, steps))
    assert power < 0.03
    if power == 0:
        assert logs[0] == -np.inf and np.isfinite(logs[1:]).all()
    else:
        np.testing.assert_allclose(np.exp(logs[0]), power, rtol=1e-10)


@pytest.mark.parametrize(("activation", "slope"), [("tanh", 1.0), ("sigmoid", 0.25)])
def test_a_largest_singular_value_below_one_over_the_slope_suffices_for_vanishing(activation, slope):
    # Claim: gradients vanish where the largest singular value is below 1.
    # True below 1 / gamma, gamma the largest slope: 1 for tanh, 1/4 for the logistic function; bound (gamma sigma)^k.
    time, sigma = 60, 0.9 / slope
    cell = Elman(8, activation)
    recurrent = sigma * orthogonal(2, 8)
    params = GatedParams(draw(3, 2, 8), jnp.asarray(recurrent), jnp.zeros(8, FLOAT))
    xs = draw(4, time, 5, 2) * np.array([0.0, 1, 1, 1, 1])[:, None]
    still = activation == "tanh"  # tanh without input stays at 0, its steepest point: there the bound is reached
    norms = np.asarray(adjoint_norms(cell, params, xs, last_output))
    shrunk, bound = norms - norms[-1], np.arange(time - 1, -1, -1)[:, None] * np.log(slope * sigma)
    np.testing.assert_allclose(np.linalg.svd(recurrent)[1], sigma, rtol=EXACT)
    assert (shrunk[:, still:] <= bound + EXACT).all() and (shrunk[0, still:] < bound[0] - 1).all()
    if still:
        np.testing.assert_allclose(shrunk[:, 0], bound[:, 0], rtol=1e-10, atol=EXACT)


def test_a_saturated_network_vanishes_above_the_bound():
    # Claim: with a largest singular value above 1 / gamma a tanh network's gradients explode.
    # Not true: it takes small states too. The slope 1 - h^2 falls with |h|; here twice an orthogonal matrix vanishes.
    params = GatedParams(draw(3, 2, 8), jnp.asarray(2 * orthogonal(2, 8)), jnp.asarray(np.full(8, 6.0)))
    norms = np.asarray(adjoint_norms(Elman(8, "tanh"), params, draw(4, 60, 5, 2), last_output))
    assert (norms[0] - norms[-1] < -20).all()


def test_the_eigen_decomposition_by_a_transpose_holds_for_symmetric_matrices_alone():
    # Claim: W = Q D Q^T, so W^k = Q D^k Q^T.
    # True of symmetric W; others need the inverse of Q, and some have no eigen-decomposition at all.
    W = np.asarray(draw(3, 6, 6))
    eigenvalues, Q = np.linalg.eigh(W + W.T)
    np.testing.assert_allclose(Q * eigenvalues @ Q.T, W + W.T, atol=EXACT)
    np.testing.assert_allclose(Q * eigenvalues**5 @ Q.T, np.linalg.matrix_power(W + W.T, 5), rtol=1e-10, atol=1e-8)
    eigenvalues, Q = np.linalg.eig(W)
    assert np.abs(Q * eigenvalues @ Q.T - W).max() > 0.1
    np.testing.assert_allclose(Q * eigenvalues @ np.linalg.inv(Q), W, atol=EXACT)
    _, Q = np.linalg.eig(DEFECTIVE)
    assert np.linalg.matrix_rank(Q, tol=1e-10) == 1


def test_eigenvalues_rule_a_linear_network_along_their_eigenvectors():
    # Claim: gradients vanish along eigenvectors with |lambda| < 1 and explode along those with |lambda| > 1.
    # True, exactly by |lambda|^k, in a linear network with symmetric W.
    Q = orthogonal(4, 5)
    eigenvalues = np.array([-1.2, -0.8, 0.5, 1.0, 1.1])
    params = GatedParams(jnp.zeros((1, 5), FLOAT), jnp.asarray(Q * eigenvalues @ Q.T), jnp.zeros(5, FLOAT))
    xs = jnp.zeros((11, 5, 1), FLOAT)
    norms = adjoint_norms(Elman(5, "identity"), params, xs, lambda ys: (ys[-1] * Q.T).sum(axis=-1))
    lags = np.arange(10, -1, -1)[:, None]
    np.testing.assert_allclose(norms, lags * np.log(np.abs(eigenvalues)), rtol=1e-10, atol=EXACT)


def test_the_spectral_radius_misleads_where_a_matrix_is_far_from_normal():
    # Claim: a spectral radius below 1 makes the gradients of a linear network vanish.
    # True only as k grows: with radius .9 they first grow to 38.7 at lag 9, and fall below 1 after lag 62.
    spectral = np.array([np.linalg.norm(np.linalg.matrix_power(DEFECTIVE, k), 2) for k in range(101)])
    assert spectral.argmax() == 9 and np.flatnonzero(spectral > 1).max() == 62
    np.testing.assert_allclose(spectral[[9, 50, 100]], [38.746, 2.8632, 0.029513], rtol=1e-4)
    frobenius = [np.linalg.norm(np.linalg.matrix_power(DEFECTIVE, k)) for k in range(100, -1, -1)]
    np.testing.assert_allclose(np.exp(norms_of_powers(DEFECTIVE)), frobenius, rtol=1e-10)


def test_the_spectral_radius_of_the_weights_says_nothing_of_a_nonlinear_network():
    # Claim: gradients of a tanh network vanish where the spectral radius of W is below 1.
    # Not true: here it is 0, W W = 0, and at the fixed point J = D W with J J = 2 J: the norm doubles for ever.
    W, x = np.array([[8.0, 8.0], [-8.0, -8.0]]), np.array([0.0, np.arctanh(0.5)])
    assert np.linalg.svd(W)[1][0] == pytest.approx(16, rel=EXACT) and not (W @ W).any()
    h = np.tanh(x)
    J = (1 - h**2)[:, None] * W
    np.testing.assert_allclose(J @ J, 2 * J, rtol=EXACT)
    # The first input takes the state to the fixed point, where the biases alone then hold it.
    params = GatedParams(jnp.asarray((W @ h)[None]), jnp.asarray(W.T), jnp.asarray(x - W @ h))
    xs = jnp.zeros((11, 2, 1), FLOAT).at[0].set(1.0)
    norms = adjoint_norms(Elman(2), params, xs, lambda ys: jnp.diagonal(ys[-1]))
    grown = np.exp(np.logaddexp.reduce(2 * np.asarray(norms), axis=-1) / 2)[::-1]
    np.testing.assert_allclose(grown[1:], np.linalg.norm(J) * 2.0 ** np.arange(10), rtol=1e-9)
    np.testing.assert_allclose(grown[1:4], [14.142, 28.284, 56.569], rtol=1e-4)


# Constant error flow


def test_constant_error_flow_holds_along_the_cell_path_alone():
    # Claim: the memory cell of an LSTM carries the error back unchanged.
    # True along c with every other path cut; through the whole state, h too, it is not, with no forget gate either.
    cells = (ConstantErrorCarousel(6, cut=True), ConstantErrorCarousel(6), OriginalLSTM(6))
    cut, carousel, lstm = (
        np.asarray(adjoint_norms(cell, draw_params(cell, 2, 0.1), draw(5, 31, 3, 2), last_output)) for cell in cells
    )
    assert np.isfinite(cut).all() and (cut == cut[-1]).all()
    for norms in (carousel, lstm):
        assert (np.abs(norms[0] - norms[-2]) > 0.1).all()


# Teacher forcing


OUTPUTS, STEPS = 3, 9
FORCED_XS, TARGETS = draw(6, STEPS, 2), jax.nn.sigmoid(draw(7, STEPS, OUTPUTS))


def previous(targets):
    """The target of the step before, zeros before the first."""
    return jnp.concatenate([jnp.zeros_like(targets[:1]), targets[:-1]])


def squared_error(ys, targets):
    return jnp.sum((ys - targets) ** 2), ys


def forced_in_sequence(params, cell, targets):
    """Step after step, the output in the carry replaced by the target each time."""

    def step(carry, inputs):
        x, target = inputs
        carry, ys = unroll(cell, params, x[None], carry._replace(o=target))
        return carry, ys[0]

    return squared_error(lax.scan(step, cell.init_carry((), FLOAT), (FORCED_XS, previous(targets)))[1], targets)


def forced_in_parallel(params, cell, targets):
    """All steps at once: a batch of sequences of one step each, which know nothing of one another."""
    carry = cell.init_carry((STEPS,), FLOAT)._replace(o=previous(targets))
    return squared_error(unroll(cell, params, FORCED_XS[None], carry)[1][0], targets)


def free_running(params, cell, targets):
    return squared_error(unroll(cell, params, FORCED_XS)[1], targets)


def jordan(way, targets):
    """Value, outputs and gradient of a Jordan network."""
    cell = Jordan(4, OUTPUTS)
    params = draw_params(cell, 2)
    (value, ys), gradient = jax.jit(jax.value_and_grad(way, has_aux=True), static_argnums=1)(params, cell, targets)
    return value, ys, gradient


def test_teacher_forcing_separates_the_steps_where_the_output_alone_is_fed_back():
    # Claim: a network that feeds back its output can be trained separately, and in parallel, at each step.
    # True exactly where the targets replace those outputs: value and gradient then equal the sequential run's.
    forced = jordan(forced_in_sequence, TARGETS)
    assert_close(jordan(forced_in_parallel, TARGETS), forced, EXACT)
    _, ys, gradient = jordan(free_running, TARGETS)
    assert np.abs(ys - forced[1])[1:].max() > 1e-2 and np.abs(ys - forced[1])[0].max() < EXACT
    assert np.abs(gradient.feedback - forced[2].feedback).max() > 1e-2


def test_even_perfect_targets_cut_the_path_through_the_outputs():
    # Claim: once outputs equal targets, teacher forcing and free running are the same.
    # True of values; a gradient by teacher forcing still lacks the paths through the outputs of earlier steps.
    cell = Jordan(4, OUTPUTS)
    params = draw_params(cell, 2)
    _, own = free_running(params, cell, TARGETS)

    def last_step(way):
        return jax.jit(jax.value_and_grad(lambda p: way(p, cell, own)[1][-1].sum()))(params)

    (forced, forced_gradient), (free, free_gradient) = last_step(forced_in_parallel), last_step(free_running)
    np.testing.assert_allclose(forced, free, rtol=EXACT)
    assert np.abs(forced_gradient.feedback - free_gradient.feedback).max() > 1e-3


def test_teacher_forcing_does_not_separate_steps_joined_by_the_hidden_state():
    # Claim: with teacher forcing, steps are independent.
    # Not true where the hidden state is fed back too: the parallel steps then lack it.
    cell = ElmanJordan(4, OUTPUTS)
    params = draw_params(cell, 2)
    _, in_sequence = forced_in_sequence(params, cell, TARGETS)
    _, in_parallel = forced_in_parallel(params, cell, TARGETS)
    assert np.abs(in_sequence - in_parallel)[1:].min(axis=0).max() > 1e-3


# The GRU's update gate


@dataclass(frozen=True)
class WritingGRU(GRU):
    """h' = (1 - z) * h + z * n, as other lectures have it."""

    def update(self, pointwise, carry, u, v):
        z, r = jax.nn.sigmoid(u[0] + v[0]), jax.nn.sigmoid(u[1] + v[1])
        n = jnp.tanh(u[2] + r * (v[2] + pointwise))
        return HiddenCarry((1 - z) * carry.h + z * n)


def test_the_update_gate_that_writes_is_the_one_that_keeps_with_the_sign_changed():
    # Claim: z keeps the old state, h' = z h + (1 - z) n; another lecture: z writes, h' = (1 - z) h + z n.
    # True both, of one network: 1 - sigmoid(a) = sigmoid(-a), so `negate_update_gate` converts the weights.
    params, xs = draw_params(GRU(4), 2), draw(8, 12, 3, 2)
    written = unroll(WritingGRU(4), params, xs)
    assert_close(unroll(GRU(4), negate_update_gate(params), xs), written, EXACT)
    assert np.abs(unroll(GRU(4), params, xs)[1] - written[1]).max() > 0.1


# BLEU


CANDIDATE = "the grey cat sleeps on a warm roof".split()
REFERENCE = "the small grey cat sleeps on the warm roof tonight".split()


def precisions(candidate, reference):
    """Clipped n-gram precisions for n = 1 ... 4."""

    def counted(words, n):
        return Counter(zip(*(words[i:] for i in range(n)), strict=False))

    counts = [(counted(candidate, n), counted(reference, n)) for n in range(1, 5)]
    return [(c & r).total() / c.total() for c, r in counts]


def bleu(candidate, reference):
    return BLEU(smooth_method="none", tokenize="none").corpus_score([" ".join(candidate)], [[" ".join(reference)]])


def test_bleu_is_a_geometric_mean_with_a_penalty_for_short_candidates():
    # Claim: BLEU is the sum of w_n p_n times a penalty exp(1 - c / r) for a candidate of c words, the reference of r.
    # Not true: exp(sum of w_n ln p_n) times exp(1 - r / c) where c < r. This pair, of our own: 33.3, by theirs 60.5.
    c, r, p = len(CANDIDATE), len(REFERENCE), precisions(CANDIDATE, REFERENCE)
    score = bleu(CANDIDATE, REFERENCE)
    assert (c, r) == (8, 10) == (score.sys_len, score.ref_len)
    assert p == [7 / 8, 4 / 7, 2 / 6, 1 / 5]
    geometric, penalty = math.exp(sum(0.25 * math.log(x) for x in p)), math.exp(1 - r / c)
    np.testing.assert_allclose(score.bp, penalty, rtol=EXACT)
    np.testing.assert_allclose(score.score, 100 * penalty * geometric, rtol=EXACT)
    np.testing.assert_allclose(score.score, 33.2771, atol=1e-3)
    arithmetic, turned_over = sum(0.25 * x for x in p), math.exp(1 - c / r)
    np.testing.assert_allclose(100 * arithmetic * turned_over, 60.4522, atol=1e-3)  # the slides' whole formula
    assert 100 * arithmetic * penalty > score.score + 5  # each of its two faults by itself
    assert turned_over > 1 > penalty and 100 * turned_over * geometric > score.score + 15


def test_bleu_is_zero_without_one_common_four_gram_and_does_not_reward_length():
    # Claim: a mean of precisions, so some credit for words in any order.
    # Not true: one zero precision makes the geometric mean zero. A longer candidate has no penalty, nor a reward.
    shuffled = "roof warm the on sleeps cat grey small".split()
    assert precisions(shuffled, REFERENCE)[0] == 1 and bleu(shuffled, REFERENCE).score == 0
    longer = bleu(REFERENCE, CANDIDATE)
    assert longer.bp == 1
    np.testing.assert_allclose(longer.score, 100 * math.prod(precisions(REFERENCE, CANDIDATE)) ** 0.25, rtol=EXACT)


# Unfolding


def test_the_gradient_of_shared_weights_is_the_sum_over_their_copies():
    # Claim: the gradient of a shared weight is the mean (elsewhere: the sum) of those of its unfolded copies.
    # True is the sum: each copy W_t = W moves one to one with W, and the chain rule adds.
    cell, xs = LSTM(4), draw(9, 7, 3, 2)
    params = draw_params(cell, 2)

    def shared(params):
        return jnp.sum(unroll(cell, params, xs)[1] ** 2)

    def unfolded(copies):
        def step(carry, inputs):
            copy, x = inputs
            carry, ys = unroll(cell, copy, x[None], carry)
            return carry, ys[0]

        return jnp.sum(lax.scan(step, cell.init_carry((3,), FLOAT), (copies, xs))[1] ** 2)

    copies = jax.tree.map(lambda p: jnp.broadcast_to(p, (7, *p.shape)), params)
    by_copy = jax.jit(jax.grad(unfolded))(copies)
    assert_close(jax.tree.map(lambda g: g.sum(axis=0), by_copy), jax.grad(shared)(params), EXACT)
    assert np.abs(by_copy.recurrent[1:]).max(axis=(1, 2)).min() > 1e-3  # each copy has a share, but the first: h_0 = 0
    assert not by_copy.recurrent[0].any()


@pytest.mark.parametrize("features", [2, 0], ids=["with input", "without"])
def test_unfolding_is_the_repeated_application_of_one_function(features):
    # Claim: s_t = g_t(x_1 ... x_t) unfolds to f(... f(f(s_0, x_1), x_2) ..., x_t), also without input: f(f(s_0)).
    # True: g_t for each t is one f with one set of parameters, for inputs of no features too.
    cell, xs = Elman(4, input_init=Identity()), draw(10, 6, features)  # Glorot divides by the features
    params = GatedParams(draw(11, features, 4), draw(12, 4, 4), draw(13, 4))
    start = HiddenCarry(draw(14, 4))
    _, ys = unroll(cell, params, xs, start)
    s = np.asarray(start.h)
    for t, x in enumerate(np.asarray(xs)):
        s = np.tanh(x @ params.input + s @ params.recurrent + params.bias)
        np.testing.assert_allclose(ys[t], s, rtol=EXACT)
    middle, _ = unroll(cell, params, xs[:3], start)
    assert_close(unroll(cell, params, xs[3:], middle)[0].h, s, EXACT)
