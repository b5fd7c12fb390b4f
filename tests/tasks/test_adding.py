import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import Adding, Batch
from tests.tasks.cases import constant, lengths_of, sampled, within_error


def marked(batch):
    """The steps with marker 1 of each sequence."""
    return [np.flatnonzero(markers == 1).tolist() for markers in batch.inputs[..., 1].T]


@pytest.mark.parametrize("length", [2, 21])
def test_arjovsky_marks_one_step_in_each_half(length):
    batch = sampled(Adding(length))
    values, markers = batch.inputs[..., 0], batch.inputs[..., 1]
    assert ((values >= 0) & (values < 1)).all() and np.isin(markers, [0, 1]).all()
    assert all(i < length // 2 <= j for i, j in marked(batch))
    np.testing.assert_allclose(batch.targets[:, 0], (values * markers).sum(axis=0), rtol=1e-6)


def test_samples_of_the_first_definition_never_change():
    inputs, targets, _ = jax.jit(Adding(11).sample, static_argnums=1)(jax.random.key(3), 4)
    np.testing.assert_array_equal(
        np.asarray(targets)[:, 0],
        np.array([1.0295381546020508, 0.0942298173904419, 1.6387205123901367, 0.35753560066223145], np.float32),
    )
    assert np.asarray(inputs[..., 1]).argmax(axis=0).tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("definition", "shares"), [("arjovsky", [1 / 10] * 10 + [1 / 11] * 11), ("bai", [2 / 21] * 21)]
)
def test_marks_are_uniform_over_their_ranges(definition, shares):
    markers = sampled(Adding(21, definition)).inputs[..., 1]
    assert all(within_error(row, share) for row, share in zip(markers, shares, strict=True))


def test_bai_marks_any_two_steps():
    batch = sampled(Adding(21, "bai"))
    steps = marked(batch)
    assert all(len(pair) == 2 for pair in steps)
    assert any(j < 10 for _, j in steps) and any(i >= 10 for i, _ in steps)
    sums = [batch.inputs[i, n, 0] + batch.inputs[j, n, 0] for n, (i, j) in enumerate(steps)]
    np.testing.assert_allclose(batch.targets[:, 0], sums, rtol=1e-6)


def test_pascanu_marks_the_first_tenth_and_the_four_that_follow():
    batch = sampled(Adding(30, "pascanu"))
    lengths = lengths_of(batch)
    assert set(lengths) == {30, 31, 32}
    steps = marked(batch)
    assert {i for i, _ in steps} == {0, 1, 2} and {j for _, j in steps} == set(range(3, 15))
    assert all(i < n // 10 <= j < n // 10 + 2 * n // 5 for n, (i, j) in zip(lengths, steps, strict=True))
    means = [(batch.inputs[i, n, 0] + batch.inputs[j, n, 0]) / 2 for n, (i, j) in enumerate(steps)]
    np.testing.assert_allclose(batch.targets[:, 0], means, rtol=1e-6)


def test_hochreiter_marks_both_ends_and_hides_a_marked_first_pair():
    batch = sampled(Adding(24, "hochreiter"))
    lengths, values, markers = lengths_of(batch), batch.inputs[..., 0], batch.inputs[..., 1]
    assert set(lengths) == {24, 25, 26} and values.min() < -0.99 and values.max() < 1
    hidden = 0
    for n, steps in enumerate(marked(batch)):
        assert markers[0, n] == markers[lengths[n] - 1, n] == -1
        assert np.count_nonzero(markers[:, n]) == len(steps) + 2
        assert all(0 < step < 12 for step in steps) and (len(steps) == 1 or min(steps) < 10)
        if len(steps) == 1:
            hidden += 1
            assert values[0, n] == 0
        expected = 0.5 + sum(values[step, n] for step in steps) / 4
        assert batch.targets[n, 0] == pytest.approx(expected, abs=1e-6)
    assert {step for steps in marked(batch) for step in steps} == set(range(1, 12))
    share = 0.1 + 0.9 / 11  # the second mark falls on one of 11 unmarked pairs
    assert abs(hidden / len(lengths) - share) < 5 * np.sqrt(share * (1 - share) / len(lengths))


@pytest.mark.parametrize(
    ("task", "best", "expected"),
    [
        (Adding(21), 1, 1 / 6),
        (Adding(21, "bai"), 1, 1 / 6),
        (Adding(30, "pascanu"), 0.5, 1 / 24),
        (Adding(24, "hochreiter"), 0.5, (2 - 0.1 - 0.9 / 11) / 48),
    ],
    ids=repr,
)
def test_baseline_is_the_error_of_the_best_constant(task, best, expected):
    assert task.baseline() == pytest.approx(expected, rel=1e-12)
    targets = sampled(task).targets[:, 0].astype(np.float64)
    assert within_error(targets, best)
    assert within_error((targets - best) ** 2, task.baseline())


def test_the_baseline_of_long_sequences_is_that_of_two_uniform_numbers():
    assert Adding(10**6, "hochreiter").baseline() == pytest.approx(1.9 / 48, rel=1e-5)


@pytest.mark.parametrize(
    ("definition", "expected"), [("pascanu", [False, False, False, True]), ("hochreiter", [False, True, True, True])]
)
def test_each_paper_has_its_own_bar(definition, expected):
    mask = np.array([[False] * 4, [True] * 4])
    batch = Batch(np.zeros((2, 4, 2), np.float32), np.full((4, 1), 0.5, np.float32), mask)
    outputs = np.zeros((2, 4, 1), np.float32)
    outputs[1, :, 0] = [0.5 + 0.039, 0.5 - 0.041, 0.5 - 0.199, 0.5 + 0.201]
    assert Adding(30, definition).wrong(jnp.asarray(outputs), batch).tolist() == expected


def test_the_constant_half_is_right_on_64_percent_by_the_bar_of_pascanu():
    task = Adding(30, "pascanu")
    wrong = np.asarray(task.wrong(jnp.asarray(constant([0.5], sampled(task))), sampled(task)))
    assert within_error(~wrong, 1 - 0.6**2)  # |u + v - 1| < 0.4 with u, v uniform


@pytest.mark.parametrize("definition", ["arjovsky", "bai"])
def test_no_bar_is_made_up(definition):
    task = Adding(21, definition)
    with pytest.raises(ValueError, match=f"Adding.wrong: the definition '{definition}' has no bar"):
        task.wrong(jnp.zeros((21, len(sampled(task).targets), 1)), sampled(task))


@pytest.mark.parametrize(("definition", "least"), [("arjovsky", 2), ("bai", 2), ("pascanu", 10), ("hochreiter", 20)])
def test_a_length_without_room_for_the_marks_is_refused(definition, least):
    Adding(least, definition)
    for length in (least - 1, 0, -3):
        with pytest.raises(ValueError, match=rf"`length` must be a whole number of at least {least}.*got {length}"):
            Adding(length, definition)


def test_an_unknown_definition_is_refused():
    with pytest.raises(ValueError, match=r"Adding: `definition` must be one of \('arjovsky', .* got 'A'"):
        Adding(20, "A")
