"""The temporal order problem: its initialisation, what is measured, the table, what an interrupt keeps."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import output, temporal_order
from experiments.order_figure import rows, solved_after
from experiments.temporal_order import Experiment, SmartTanh, main

FILES = {"temporal_order.png", "temporal_order.svg", "results.json", "table.md"}
SMALL = temporal_order.plan(temporal_order.Settings(smoke=True))[0]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("order")
    assert main(["--smoke", "--methods", "clip-omega", "--out", str(folder)]) == 0
    return folder


def test_smoke_writes_all_files(written):
    assert {path.name for path in written.iterdir()} == FILES
    results = json.loads((written / "results.json").read_text())
    assert results["finished"] and results["settings"]["smoke"] and "out" not in results["settings"]
    part = results["parts"]["clip-omega-10"]
    assert part["updates"] == [100, 100] and part["updates_skipped"] == [0, 0]
    curves = {name: np.array(curve) for name, curve in part["curves"].items()}
    assert all(curve.shape == (2, 2) for curve in curves.values())  # seeds, measurements
    np.testing.assert_allclose(curves["loss"], np.log(4), atol=0.05)
    assert (np.abs(curves["error"] - 0.75) < 0.3).all() and (curves["radius"] > 0.5).all()
    assert (curves["cosine"] <= 1).all() and (curves["cosine"] > 0).all() and (curves["omega"] > 0).all()
    assert not (curves["error"][0] == curves["error"][1]).all()  # the seeds differ
    assert "| clipping and Omega | 10 | 0 of 2 | never, never | 100, 100 |" in (written / "table.md").read_text()


def test_the_initialisation_has_its_weights_and_radius():
    weights = np.asarray(SmartTanh()(jax.random.key(3), (50, 50), jnp.float32))
    assert (np.count_nonzero(weights, axis=0) == 15).all()  # each column holds what comes in to one unit
    assert not (np.count_nonzero(weights, axis=1) == 15).all()
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(weights)).max(), 0.95, rtol=1e-5)
    settings = dataclasses.replace(SMALL, hidden_size=50)
    params = Experiment(settings, 50, "clip").begin(jax.random.key(0)).params
    for leaf in (params["cell"].input, params["readout"]["weight"]):
        np.testing.assert_allclose(np.std(leaf), 0.01, rtol=0.2)
    assert not params["cell"].bias.any()


def test_both_methods_train_the_same_loss_but_for_omega():
    states = {method: Experiment(SMALL, 10, method) for method in ("clip", "clip-omega")}
    params = states["clip"].begin(jax.random.key(0)).params
    batch = states["clip"].task.sample(jax.random.key(1), 8)
    with_omega, loss = states["clip-omega"].loss_fn(params, batch, None)
    np.testing.assert_allclose(states["clip"].loss_fn(params, batch, None), loss, rtol=1e-5)
    omega = states["clip"].regularised(params, batch).omega.mean()
    np.testing.assert_allclose(with_omega, loss + 2 * omega, rtol=1e-6)
    assert omega > 1e-3


def test_the_table_says_when_each_seed_solved_it():
    errors = [[0.7, 0.02, 0.009], [0.7, 0.01, None]]
    part = {"length": 50, "method": "clip", "updates": [1500, 1500], "curves": {"error": errors}}
    part["curves"] |= {"omega": [[0.1], [0.25]], "radius": [[1.0], [None]]}
    results = {"settings": {"every": 500}, "parts": {"clip-50": part}}
    assert rows(results) == [
        (
            "clipping",
            "50",
            "1 of 2",
            "1 500, never",
            "1 500, 1 500",
            "0.90%, not finite",
            "0.100, 0.250",
            "1.00, not finite",
        )
    ]
    assert solved_after([None, 0.001], 10) == 20


def test_an_interrupt_keeps_the_parts_that_are_finished(tmp_path, monkeypatch):
    trained, stop_at = [], []

    def pretend(experiment, advance):
        trained.append(f"{experiment.method}-{experiment.length}")
        if trained[-1] in stop_at:
            raise KeyboardInterrupt
        curves = {name: [[0.5]] for name in temporal_order.Measured._fields}
        return {"length": experiment.length, "method": experiment.method, "updates": [50], "curves": curves}

    def trains(stop=()):
        trained[:], stop_at[:] = [], stop
        code = main(["--minutes", "1", "--lengths", "10", "20", "--out", str(tmp_path)])
        return code, list(trained)

    monkeypatch.setattr(temporal_order, "train", pretend)
    monkeypatch.setattr(output, "save", lambda picture, path: path.touch())  # drawing takes its time
    parts = ["clip-10", "clip-omega-10", "clip-20", "clip-omega-20"]
    assert trains(stop=["clip-20"]) == (130, parts[:3])
    assert trains() == (0, parts[2:])
    assert {path.name for path in tmp_path.iterdir()} == FILES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--updates", "1500"], "--updates: must be a multiple of --every, which is 1000, got 1500"),
        (["--lengths", "50", "50"], "--lengths: must be one or more, each of them once"),
        (["--lengths", "9"], "--lengths: must be at least 10, got (9,)"),
        (["--hidden-size", "14"], "--hidden-size: must be at least 15, got 14"),
        (["--strength", "nan"], "--strength: must be a finite number above 0, got nan"),
        (["--seed", "-1"], "--seed: must lie between 0 and 2^32 - 1"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, capsys, arguments, message):
    assert main([*arguments, "--out", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
