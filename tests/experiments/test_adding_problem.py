"""The adding problem: the runs that are trained side by side, the counts in the table, what an interrupt keeps."""

import contextlib
import dataclasses
import io
import json

import jax
import numpy as np
import optax
import pytest
from rich.console import Console

import jaxrnn
from experiments import adding_problem, output
from experiments.adding_figure import first_solved, rows
from experiments.adding_problem import Model, main
from jaxrnn.tasks import Adding

FILES = {"adding_problem.png", "adding_problem.svg", "results.json", "table.md"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adding")
    assert main(["--smoke", "--cells", "Elman", "--out", str(folder)]) == 0
    return folder


def test_smoke_writes_all_files(written):
    assert {path.name for path in written.iterdir()} == FILES
    results = json.loads((written / "results.json").read_text())
    assert results["finished"] and results["settings"]["smoke"] and "out" not in results["settings"]
    part = results["parts"]["Elman"]
    assert np.shape(part["test"]) == np.shape(part["validation"]) == (2, 2, 3)  # rates, seeds, updates 0, 20, 40
    assert part["parameters"] == (2 * 8 + 8) + (8 * 8 + 8 * 8 + 8) + (8 + 1)
    last = np.median(np.array(part["validation"])[..., -1], axis=-1)
    assert part["chosen_rate"] == results["settings"]["rates"][last.argmin()]
    assert (np.array(part["test"])[:, :, 2] < np.array(part["test"])[:, :, 0]).all()  # all of them learned something


def test_the_table_has_a_row_for_each_rate_and_agrees_with_the_data(written):
    results = json.loads((written / "results.json").read_text())
    lines = [line for line in (written / "table.md").read_text().splitlines() if line.startswith("| Elman")]
    assert len(lines) == len(results["settings"]["rates"])
    for line, runs in zip(lines, results["parts"]["Elman"]["test"], strict=True):
        assert f"{sum(min(run) < 0.01 for run in runs)} of 2" in line
        assert ", ".join(f"{run[-1]:.5f}" for run in runs) in line


def test_counts_of_solved_runs():
    part = {
        "parameters": 1234,
        "chosen_rate": 0.1,
        "test": [[[0.2, 0.02, 0.009, 0.5], [0.2, 0.1, 0.01, None]], [[0.2] * 4, [0.001] * 4]],
    }
    results = {"settings": {"rates": [0.1, 0.2], "every": 50}, "parts": {"GRU": part}}
    assert rows(results) == [
        ("GRU, 1,234 parameters", "0.1 (chosen)", "1 of 2", "100, never", "0.50000, not finite"),
        ("GRU, 1,234 parameters", "0.2", "1 of 2", "never, 0", "0.20000, 0.00100"),
    ]
    assert first_solved([None, 0.005], 10) == 10  # what is not finite is not below the bar


def test_a_rate_whose_runs_are_not_finite_is_not_chosen():
    settings = adding_problem.plan(adding_problem.Settings(smoke=True))[0]
    settings = dataclasses.replace(settings, cells=("LRU",), rates=(1e-3, 1e38))
    part = adding_problem.train(adding_problem.models(settings)["LRU"], settings, lambda: None)
    assert part["chosen_rate"] == 1e-3 and part["test"][1][0][-1] is None
    content = output.new_results(settings) | {"parts": {"LRU": part}}
    assert adding_problem.draw(content).axes and "not finite" in adding_problem.to_markdown(content)


@pytest.mark.parametrize("content", ["[]", "null", '{"parts": null}', '{"parts": {"Elman": {}}}', '{"par'])
def test_a_file_that_is_no_earlier_run_is_not_gone_on_with(content, tmp_path):
    settings, messages = adding_problem.Settings(smoke=True), Console(file=io.StringIO())
    expected = output.new_results(settings)
    with contextlib.suppress(ValueError, TypeError):
        content = json.dumps(expected | json.loads(content))  # all else is as it should be
    (tmp_path / "results.json").write_text(content)
    assert output.open_results(tmp_path, settings, adding_problem.FIELDS, messages) == expected


def test_every_run_is_the_one_of_its_own_rate_and_seed(written):
    results = json.loads((written / "results.json").read_text())
    model, task = Model(jaxrnn.Elman(8), 8), Adding(10)
    begin_key, held_key = jax.random.split(jax.random.key(0))
    held = task.sample(held_key, 48)
    tested = held._replace(inputs=held.inputs[:, :32], targets=held.targets[:32])  # the others choose the rate
    weights_key, batches_key = jax.random.split(jax.random.split(begin_key, 2)[1])  # the second seed

    def error(params, batch):
        return ((model(params, batch.inputs)[0] - batch.targets) ** 2).mean()

    for place, rate in enumerate(results["settings"]["rates"]):
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

        @jax.jit
        def update(params, state, step, optimizer=optimizer):
            batch = task.sample(jax.random.fold_in(batches_key, step), 8)
            with jax.numpy_dtype_promotion("standard"):
                updates, state = optimizer.update(jax.grad(error)(params, batch), state)
                return optax.apply_updates(params, updates), state

        params = model.init(weights_key)
        state = optimizer.init(params)
        for step in range(20):
            params, state = update(params, state, step)
        np.testing.assert_allclose(results["parts"]["Elman"]["test"][place][1][1], error(params, tested), rtol=1e-3)


def test_an_interrupt_keeps_the_cells_that_are_finished(tmp_path, monkeypatch, capsys):
    trained, stop_at = [], []

    def pretend(model, settings, advance):
        trained.append(type(model.cell).__name__)
        if trained[-1] in stop_at:
            raise KeyboardInterrupt
        curve = [[[1.0, 0.1, 0.001]] * 2] * 2
        return {"parameters": 9, "chosen_rate": 0.01, "validation": curve, "test": curve}

    def trains(*more, stop=()):
        trained[:], stop_at[:] = [], stop
        code = main(["--smoke", "--out", str(tmp_path), *more])
        return code, list(trained)

    monkeypatch.setattr(adding_problem, "train", pretend)
    monkeypatch.setattr(output, "save", lambda picture, path: path.touch())  # drawing takes its time
    cells = ["GRU", "LSTM", "LRU", "Elman"]
    assert trains(stop=["LRU"]) == (130, cells[:3])
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert "goes on from what is finished" in capsys.readouterr().err
    assert trains() == (0, cells[2:])
    assert json.loads((tmp_path / "results.json").read_text())["parts"].keys() == set(cells)
    assert trains(stop=["LSTM"]) == (130, cells[:2])  # what is finished is begun anew
    assert trains() == (0, cells[1:])
    (tmp_path / "results.json").write_text(
        (tmp_path / "results.json").read_text().replace('true,\n "parts', 'false,\n "parts')
    )
    assert trains() == (0, [])  # all was trained, and the last picture failed
    assert json.loads((tmp_path / "results.json").read_text())["finished"]
    assert trains("--seed", "1") == (0, cells)  # and so are other settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--updates", "150"], "--updates: must be a multiple of --every, which is 100, got 150"),
        (["--rates", "0.1", "0"], "--rates: must be finite numbers above 0, got (0.1, 0.0)"),
        (["--rates", "0.1", "inf"], "--rates: must be finite numbers above 0"),
        (["--rates", "0.1", "nan"], "--rates: must be finite numbers above 0"),
        (["--rates", "0.1", "0.2", "0.1"], "--rates: must be one or more, each of them once"),
        (["--cells", "GRU", "GRU"], "--cells: must be one or more, each of them once"),
        (["--seed", "4294967296"], "--seed: must lie between 0 and 2^32 - 1"),
        (["--length", "1"], "--length: must be at least 2, got 1"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, capsys, arguments, message):
    assert main([*arguments, "--out", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
