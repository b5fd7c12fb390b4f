"""The loop: same state in blocks as one by one, logs, checkpoints, stops and resumes."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn.train import Checkpoints, Diverged, MetricsLog, Trainer, read_log, run
from tests.checks import assert_close


def loss_fn(params, batch, key):
    noisy = batch + 0.1 * jax.random.normal(key, (), jnp.float32)
    return jnp.sqrt((params - noisy) ** 2 + batch), {"distance": jnp.abs(params - noisy)}


TRAINER = Trainer(loss_fn, optax.adam(0.1), patience=3)


def start():
    return TRAINER.init(jnp.float32(0), jax.random.key(0))


def batch_at(position):
    return np.float32(1 + position % 3)


def same(a, b):
    assert_close(a._replace(key=()), b._replace(key=()), 0)


@pytest.fixture(autouse=True)
def interrupts():
    """Python's own handler, also where the suite runs in the background, whose interrupts are ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def whole():
    return jax.tree.map(lambda x: x, run(TRAINER, start(), batch_at, 11))


def test_blocks_are_single_updates(whole):
    seen = []
    state = run(TRAINER, start(), batch_at, 11, block=4, every=6, report=lambda step, metrics: seen.append(step))
    assert seen == [4, 6, 10, 11]
    assert_close(state.params, whole.params, 1e-6)


def test_log_and_checkpoints(whole, tmp_path):
    """Cut off after an evaluation and resumed: nothing twice in the log, the end is that of a run never stopped."""
    checkpoints = Checkpoints(tmp_path / "states", {"rate": 0.1}, keep_last=2, keep_best=1)
    scores = iter([1.0, 3.0, 2.0])

    def interrupting(step, metrics):
        if step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    how = {"every": 4, "evaluate": lambda state: next(scores), "checkpoints": checkpoints}
    with MetricsLog(tmp_path / "log.jsonl", 0) as log, pytest.raises(KeyboardInterrupt):
        run(TRAINER, start(), batch_at, 11, log=log, report=interrupting, **how)
    resumed = checkpoints.restore(like=start())
    assert int(resumed.step) == 4
    with MetricsLog(tmp_path / "log.jsonl", step=4) as log:
        end = run(TRAINER, resumed, batch_at, 11, log=log, **how)
    same(end, whole)
    columns = read_log(tmp_path / "log.jsonl")
    assert columns["step"].tolist() == list(range(11))
    assert columns["finite"].all() and (columns["aux.distance"] < columns["loss"]).all()
    assert int(checkpoints.restore_best(like=start()).step) == 4
    assert int(checkpoints.restore(like=start()).step) == 11


def test_an_interrupt_between_blocks_is_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "states", {})

    def interrupting(position):
        if position == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return batch_at(position)

    with pytest.raises(KeyboardInterrupt):
        run(TRAINER, start(), interrupting, 11, checkpoints=checkpoints)
    assert int(checkpoints.restore(like=start()).step) == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("block", [1, 4])
def test_a_run_that_diverges_ends_with_its_last_good_state(block, tmp_path):
    def bad(position):
        return batch_at(position) if position < 3 else np.float32(np.nan)

    checkpoints = Checkpoints(tmp_path / "states", {})
    with MetricsLog(tmp_path / "log.jsonl", 0) as log, pytest.raises(Diverged, match="3 updates in a row") as caught:
        run(TRAINER, start(), bad, 100, block=block, log=log, checkpoints=checkpoints)
    good = run(TRAINER, start(), batch_at, 3)
    assert_close(caught.value.state.params, good.params, 1e-6)
    assert int(caught.value.state.step) == 6 == int(checkpoints.restore(like=start()).step)
    columns = read_log(tmp_path / "log.jsonl")
    assert columns["finite"].tolist() == [True] * 3 + [False] * 3 and np.isnan(columns["loss"][3:]).all()
    with pytest.raises(Diverged):  # and stays where it is
        run(TRAINER, caught.value.state, bad, 100, block=block)


def test_ignored_interrupts_stay_ignored(whole):
    def interrupting(position):
        os.kill(os.getpid(), signal.SIGINT)
        return batch_at(position)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    same(run(TRAINER, start(), interrupting, 11), whole)


def test_a_second_interrupt_acts_at_once():
    seen = []

    def interrupting(position):
        for n in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            seen.append(n)
        return batch_at(position)

    with pytest.raises(KeyboardInterrupt):
        run(TRAINER, start(), interrupting, 11)
    assert seen == [0]


