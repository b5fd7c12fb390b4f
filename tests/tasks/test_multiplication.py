import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import Multiplication
from tests.tasks.cases import constant, lengths_of, sampled, within_error

PASCANU, HOCHREITER = Multiplication(30, "pascanu"), Multiplication(24, "hochreiter")


def products(batch):
    """The product of the values with marker 1 of each sequence, and how many there are."""
    marked = batch.inputs[..., 1] == 1
    return [np.prod(values[ones]) for values, ones in zip(batch.inputs[..., 0].T, marked.T, strict=True)], marked.sum(0)


def test_pascanu_multiplies_two_numbers():
    batch = sampled(PASCANU)
    expected, count = products(batch)
    assert (count == 2).all() and set(lengths_of(batch)) == {30, 31, 32}
    np.testing.assert_allclose(batch.targets[:, 0], expected, rtol=1e-6)


def test_hochreiter_puts_one_for_a_marked_first_pair():
    batch = sampled(HOCHREITER)
    expected, count = products(batch)
    values, markers = batch.inputs[..., 0], batch.inputs[..., 1]
    assert set(count) == {1, 2} and (markers[0] == -1).all() and values.min() >= 0
    assert (values[0, count == 1] == 1).all() and (values[0, count == 2] < 1).all()
    np.testing.assert_allclose(batch.targets[:, 0], expected, rtol=1e-6)


def test_baseline_is_the_error_of_the_best_constant():
    one = 0.1 + 0.9 / 11
    mean = (1 - one) / 4 + one / 2
    assert PASCANU.baseline() == pytest.approx(7 / 144, rel=1e-12)
    assert HOCHREITER.baseline() == pytest.approx((1 - one) / 9 + one / 3 - mean**2, rel=1e-12)
    for task, best in [(PASCANU, 1 / 4), (HOCHREITER, mean)]:
        targets = sampled(task).targets[:, 0].astype(np.float64)
        assert within_error(targets, best)
        assert within_error((targets - best) ** 2, task.baseline())


def test_wrong_is_an_error_beyond_the_bar_of_each_paper():
    for task, bar in [(PASCANU, 0.2), (HOCHREITER, 0.04)]:
        batch = sampled(task)
        wrong = task.wrong(jnp.asarray(constant([0.25], batch)), batch)
        np.testing.assert_array_equal(wrong, np.abs(batch.targets[:, 0] - 0.25) > bar)


@pytest.mark.parametrize(("definition", "length"), [("pascanu", 9), ("hochreiter", 19)])
def test_a_length_without_room_for_the_marks_is_refused(definition, length):
    with pytest.raises(ValueError, match=rf"Multiplication: `length` .* at least {length + 1}.*got {length}"):
        Multiplication(length, definition)


def test_a_definition_that_nobody_published_is_refused():
    with pytest.raises(ValueError, match=r"`definition` must be one of \('pascanu', 'hochreiter'\), got 'bai'"):
        Multiplication(20, "bai")
