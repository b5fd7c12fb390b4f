import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import Batch, TemporalOrder
from tests.tasks.cases import lengths_of, sampled, within_error

PASCANU = [TemporalOrder(30), TemporalOrder(30, symbols=3)]
HOCHREITER = [TemporalOrder(30, definition="hochreiter"), TemporalOrder(30, 3, "hochreiter")]


def relevant(tokens):
    """Steps and values of the two symbols 0 and 1, in order."""
    steps = np.flatnonzero(tokens < 2)
    return steps.tolist(), tokens[steps].tolist()


@pytest.mark.parametrize("task", PASCANU, ids=repr)
def test_pascanu_by_its_code(task):
    batch = sampled(task)
    tokens = batch.inputs.argmax(axis=-1)
    seen = [set() for _ in range(task.symbols)]
    for n in range(tokens.shape[1]):
        steps, values = relevant(tokens[:, n])
        assert len(steps) == task.symbols
        for places, step in zip(seen, steps, strict=True):
            places.add(step)
        assert batch.targets[n] == sum(value * 2**k for k, value in enumerate(values))
    ranges = [(3, 6), (15, 18)] if task.symbols == 2 else [(3, 6), (9, 12), (18, 21)]
    assert seen == [set(range(*ends)) for ends in ranges]
    assert set(np.unique(tokens)) == set(range(6))


@pytest.mark.parametrize("task", HOCHREITER, ids=repr)
def test_hochreiter_by_the_rules_of_the_paper(task):
    batch = sampled(task)
    tokens, lengths = batch.inputs.argmax(axis=-1), lengths_of(batch)
    rules = ["".join(order) for order in itertools.product("XY", repeat=task.symbols)]  # XX Q, XY R, YX S, YY U, ...
    assert set(lengths) == {30, 31, 32, 33}
    seen = [set() for _ in range(task.symbols)]
    for n, length in enumerate(lengths):
        assert tokens[0, n] == 6 and tokens[length - 1, n] == 7
        assert tokens[1 : length - 1, n].max() < 6
        steps, values = relevant(tokens[:length, n])
        for places, step in zip(seen, steps, strict=True):
            places.add(step)
        assert batch.targets[n] == rules.index("".join("XY"[value] for value in values))
    ranges = [(3, 7), (15, 19)] if task.symbols == 2 else [(3, 7), (10, 14), (20, 24)]
    assert seen == [set(range(*ends)) for ends in ranges]


@pytest.mark.parametrize("task", PASCANU + HOCHREITER, ids=repr)
def test_distractors_are_uniform(task):
    batch = sampled(task)
    tokens = batch.inputs.argmax(axis=-1)
    shown = tokens[batch.inputs.any(axis=-1) & (tokens >= 2) & (tokens < 6)]
    assert all(within_error(shown == distractor, 1 / 4) for distractor in range(2, 6))


def test_a_hundred_steps_are_those_of_the_paper():
    assert TemporalOrder(100, 2, "hochreiter").starts == (10, 50)
    assert TemporalOrder(100, 3, "hochreiter").starts == (10, 33, 66)
    assert TemporalOrder(100, 2, "pascanu").starts == (10, 50)
    assert TemporalOrder(100, 3, "pascanu").starts == (10, 30, 60)


@pytest.mark.parametrize("definition", ["pascanu", "hochreiter"])
@pytest.mark.parametrize("symbols", [2, 3])
def test_relevant_symbols_never_meet_nor_reach_the_ends(symbols, definition):
    for length in range(10, 200):
        starts, width = TemporalOrder(length, symbols, definition).starts, length // 10
        assert starts[0] >= 1 and starts[-1] + width < length - 1
        assert all(a + width < b for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("task", PASCANU + HOCHREITER, ids=repr)
def test_baseline_is_that_of_equally_likely_classes(task):
    assert task.baseline() == pytest.approx(math.log(2**task.symbols), rel=1e-12)
    targets = sampled(task).targets
    assert all(within_error(targets == label, 1 / 2**task.symbols) for label in range(2**task.symbols))


def test_each_paper_has_its_own_bar():
    probabilities = np.array([[0.72, 0.28, 0, 0], [0.65, 0.35, 0, 0], [0.4, 0.2, 0.2, 0.2], [0.3, 0.7, 0, 0]])
    outputs = jnp.asarray(np.log(probabilities + 1e-9)[None], jnp.float32)
    batch = Batch(np.zeros((1, 4, 6), np.float32), np.zeros(4, np.int32), np.ones((1, 4), bool))
    assert TemporalOrder(30).wrong(outputs, batch).tolist() == [False, False, False, True]
    assert TemporalOrder(30, 2, "hochreiter").wrong(outputs, batch).tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("`length` must be a whole number of at least 10.*got 9", (9,)),
        (r"`symbols` must be one of \(2, 3\), got 4", (20, 4)),
        (r"`symbols` must be one of \(2, 3\), got 2\.0", (20, 2.0)),
        (r"`definition` must be one of \('pascanu', 'hochreiter'\), got 'bai'", (20, 2, "bai")),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_what_cannot_be_is_refused(message, arguments):
    with pytest.raises(ValueError, match=message):
        TemporalOrder(*arguments)
