"""Strategies: which tokens may be chosen is tested on the logits themselves, exactly; a draw, by its frequencies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.decoding import Greedy, Nucleus, Temperature, TopK
from tests.checks import assert_close
from tests.decoding.steps import log_softmax

KEY = jax.random.key(3)
ALL = [Greedy(), Temperature(0.7), TopK(2), Nucleus(0.8)]
PROBABILITIES = np.array([0.125, 0.5, 0.125, 0.25])


def kept(strategy, logits) -> list[int]:
    return np.flatnonzero(np.isfinite(strategy.logits(jnp.asarray(logits)))).tolist()


def probabilities(strategy, logits) -> np.ndarray:
    return np.exp(log_softmax(np.asarray(strategy.logits(jnp.asarray(logits)), float)))


def nucleus_by_hand(p: float, each: np.ndarray) -> list[int]:
    """Token by token from the most likely, until the probability reaches p."""
    chosen, total = [], 0.0
    for token in sorted(range(len(each)), key=lambda token: (-each[token], token)):
        chosen.append(token)
        total += each[token]
        if total >= p:
            break
    return sorted(chosen)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_temperature(temperature):
    logits = np.random.default_rng(0).normal(size=7)
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    assert_close(probabilities(Temperature(temperature), logits), expected, 1e-14)
    for strategy in (TopK(7, temperature), Nucleus(1.0, temperature)):
        assert_close(probabilities(strategy, logits), expected, 1e-14)


@pytest.mark.parametrize("seed", range(4))
def test_top_k_and_nucleus_renormalise_what_they_keep(seed):
    logits = np.random.default_rng(seed).normal(size=9) * 2
    cooled = np.exp(log_softmax(logits / 0.6))
    for k in (1, 4, 9):
        expected = np.where(cooled >= np.sort(cooled)[-k], cooled, 0)
        assert_close(probabilities(TopK(k, 0.6), logits), expected / expected.sum(), 1e-13)
    for p in (1e-9, 0.3, 0.6, 0.95):
        inside = nucleus_by_hand(p, cooled)
        assert kept(Nucleus(p, 0.6), logits) == inside
        expected = np.where(np.isin(np.arange(9), inside), cooled, 0)
        assert_close(probabilities(Nucleus(p, 0.6), logits), expected / expected.sum(), 1e-13)


@pytest.mark.parametrize(
    "p, expected", [(0.1, [1]), (0.5, [1]), (0.51, [1, 3]), (0.75, [1, 3]), (0.8, [0, 1, 3]), (0.9, [0, 1, 2, 3])]
)
def test_a_nucleus_reaches_p_and_no_further(p, expected):
    """These sums are exact: 1/2, 3/4, 7/8; of the equal ones token 0 comes before token 2."""
    assert nucleus_by_hand(p, PROBABILITIES) == expected
    for dtype in (np.float32, np.float64):
        assert kept(Nucleus(p), np.log(PROBABILITIES).astype(dtype)) == expected


def test_a_nucleus_of_one_keeps_what_rounding_would_lose():
    logits = np.float32([0.0, -40.0, -1.0, -np.inf])
    assert kept(Nucleus(1.0), logits) == [0, 1, 2]
    assert kept(Nucleus(1.0), np.float32([0.0, -95.0, -120.0])) == [0, 1, 2]  # probabilities that float32 has not
    assert kept(Nucleus(1 - 1e-15), logits) == [0, 2]


def test_the_smallest_nucleus_holds_one_token():
    assert kept(Nucleus(1e-9), np.float32([0.0, 1.0, 0.5])) == [1]


def test_of_equal_ones_the_lowest_number_comes_first():
    equal = np.zeros(5)
    assert kept(TopK(2), equal) == [0, 1]
    for n in range(1, 5):
        assert kept(Nucleus(n / 5), equal) == kept(Nucleus(n / 5), equal.astype(np.float32)) == [*range(n)]
    assert kept(Greedy(), equal) == [0] and int(Greedy()(None, jnp.zeros(5))) == 0
    assert kept(TopK(1), np.array([-1.0, -0.0, 0.0])) == kept(Nucleus(0.1), np.array([-1.0, -0.0, 0.0])) == [1]


@pytest.mark.parametrize("strategy", [Temperature(0.7), TopK(3, 1.5), Nucleus(0.7, 2.0)])
def test_draws_have_the_frequencies_of_the_logits(strategy):
    logits, draws = jnp.asarray(np.random.default_rng(1).normal(size=5)), 4000
    tokens = jax.vmap(strategy, (0, None))(jax.random.split(KEY, draws), logits)
    assert tokens.dtype == jnp.int32
    expected = probabilities(strategy, logits)
    counted = np.bincount(tokens, minlength=5)
    assert (counted[expected == 0] == 0).all()
    assert (abs(counted / draws - expected) <= 4 * np.sqrt(expected * (1 - expected) / draws)).all()


def test_the_highest_alone_is_left_at_the_smallest_temperature():
    smallest = float(np.finfo(np.float32).tiny)
    logits = np.float32([1e30, -1e30, 3.0])
    for strategy in (Temperature(smallest), TopK(2, smallest), Nucleus(1.0, smallest)):
        assert probabilities(strategy, logits).tolist() == [1, 0, 0]
        assert int(strategy(KEY, jnp.asarray(logits))) == 0


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize(
    "logits", [[0.0, np.nan, 1.0], [np.inf, 0.0, 0.0], [-np.inf] * 3], ids=["nan", "infinite", "none"]
)
def test_logits_that_are_no_distribution_choose_no_token(strategy, logits):
    assert int(strategy(KEY, jnp.asarray(logits))) == -1


@pytest.mark.parametrize("strategy", ALL)
def test_an_impossible_token_is_never_chosen(strategy):
    logits = jnp.array([-jnp.inf, 0.0, -jnp.inf])
    assert (jax.vmap(strategy, (0, None))(jax.random.split(KEY, 20), logits) == 1).all()


@pytest.mark.parametrize("strategy", ALL)
def test_sixteen_bits_are_widened(strategy):
    logits = jnp.array([0.5, 2.0, 1.0], jnp.bfloat16)
    assert strategy.logits(logits).dtype == jnp.float32
    assert int(strategy(KEY, logits)) == int(strategy(KEY, logits.astype(jnp.float32)))


def test_equal_strategies_are_equal():
    assert TopK(3) == TopK(3, 1.0) and hash(Nucleus(0.9)) == hash(Nucleus(0.9)) and Greedy() == Greedy()
    assert TopK(3) != TopK(4)


@pytest.mark.parametrize("strategy", ALL[1:])
def test_a_draw_needs_a_single_key(strategy, without_type_checks):
    name = type(strategy).__name__
    with pytest.raises(ValueError, match=rf"{name}: `key` is None, but {name}\(.* draws. Give jax.random.key\(seed\)"):
        strategy(None, jnp.zeros(3))
    with pytest.raises(ValueError, match=rf"{name}: `key` must be a single key: "):
        strategy(jax.random.split(KEY, 2), jnp.zeros(3))


def test_wrong_settings_are_refused_in_words(without_type_checks):
    with pytest.raises(ValueError, match="TopK: `k` is 4, beyond the vocabulary of 3 tokens. Give at most 3"):
        TopK(4).logits(jnp.zeros(3))
    for k in (0, 2.0, True):
        with pytest.raises(ValueError, match="TopK: `k` must be a whole number of at least 1, got"):
            TopK(k)
    for p in (0, 1.01, -0.5, float("nan"), "most", True):
        with pytest.raises(ValueError, match="Nucleus: `p` must be a probability above 0 and up to 1, got"):
            Nucleus(p)
    for make in (Temperature, lambda t: TopK(1, t), lambda t: Nucleus(0.5, t)):
        for temperature in (0, -1.0, float("nan"), float("inf"), 1e-40, "hot", True):
            with pytest.raises(ValueError, match=r"`temperature` must be a number above 0 .* 0 is Greedy\(\)"):
                make(temperature)
