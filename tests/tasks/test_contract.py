"""What holds for every task."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn.tasks as tasks
from jaxrnn.tasks import Adding, Batch, EmbeddedReber, Multiplication, TemporalOrder, VariableCopy
from tests.tasks.cases import BATCH, KEY, TASKS, constant, lengths_of, mapped, sampled, within_error

EACH = pytest.mark.parametrize("task", TASKS, ids=repr)
WITH_BAR = [task for task in TASKS if getattr(task, "definition", "") not in ("arjovsky", "bai")]
WITH_ONE_ANSWER = [task for task in WITH_BAR if not isinstance(task, EmbeddedReber)]  # see test_reber for that one

WITH_CLASSES = [task for task in WITH_ONE_ANSWER if task.output_size > 1]

# The combinations of steps that are marked, each as likely as any other.
PLACES = {
    Adding(21): [*itertools.product(range(10), range(10, 21))],
    Adding(21, "bai"): [*itertools.permutations(range(21), 2)],
    Adding(30, "pascanu"): [*itertools.product(range(3), range(3, 15))],
    Adding(24, "hochreiter"): [(i, j) for i in range(10) for j in range(12) if i != j],
    Multiplication(30, "pascanu"): [*itertools.product(range(3), range(3, 15))],
    Multiplication(24, "hochreiter"): [(i, j) for i in range(10) for j in range(12) if i != j],
    TemporalOrder(30): [*itertools.product(range(3, 6), range(15, 18))],
    TemporalOrder(30, symbols=3): [*itertools.product(range(3, 6), range(9, 12), range(18, 21))],
    TemporalOrder(30, definition="hochreiter"): [*itertools.product(range(3, 7), range(15, 19))],
    TemporalOrder(30, 3, "hochreiter"): [*itertools.product(range(3, 7), range(10, 14), range(20, 24))],
}


def with_target(task, batch):
    """Outputs that are as right as a model can be; what counts at steps that are not scored is left out by NaN."""
    if task.output_size == 1:
        target = np.where(batch.inputs[0] > 0, 0.2, 0.8) if getattr(task, "variant", "") == "c" else batch.targets
    else:
        target = np.eye(task.output_size)[batch.targets] * 9
    outputs = np.broadcast_to(target, (*batch.mask.shape, task.output_size))
    return np.where(batch.mask[..., None], outputs, np.nan).astype(np.float32)


def test_every_exported_task_is_tested():
    exported = {name for name, value in vars(tasks).items() if isinstance(value, type) and value is not Batch}
    assert exported == {type(task).__name__ for task in TASKS}


@EACH
def test_shapes_and_dtypes_are_those_of_a_batch(task):
    inputs, targets, mask = sampled(task)
    assert inputs.dtype == np.float32 and inputs.shape == (*mask.shape, task.input_size)
    assert mask.dtype == bool and mask.shape[1] == BATCH
    if task.output_size == 1:
        assert targets.dtype == np.float32 and targets.shape == (BATCH, 1)
    else:
        assert targets.dtype == np.int32 and targets.shape in [(BATCH,), mask.shape]
        classes = np.unique(targets if targets.ndim == 1 else targets[mask])
        assert set(classes) <= set(range(task.output_size)) and len(classes) > 1
        assert isinstance(task, EmbeddedReber) or len(classes) == task.output_size  # no string goes on with B first


@EACH
def test_padding_is_zero_and_follows_the_last_scored_step(task):
    inputs, targets, mask = sampled(task)
    lengths = lengths_of(sampled(task))
    valid = np.arange(len(mask))[:, None] < lengths
    assert mask.any(axis=0).all() and lengths.max() == len(mask)
    assert not inputs[~valid].any()
    scored = valid if targets.ndim == 2 and task.output_size > 1 else np.arange(len(mask))[:, None] == lengths - 1
    np.testing.assert_array_equal(mask, scored)
    if task.input_size > 2:
        np.testing.assert_array_equal(inputs.sum(axis=-1), valid)
        assert np.isin(inputs, [0, 1]).all()


@EACH
def test_lengths_are_as_likely_as_each_other(task):
    lengths = lengths_of(sampled(task))
    if not isinstance(task, EmbeddedReber):  # for its lengths see test_reber
        each = range(lengths.min(), lengths.max() + 1)
        assert all(within_error(lengths == length, 1 / len(each)) for length in each)


@pytest.mark.parametrize("task", WITH_CLASSES, ids=repr)
def test_baseline_is_the_cross_entropy_of_the_best_predictor_without_memory(task):
    # It is fitted to the sample: the frequency of each class at each step, in VariableCopy counted from the delimiter.
    inputs, targets, mask = sampled(task)
    steps = np.broadcast_to(np.arange(len(mask))[:, None], mask.shape)
    if isinstance(task, VariableCopy):
        steps = steps - inputs[..., 9].argmax(axis=0) + len(mask)
    counts = np.zeros((2 * len(mask), task.output_size))
    seen = steps[mask], np.broadcast_to(targets, mask.shape)[mask]
    np.add.at(counts, seen, 1)
    nats = -np.log((counts / counts.sum(axis=1, keepdims=True).clip(1))[seen]).sum() / BATCH
    # By fitting it gains half a chi-squared number, of as many degrees of freedom as there are free frequencies.
    free = (np.count_nonzero(counts, axis=1) - 1).clip(0).sum()
    expected = task.baseline() * mask.sum(axis=0)
    error = np.hypot(expected.std() / np.sqrt(BATCH), np.sqrt(free / 2) / BATCH)
    assert abs(nats + free / 2 / BATCH - expected.mean()) <= 5 * error


@pytest.mark.parametrize("task", PLACES, ids=repr)
def test_places_and_values_are_drawn_independently(task):
    batch = sampled(task)
    if isinstance(task, TemporalOrder):
        marked, high, hidden = batch.inputs[..., :2].any(axis=-1), batch.inputs[..., 1] == 1, ()
    else:
        low = -1 if task == Adding(24, "hochreiter") else 0
        marked, high = batch.inputs[..., 1] == 1, batch.inputs[..., 0] > (1 + low) / 2
        hidden = (0,) if task.definition == "hochreiter" else ()  # its marker and value tell nothing
    found = Counter(
        tuple((int(step), bool(values[step])) for step in np.flatnonzero(steps))
        for steps, values in zip(marked.T, high.T, strict=True)
    )
    ways = Counter(
        tuple(sorted(pair for pair in zip(steps, values, strict=True) if pair[0] not in hidden))
        for steps in PLACES[task]
        for values in itertools.product([False, True], repeat=len(steps))
    )
    assert found.total() == BATCH and set(found) <= set(ways)
    expected = {way: BATCH * count / ways.total() for way, count in ways.items()}
    squared = sum((found[way] - count) ** 2 / count for way, count in expected.items())
    free = len(ways) - 1
    assert abs(squared - free) <= 5 * np.sqrt(2 * free)  # chi-squared


@EACH
def test_the_key_decides_the_sample(task):
    for part in mapped(task):
        np.testing.assert_array_equal(part[0], part[2])
    assert (mapped(task).inputs[0] != mapped(task).inputs[1]).any()
    assert (mapped(task).targets[0] != mapped(task).targets[1]).any()


@pytest.mark.parametrize("task", [VariableCopy(6), EmbeddedReber(14)], ids=repr)
def test_a_mapped_sample_is_the_sample(task):
    alone = jax.jit(task.sample, static_argnums=1)(KEY, BATCH)
    for part, same in zip(alone, sampled(task), strict=True):
        np.testing.assert_array_equal(part, same)


@EACH
def test_equal_tasks_are_equal_and_their_repr_makes_them(task):
    again = eval(repr(task), vars(tasks))
    assert again == task and hash(again) == hash(task)


@pytest.mark.parametrize("task", WITH_ONE_ANSWER, ids=repr)
def test_no_target_is_wrong_and_whatever_is_no_number_is(task):
    batch = sampled(task)
    wrong = jax.jit(task.wrong)
    assert np.asarray(wrong(jnp.asarray(constant([np.nan] * task.output_size, batch)), batch)).all()
    outputs = with_target(task, batch)
    assert not np.asarray(wrong(jnp.asarray(outputs), batch)).any()
    outputs[:, 1] = 0.5  # far away from any target but that of a sum of 1, and no class before another
    if task.output_size == 1:
        outputs[:, 1] = 3
    assert np.flatnonzero(wrong(jnp.asarray(outputs), batch)).tolist() == [1]


@EACH
@pytest.mark.usefixtures("without_type_checks")
def test_a_batch_of_no_sequences_is_refused(task):
    for batch in (-1, 0, 2.0):
        with pytest.raises(ValueError, match=rf"{type(task).__name__}\.sample: `batch` must .* got {batch}\. Give"):
            task.sample(KEY, batch)


@pytest.mark.parametrize("task", WITH_BAR, ids=repr)
def test_outputs_of_another_shape_are_refused(task):
    with pytest.raises(ValueError, match=rf"{type(task).__name__}\.wrong: `outputs` must be \(time, batch"):
        task.wrong(jnp.zeros((3, BATCH, task.output_size)), sampled(task))


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_the_same_key_gives_the_same_sequences_with_64_bits_or_without(task):
    found = []
    for on in (False, True):
        with jax.enable_x64(on):
            found.append(jax.tree.map(np.asarray, task.sample(jax.random.key(5), 4)))
    jax.tree.map(np.testing.assert_array_equal, *found)
