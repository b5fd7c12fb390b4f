"""What holds for every task."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn.tasks as tasks
from jaxrnn.tasks import Batch, EmbeddedReber, VariableCopy
from tests.tasks.cases import BATCH, KEY, TASKS, constant, lengths_of, mapped, sampled

EACH = pytest.mark.parametrize("task", TASKS, ids=repr)
WITH_BAR = [task for task in TASKS if getattr(task, "definition", "") not in ("arjovsky", "bai")]
WITH_ONE_ANSWER = [task for task in WITH_BAR if not isinstance(task, EmbeddedReber)]  # see test_reber for that one


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


@pytest.mark.parametrize("task", WITH_BAR, ids=repr)
def test_outputs_of_another_shape_are_refused(task):
    with pytest.raises(ValueError, match=rf"{type(task).__name__}\.wrong: `outputs` must be \(time, batch"):
        task.wrong(jnp.zeros((3, BATCH, task.output_size)), sampled(task))