def test_an_interrupt_or_a_failure_in_the_evaluation_loses_neither_state_nor_score(tmp_path):
    def interrupting(state):
        os.kill(os.getpid(), signal.SIGINT)
        return 0.5

    def failing(state):
        raise RuntimeError("no such data")

    for name, evaluate, error in (("a", interrupting, KeyboardInterrupt), ("b", failing, RuntimeError)):
        checkpoints = Checkpoints(tmp_path / name, {})
        with pytest.raises(error):
            run(TRAINER, start(), batch_at, 11, every=3, evaluate=evaluate, checkpoints=checkpoints)
        assert int(checkpoints.restore(like=start()).step) == 3
        assert (checkpoints.restore_best(like=start()) is None) == (evaluate is failing)


def test_typed_keys_in_batches_and_reports():
    def loss_fn(params, batch, key):
        return (params - jax.random.uniform(batch, (), jnp.float32)) ** 2, batch

    trainer = Trainer(loss_fn, optax.sgd(0.1))
    ends = [
        run(trainer, trainer.init(jnp.float32(0), jax.random.key(0)), jax.random.key, 4, block=block)
        for block in (1, 2)
    ]
    assert_close(ends[0].params, ends[1].params, 1e-6)


def test_a_block_ends_where_the_dtype_of_batches_changes():
    seen = []

    def loss_fn(params, batch, key):
        return jnp.sum((params - batch.astype(jnp.float32)) ** 2), ()

    def batches(position):
        return np.ones(2, np.float32 if position < 3 else np.int32)

    trainer = Trainer(loss_fn, optax.sgd(0.1))
    state = trainer.init(jnp.float32(0), jax.random.key(0))
    run(trainer, state, batches, 6, block=4, report=lambda step, metrics: seen.append(np.size(metrics.loss)))
    assert sum(seen) == 6 and seen[0] == 3


def test_what_is_no_log(tmp_path):
    for text in ("not a log\n", '{"loss": 1}\n', "[1]\n"):
        (tmp_path / "log").write_text(text)
        with pytest.raises(ValueError, match="is no log of metrics"):
            MetricsLog(tmp_path / "log", 0)
        assert (tmp_path / "log").read_text() == text


def test_columns_that_begin_later_and_vectors(tmp_path):
    with MetricsLog(tmp_path / "log", 0) as log:
        log.write(0, {"loss": np.float32(1), "vector": np.arange(2.0)})
        log.write(1, {"loss": np.arange(2.0), "accuracy": np.ones(2), "matrix": np.ones((2, 2))})
    columns = read_log(tmp_path / "log")
    assert list(columns) == ["step", "loss", "accuracy"]
    np.testing.assert_array_equal(columns["accuracy"], [np.nan, 1, 1])


def test_a_log_that_was_cut_in_the_middle_of_a_line(tmp_path):
    path = tmp_path / "log.jsonl"
    with MetricsLog(path, step=0) as log:
        log.write(0, {"loss": np.arange(3.0)})
    path.write_text(path.read_text()[:-5])
    with MetricsLog(path, step=2) as log:
        log.write(2, {"loss": np.float64(np.inf)})
    assert read_log(path)["loss"].tolist() == [0, 1, np.inf]


def test_bad_arguments(tmp_path):
    for arguments in ({"until": 0}, {"until": 3, "block": 0}, {"until": 3, "every": -1}):
        with pytest.raises(ValueError, match="must be a whole number of at least 1"):
            run(TRAINER, start(), batch_at, **arguments)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="MetricsLog: cannot write"):
        MetricsLog(tmp_path / "file" / "log.jsonl", 0)


def test_blocks_end_where_batches_change_their_shapes():
    def ragged(position):
        return np.full((3, 2)[position // 3 % 2], 1.0, np.float32), {"other": np.float32(position)}

    trainer = Trainer(lambda p, batch, key: (((p - batch[0]) ** 2).mean() + 0 * batch[1]["other"], ()), optax.sgd(0.1))

    def trained(block):
        seen = []
        start = trainer.init(jnp.float32(0), jax.random.key(0))
        state = run(trainer, start, ragged, 8, block=block, report=lambda step, metrics: seen.append(step))
        return state, seen

    (state, seen), (alone, _) = trained(4), trained(1)
    assert seen == [3, 6, 8]
    assert_close(state.params, alone.params, 1e-6)


def test_what_is_no_real_number_has_no_place_in_the_log(tmp_path):
    aux = {"key": jax.random.key(0), "complex": jnp.complex64(1j), "half": jnp.bfloat16(0.5), "word": np.array("a")}
    with MetricsLog(tmp_path / "log", 0) as log:
        log.write(0, {"loss": np.float32(1), "count": 3, "aux": aux})
    assert {name: column.tolist() for name, column in read_log(tmp_path / "log").items()} == {
        "step": [0], "loss": [1.0], "count": [3], "aux.half": [0.5],
    }  # fmt: skip
