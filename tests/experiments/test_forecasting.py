"""Forecasts: baselines and errors worked out by hand, a smoke run on made series, and bad input."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx

from experiments import made_forecasting
from experiments.forecasting import APPLICATION, Settings, errors, forecasts, main, windows
from experiments.forecasting_figure import LAST, SEASON, WINDOW, rows, to_markdown
from experiments.forecasting_models import TASKS, Task, baselines, networks
from jaxrnn.data import TimeSeries, Windows, is_present, standardise, time_series

FILES = {"forecasting.png", "forecasting.svg", "results.json", "table.md", "logs", "checkpoints"}
TASK = Task(horizon=3, history=4, season=2, step="hour", unit=None, relative=True)


def test_errors_of_a_known_forecast():
    came = np.zeros((2, 3, 1), np.float32)
    told = np.array([[1, -1, 2], [0, 0, -3]], np.float32)[..., None]
    found = errors(told, came)
    assert found["mse"] == 15 / 6 and found["mae"] == 7 / 6
    assert found["mse_by_step"].tolist() == [2.0, 3.0]


def test_repetitions():
    xs = np.arange(10.0, dtype=np.float32).reshape(5, 1, 2)
    found = {name: predict(xs)[:, 0].tolist() for name, predict in baselines(TASK).items()}
    assert found[LAST] == [[8, 9]] * 3
    assert found[SEASON] == [[6, 7], [8, 9], [6, 7]]  # a season of two is shorter than the horizon
    yearly = baselines(TASK._replace(season=5))[SEASON](xs)
    assert yearly[:, 0].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_every_window_is_told_once_and_in_order():
    source = Windows(np.arange(9, dtype=np.float32)[:, None], history=4, horizon=2, batch=3)
    told, came = forecasts(lambda xs: xs[-2:], source)
    assert came[..., 0].tolist() == [[4, 5, 6, 7], [5, 6, 7, 8]]
    assert (came - told == 2).all()


def test_the_test_split_is_told_from_its_first_step_on():
    values = np.arange(60, dtype=np.float64)[:, None]
    series = TimeSeries(tuple(map(str, range(60))), ("x",), values, slice(0, 40), slice(40, 50), slice(50, 60))
    scaled = standardise(series)
    splits = windows(Settings(limit=20), TASK, scaled)
    for source, first, last in ((splits.validation, 40, 49), (splits.test, 50, 59)):
        _, came = forecasts(lambda xs: xs[:3], source)
        told = scaled.restore(came)[..., 0].round().astype(int)
        assert told[0].tolist() == list(range(first, last - 1)) and told[-1, -1] == last
    assert scaled.restore(splits.train.series)[:, 0].round().tolist() == list(range(20, 40))


@pytest.mark.parametrize("name", ["LSTM", "GRU", WINDOW])
def test_a_relative_network_knows_no_level(name):
    xs = np.random.default_rng(0).normal(size=(6, 5, 2)).astype(np.float32)
    told = {}
    for relative in (True, False):
        network = networks(TASK._replace(relative=relative), 2, 4, 0.5)[name](nnx.Rngs(0))
        assert network(xs).shape == (3, 5, 2)
        noisy = network(xs, jax.random.key(1))
        assert not np.allclose(network(xs), noisy)  # dropout where there is a key
        earlier = np.concatenate([xs[:2] + 9, xs[2:]])
        np.testing.assert_array_equal(network(earlier), network(xs))  # four steps are seen of six
        told[relative] = np.asarray(network(xs + np.float32(2))) - np.asarray(network(xs))
    np.testing.assert_allclose(told[True], 2, rtol=1e-5)
    assert np.abs(told[False] - 2).max() > 0.1


@pytest.mark.parametrize("name", TASKS)
def test_made_series_have_the_format_of_the_real_ones(name):
    made = made_forecasting.series(name, TASKS[name].season, seed=0)
    assert made.values.dtype == np.float64 and made.values.shape == (len(made.times), len(made.columns))
    files = {"etth1": "etth1/ETTh1.csv"}
    if not is_present(files.get(name, f"time-series/{name}.csv")):
        pytest.skip("the recorded series are not here")
    real = time_series(name)
    assert real.values.dtype == made.values.dtype and real.values.shape[1] == made.values.shape[1]
    assert name != "etth1" or real.columns == made.columns


@pytest.mark.smoke
def test_smoke_on_made_series(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "nothing"))
    both = dataclasses.replace(APPLICATION, small=APPLICATION.small | {"series": ("daily-min-temperatures", "etth1")})
    assert both.main(["--smoke", "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["data"] == "made" and results["finished"]
    assert list(results["parts"]) == ["daily-min-temperatures", "etth1"]
    for part in results["parts"].values():
        horizon = part["task"]["horizon"]
        for name in ("LSTM", "GRU", WINDOW):
            (history,) = part["models"][name]["histories"]
            assert history["step"] == [30, 60] and history["training_loss"][1] < history["training_loss"][0]
        for model in part["models"].values():
            (seed,) = model["seeds"]
            assert len(seed["example"]) == len(seed["mse_by_step"]) == horizon
            np.testing.assert_allclose(np.mean(seed["mse_by_step"]), seed["mse"], rtol=1e-4)
    table = (tmp_path / "out" / "table.md").read_text()
    assert table == to_markdown(results) and table in capsys.readouterr().out
    found = {row.setting: row for row in rows(results)}
    assert "0.321, SCINet" in found["etth1, LSTM"].published and found["etth1, GRU"].gap.endswith(("season", "MLP"))
    assert found["daily-min-temperatures, GRU"].published == "none"


def test_bad_input_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "nothing"))
    out = ["--smoke", "--out", str(tmp_path / "new")]
    for arguments, words in (
        (["--series", "tides"], "--series: must be some of monthly-sunspots, daily-min-temperatures, etth1, got tides"),
        (["--seeds", "0"], "--seeds: must be at least 1, got 0"),
        (["--dropout", "1"], "--dropout: must lie in [0, 1), got 1.0"),
        (["--rate", "0"], "--rate: must be a finite number above 0, got 0.0"),
    ):
        full = [one for one in out if one != "--smoke"]  # a smoke run replaces some of these
        assert main([*full, *arguments]) == 2
        assert words in capsys.readouterr().err
    broken = tmp_path / "data" / "etth1" / "ETTh1.csv"
    broken.parent.mkdir(parents=True)
    broken.write_text("cut short")
    assert main(["--series", "etth1", "--data", str(tmp_path / "data"), *out[1:]]) == 2
    assert "must have the SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_too_few_steps_are_refused():
    scaled = standardise(made_forecasting.series("etth1", 24, 0))
    with pytest.raises(ValueError, match=r"--limit: 30 steps are too few\. Windows: `series` must have at least"):
        windows(Settings(limit=30), TASKS["etth1"], scaled)
