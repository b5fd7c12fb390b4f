import itertools
import math
import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import Batch, EmbeddedReber
from tests.tasks.cases import sampled

ALPHABET = "BTPSXVE"
LATER = "T*V(PXT*V)*(PS|V)"  # what follows the first P, or the second X
GRAMMAR = re.compile(rf"B([TP])B(TS*X(S|X{LATER})|P{LATER})E\1E")
TASK = EmbeddedReber(14)

# Two strings, and by hand what may follow each of their symbols but the last.
SHORTEST = {
    "BTBTXSETE": ["TP", "B", "TP", "SX", "SX", "E", "T", "E"],
    "BPBPVVEPE": ["TP", "B", "TP", "TV", "PV", "E", "P", "E"],
}


def strings_of(batch):
    """The strings of a batch: the first input and all targets that count."""
    first = batch.inputs[0].argmax(axis=-1)
    return [
        ALPHABET[start] + "".join(ALPHABET[symbol] for symbol in targets[mask])
        for start, targets, mask in zip(first, batch.targets.T, batch.mask.T, strict=True)
    ]


def choices(string):
    """How many of the edges on the way had another beside them, the outer T or P included once."""
    inner = string[2:-2]
    return 1 + len(inner) - 2  # every inner symbol but B and E is one of two


def probabilities(longest):
    """Each string of at most `longest` symbols, found among all words by the grammar, with its probability."""
    found = {}
    for size in range(3, longest - 5):
        for word in itertools.product("TPSXV", repeat=size):
            string = "BTB" + "".join(word) + "ETE"
            if GRAMMAR.fullmatch(string):
                for one in (string, string.replace("BTB", "BPB", 1)[:-2] + "PE"):
                    found[one] = 0.5 ** choices(one)
    total = sum(found.values())
    return {string: p / total for string, p in found.items()}, total


SHORT, SHARE = probabilities(13)


def batch_of(strings):
    """A batch made of strings by hand, in NumPy."""
    longest = max(map(len, strings)) - 1
    inputs, targets = np.zeros((longest, len(strings), 7), np.float32), np.zeros((longest, len(strings)), np.int64)
    mask = np.zeros((longest, len(strings)), bool)
    for n, string in enumerate(strings):
        for t, (symbol, following) in enumerate(itertools.pairwise(string)):
            inputs[t, n, ALPHABET.index(symbol)] = 1
            targets[t, n], mask[t, n] = ALPHABET.index(following), True
    return Batch(inputs, targets, mask)


def test_every_string_is_accepted_and_inputs_are_the_targets_one_step_later():
    batch = sampled(TASK)
    strings = strings_of(batch)
    assert all(GRAMMAR.fullmatch(string) for string in strings)
    assert {len(string) for string in strings} == set(range(9, 15))
    again = batch_of(strings)
    np.testing.assert_array_equal(again.inputs, batch.inputs)
    np.testing.assert_array_equal(again.targets, batch.targets)


def test_strings_are_as_likely_as_in_the_grammar_given_their_length():
    short = [string for string in strings_of(sampled(TASK)) if len(string) <= 13]
    assert len(short) > 3000
    for string, p in SHORT.items():
        assert abs(short.count(string) / len(short) - p) < 5 * math.sqrt(p / len(short))


def test_baseline_is_the_entropy_of_the_strings_and_one_forgotten_bit():
    entropy = -sum(p * math.log(p) for p in SHORT.values())
    steps = sum(p * (len(string) - 1) for string, p in SHORT.items())
    assert EmbeddedReber(13).baseline() == pytest.approx((entropy + math.log(2)) / steps, rel=1e-12)


def test_baseline_of_the_shortest_strings_and_of_all():
    assert EmbeddedReber(9).baseline() == pytest.approx(3 * math.log(2) / 8, rel=1e-12)  # four strings, 8 steps
    assert EmbeddedReber(300).baseline() == pytest.approx(8 * math.log(2) / 11, rel=1e-12)
    assert EmbeddedReber().baseline() == pytest.approx(8 * math.log(2) / 11, abs=3e-6)


def outputs_by_hand():
    outputs = np.zeros((8, 2, 7), np.float32)
    for n, following in enumerate(SHORTEST.values()):
        for t, symbols in enumerate(following):
            for rank, symbol in enumerate(symbols):
                outputs[t, n, ALPHABET.index(symbol)] = 2 + rank  # two possible symbols need not be equally active
    return outputs


def test_outputs_that_know_the_possible_symbols_are_right():
    batch = batch_of(list(SHORTEST))
    assert TASK.wrong(jnp.asarray(outputs_by_hand()), batch).tolist() == [False, False]


@pytest.mark.parametrize(
    ("step", "symbol", "value"),
    [
        (6, "P", 3.0),  # the other outer symbol is more active when the first is due again
        (6, "P", 2.0),  # as active
        (3, "S", -1.0),  # one of two possible symbols is the least active
        (0, "E", 2.5),  # an impossible symbol is more active than one possible
        (7, "E", math.nan),
    ],
)
def test_outputs_with_one_fault_are_wrong(step, symbol, value):
    outputs = outputs_by_hand()
    outputs[step, 0, ALPHABET.index(symbol)] = value
    assert TASK.wrong(jnp.asarray(outputs), batch_of(list(SHORTEST))).tolist() == [True, False]


def test_padding_is_not_judged():
    shorter, longer = "BTBTXSETE", "BTBTSXSETE"
    outputs = np.full((9, 2, 7), np.nan, np.float32)
    outputs[:8] = np.repeat(outputs_by_hand()[:, :1], 2, axis=1)
    assert TASK.wrong(jnp.asarray(outputs), batch_of([shorter, longer])).tolist() == [False, True]


def test_a_bound_below_the_shortest_string_is_refused():
    with pytest.raises(ValueError, match="EmbeddedReber: `longest` must be a whole number of at least 9.*got 8"):
        EmbeddedReber(8)
