"""Beam search against all sentences where the beam is wide enough, and against a plain beam where it is not."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jaxrnn.decoding import beam_search, generate, log_probability
from tests.checks import assert_close
from tests.decoding.steps import Carry, bound, chain, counting, draw, log_softmax, step, step_by_hand

PENALTIES = [0.0, 0.6, 1.0]
SPARSE, SPARSE_END = 16, 7


def score(log_p: float, n: int, penalty: float) -> float:
    return log_p / ((5 + n) / 6) ** penalty


def padded(tokens, length: int, end: int) -> list[int]:
    return [*tokens, *[end] * (length - len(tokens))]


def all_sentences(step, carry, first, length, end, vocabulary, penalty):
    """(score, tokens) of every sentence that ends or has `length` tokens, the best first."""
    found = []

    def follow(carry, token, log_p, tokens):
        if tokens and (tokens[-1] == end or len(tokens) == length):
            found.append((score(log_p, len(tokens), penalty), tokens))
            return
        carry, logits = step(carry, token)
        for following, more in zip(range(vocabulary), log_softmax(logits), strict=True):
            if more > -np.inf:
                follow(carry, following, log_p + more, [*tokens, following])

    follow(carry, first, 0.0, [])
    return sorted(found, key=lambda hypothesis: -hypothesis[0])


def plain_beam(step, carry, first, length, width, end, penalty):
    """(score, tokens), the best first: lists of hypotheses, sorted anew at each step."""
    beam = [(0.0, 0.0, [], carry, first)]
    for _ in range(length):
        candidates = []
        for old_score, log_p, tokens, carry, token in beam:
            if tokens and tokens[-1] == end:
                candidates.append((old_score, log_p, tokens, carry, token))
                continue
            after, logits = step(carry, token)
            for following, more in enumerate(log_softmax(logits)):
                new = [*tokens, following]
                candidates.append((score(log_p + more, len(new), penalty), log_p + more, new, after, following))
        beam = sorted(candidates, key=lambda candidate: -candidate[0])[:width]  # stable
    return [(s, tokens) for s, _, tokens, *_ in beam]


def assert_same(beams, expected, length: int, end: int) -> None:
    assert beams.tokens.tolist() == [padded(tokens, length, end) for _, tokens in expected]
    assert beams.lengths.tolist() == [len(tokens) - (tokens[-1] == end) for _, tokens in expected]
    assert_close(beams.scores, np.array([s for s, _ in expected]), 1e-12)
    assert beams.tokens.dtype == beams.lengths.dtype == jnp.int32


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("vocabulary", [2, 5])
def test_two_tokens_are_searched_exactly(penalty, vocabulary):
    """The first step keeps every token, so the second compares all sentences but those that the last place cost."""
    for seed in range(6):
        weights, carry = draw(seed, vocabulary, scale=1.0)
        beams = beam_search(bound(weights), carry, 0, 2, width=vocabulary, end=1, length_penalty=penalty)
        by_hand = functools.partial(step_by_hand, weights)
        expected = all_sentences(by_hand, carry, 0, 2, 1, vocabulary, penalty)
        assert_same(beams, expected[:vocabulary], 2, 1)


def only_few(xp, carry, logits):
    """The end and one or two tokens more are possible, others at each place, as all tokens before decide."""
    number = xp.arange(SPARSE, dtype=xp.int32)
    second = (number == 3) & (carry.h[0] > -0.5)
    return carry, xp.where((number == SPARSE_END) | (number == 8 + carry.age) | second, logits, -xp.inf)


def sparse_step(weights, carry, token):
    return only_few(jnp, *step(weights, carry, token))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_beam_with_a_place_for_each_sentence_is_exact(penalty):
    """At most 15 sentences of up to 3 tokens are possible, and of 16 places those left are empty."""
    counted = set()
    for seed in range(8):
        weights, carry = draw(seed, SPARSE, scale=1.0)

        def by_hand(carry, token, weights=weights):
            return only_few(np, *step_by_hand(weights, carry, token))

        expected = all_sentences(by_hand, carry, 0, 3, SPARSE_END, SPARSE, penalty)
        how = {"width": SPARSE, "end": SPARSE_END, "length_penalty": penalty}
        beams = beam_search(Partial(sparse_step, weights), carry, 0, 3, **how)
        found = len(expected)
        assert_same(jax.tree.map(lambda leaf, found=found: leaf[:found], beams), expected, 3, SPARSE_END)
        assert (beams.scores[found:] == -np.inf).all() and (beams.lengths[found:] == 0).all()
        assert (beams.tokens[found:] == SPARSE_END).all()
        counted.add(found)
    assert min(counted) < 8 < max(counted) < SPARSE


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("vocabulary, width, length", [(4, 2, 7), (6, 3, 5), (5, 5, 6)])
def test_a_narrow_beam_is_the_plain_one(penalty, vocabulary, width, length):
    lengths = set()
    for seed in range(12):
        weights, carry = draw(seed, vocabulary, scale=0.8)
        how = {"width": width, "end": 1, "length_penalty": penalty}
        beams = beam_search(bound(weights), carry, 2, length, **how)
        expected = plain_beam(functools.partial(step_by_hand, weights), carry, 2, length, width, 1, penalty)
        assert_same(beams, expected, length, 1)
        lengths |= set(beams.lengths.tolist())
    assert {0, length} < lengths


def test_a_beam_of_one_is_greedy():
    for seed in range(8):
        weights, carry = draw(seed, vocabulary=5)
        beams = beam_search(bound(weights), carry, 1, 7, width=1, end=3, length_penalty=0.6)
        greedy = generate(bound(weights), carry, 1, 7, end=3)
        assert beams.tokens[0].tolist() == greedy.tokens.tolist() and beams.lengths[0] == greedy.length


@pytest.mark.parametrize("penalty", PENALTIES)
def test_scores_are_those_of_the_sentences(penalty):
    """As `log_probability` gives them, and `lengths + 1` counts the end."""
    weights, carry = draw(4, vocabulary=6, scale=0.8)
    beams = beam_search(bound(weights), carry, 0, 5, width=6, end=2, length_penalty=penalty)
    counted = np.minimum(beams.lengths + 1, 5)
    log_p = jax.vmap(lambda tokens, n: log_probability(bound(weights), carry, 0, tokens, n))(beams.tokens, counted)
    assert_close(beams.scores, np.asarray(log_p) / ((5 + counted) / 6) ** penalty, 1e-12)
    assert len(set(counted.tolist())) > 1 and (np.diff(beams.scores) <= 0).all()


def test_the_penalty_favours_the_longer_sentence():
    """0.4 against 0.6 * 0.6: divided by 7/6 for two tokens the second wins."""
    table = [[0.0, 0.0, 0.0], [0.4, 0.0, 0.6], [0.6, 0.4, 0.0]]
    plain, penalised = (beam_search(*chain(table), 1, 4, width=2, end=0, length_penalty=a) for a in (0.0, 1.0))
    assert plain.tokens[0].tolist() == [0, 0, 0, 0] and penalised.tokens[0].tolist() == [2, 0, 0, 0]
    np.testing.assert_allclose(plain.scores, np.log([0.4, 0.36]), rtol=1e-12)
    np.testing.assert_allclose(penalised.scores, [np.log(0.36) / (7 / 6), np.log(0.4)], rtol=1e-12)


def test_a_beam_finds_what_greedy_misses():
    table = [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.6, 0.4], [0.5, 0.25, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0]]
    assert beam_search(*chain(table), 1, 4, width=1, end=0).tokens.tolist() == [[2, 0, 0, 0]]
    beams = beam_search(*chain(table), 1, 4, width=2, end=0)
    assert beams.tokens.tolist() == [[3, 0, 0, 0], [2, 0, 0, 0]] and beams.lengths.tolist() == [1, 1]
    np.testing.assert_allclose(np.exp(beams.scores), [0.4, 0.3], rtol=1e-12)


def test_of_equal_scores_the_better_hypothesis_and_the_lowest_token_come_first():
    uniform = Partial(lambda carry, token: (carry, jnp.zeros(3)))
    beams = beam_search(uniform, (), 1, 2, width=3, end=0)
    assert beams.tokens.tolist() == [[0, 0], [1, 0], [1, 1]] and beams.lengths.tolist() == [0, 1, 2]
    beams = beam_search(uniform, (), 1, 3, width=2, end=2)
    assert beams.tokens.tolist() == [[0, 0, 0], [0, 0, 1]]


def nan_after(count: int, table):
    """The chain of a table until `count` tokens have been read, then NaN."""
    log_table = np.log(np.array(table))

    def step(read, token):
        return read + 1, jnp.where(read < count, jnp.asarray(log_table)[token], jnp.nan)

    return step, jnp.int32(0)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_nan_is_seen_in_every_score(count):
    table = [[0.2, 0.4, 0.4]] * 3
    beams = beam_search(*nan_after(count, table), 0, 5, width=3, end=0)
    assert np.isnan(beams.scores).all() and (beams.tokens == -1).all() and (beams.lengths == 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_of_one_live_hypothesis_is_enough(bad):
    with np.errstate(divide="ignore"):
        table = np.log([[1.0, 0.0, 0.0], [0.2, 0.4, 0.4], [0.5, 0.5, 0.0]])
    table[2, 1] = bad
    beams = beam_search(Partial(lambda table, carry, token: (carry, table[token]), table), (), 1, 3, width=3, end=0)
    assert np.isnan(beams.scores).all()


def test_nan_after_all_have_finished_or_in_an_empty_place_is_never_met():
    """Here too: while another sequence of the batch still runs, and after a finished hypothesis beside a live one."""
    with np.errstate(divide="ignore"):
        table = np.log([[np.nan] * 4, [0.25, 0.75, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [np.nan] * 4])
    run = functools.partial(beam_search, Partial(lambda table, carry, token: (carry, table[token]), table), ())
    beams = jax.vmap(lambda first: run(first, 3, width=4, end=0))(jnp.array([1, 2]))
    assert beams.tokens[0].tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert beams.lengths.tolist() == [[3, 0, 1, 2], [0, 0, 0, 0]]
    np.testing.assert_allclose(np.exp(beams.scores), [[27 / 64, 1 / 4, 3 / 16, 9 / 64], [1, 0, 0, 0]], rtol=1e-12)
    assert np.isfinite(beam_search(*nan_after(1, [[0.98, 0.01, 0.01]] * 3), 0, 4, width=1, end=0).scores).all()


def test_a_negative_first_token_is_none():
    run = jax.vmap(lambda first: beam_search(*chain([[0.5, 0.5]] * 2), first, 3, width=2, end=0).scores)
    scores = run(jnp.array([-1, 1]))
    assert np.isnan(scores[0]).all() and np.isfinite(scores[1]).all()


@pytest.mark.parametrize("penalty", [0.0, 0.6])
def test_a_batch_is_a_vmap(penalty):
    drawn = [draw(seed, vocabulary=5, scale=1.0) for seed in range(4)]
    weights, carries = jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)

    def one(weights, carry, first):
        return beam_search(bound(weights), carry, first, 6, width=3, end=2, length_penalty=penalty)

    batch = jax.vmap(one)(weights, carries, jnp.arange(4))
    each = [one(*drawn[b], b) for b in range(4)]
    assert batch.tokens.tolist() == [one.tokens.tolist() for one in each]
    assert_close(batch, jax.tree.map(lambda *leaves: np.stack(leaves), *each), 1e-12)


def test_sixteen_bits_are_summed_in_float32():
    weights, carry = draw(2, vocabulary=5)

    def narrow(weights, carry, token):
        carry, logits = step(weights, carry, token)
        return carry, logits.astype(jnp.bfloat16)

    def rounded(weights, carry, token):
        carry, logits = step(weights, carry, token)
        return carry, logits.astype(jnp.bfloat16).astype(jnp.float64)

    beams, wide = (beam_search(Partial(f, weights), carry, 0, 6, width=4, end=1) for f in (narrow, rounded))
    assert beams.scores.dtype == jnp.float32 and beams.tokens.tolist() == wide.tokens.tolist()
    assert_close(beams.scores, wide.scores, 1e-6)


def test_other_weights_compile_nothing():
    counted, traces = counting()

    def run(seed, width=2):
        weights, carry = draw(seed, vocabulary=4)
        return beam_search(Partial(counted, weights), carry, seed, 5, width=width, end=1, length_penalty=0.6)

    run(0)
    first = len(traces)
    for seed in range(1, 4):
        run(seed)
    assert len(traces) == first > 0
    run(0, width=3)
    assert len(traces) > first


def test_what_does_not_fit_is_refused_in_words(without_type_checks):
    weights, carry = draw(0, vocabulary=4)
    run = functools.partial(beam_search, bound(weights), carry)
    with pytest.raises(ValueError, match="beam_search: `width` is 5, wider than the vocabulary of 4 tokens. Give at"):
        run(0, 3, width=5, end=0)
    for width, length in itertools.product((0, 2.0), (3,)):
        with pytest.raises(ValueError, match="beam_search: `width` must be a whole number of at least 1"):
            run(0, length, width=width, end=0)
    with pytest.raises(ValueError, match="beam_search: `length` must be a whole number of at least 1, got 0"):
        run(0, 0, width=2, end=0)
    with pytest.raises(ValueError, match="beam_search: `end` must be a token of the vocabulary, 0 to 3, got 4"):
        run(0, 3, width=2, end=4)
    with pytest.raises(TypeError, match="beam_search: `end` must be a whole number that is not traced, got None"):
        run(0, 3, width=2, end=None)
    for penalty in (-0.1, float("nan"), float("inf"), "long"):
        with pytest.raises(ValueError, match="beam_search: `length_penalty` must be a number of at least 0, got"):
            run(0, 3, width=2, end=0, length_penalty=penalty)
    with pytest.raises(ValueError, match=r"beam_search: `first` must be one token, got shape \(2,\)"):
        run(np.array([0, 1]), 3, width=2, end=0)
    with pytest.raises(ValueError, match=r"beam_search: `step` must return a carry like `carry`; .h was"):
        beam_search(lambda c, token: (Carry(c.h[:2], c.age), jnp.zeros(3)), carry, 0, 3, width=2, end=0)
    with pytest.raises(TypeError, match="beam_search: `step` must be called as step"):
        beam_search("step", carry, 0, 3, width=2, end=0)
