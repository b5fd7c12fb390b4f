"""The figures of the literature in their short forms: all files, numbers that agree with theory, what is refused."""

import json
import math

import jax
import numpy as np
import pytest

from experiments import cliff, forget_bias, linear_flow, output, phase_diagram, state_gradients
from jaxrnn.gradients import mean_field
from jaxrnn.initializers import Chrono, ForgetBias

SCRIPTS = {
    "cliff": cliff,
    "forget_bias": forget_bias,
    "linear_flow": linear_flow,
    "phase_diagram": phase_diagram,
    "state_gradients": state_gradients,
}
ROWS = {"cliff": 5, "forget_bias": 2, "linear_flow": 5, "phase_diagram": 2, "state_gradients": 1}
SHORTER = {"forget_bias": ["--seeds", "1"], "state_gradients": ["--cells", "LSTM"]}


@pytest.fixture(scope="module", params=SCRIPTS)
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    assert SCRIPTS[request.param].main(["--smoke", *SHORTER.get(request.param, []), "--out", str(folder)]) == 0
    return request.param, folder


def test_smoke_writes_all_files(written):
    name, folder = written
    assert {path.name for path in folder.iterdir()} == {f"{name}.png", f"{name}.svg", "results.json", "table.md"}
    results = json.loads((folder / "results.json").read_text())
    assert results["finished"] and results["settings"]["smoke"] and "out" not in results["settings"]
    assert (folder / "table.md").read_text().count("\n| ") == 1 + ROWS[name]  # and the line below the headings
    CHECKS[name](results["parts"])


def check_cliff(parts):
    exact = parts["exact"]
    for quantity, value in exact["closed"].items():
        np.testing.assert_allclose(exact["computed"][quantity], value, rtol=1e-5)
    assert max(norm for norm, _, _ in parts["plain"]["clipping"]) > 100
    far, near = (np.abs(np.array(parts[name]["path"])).max() for name in ("plain", "clipped"))
    assert far > 10 > near
    for norm, coefficient, cosine in parts["clipped"]["clipping"]:
        np.testing.assert_allclose(coefficient, min(1, cliff.THRESHOLD / norm), rtol=1e-4)
        np.testing.assert_allclose(cosine, 1, rtol=1e-6)


def check_forget_bias(parts):
    assert set(parts) == {"b_f = 1", "chrono"}
    part = parts["b_f = 1"]
    np.testing.assert_allclose(part["predicted"], 2.213, rtol=1e-3)
    np.testing.assert_allclose(part["before"]["own_path"], 2.213, rtol=0.2)  # the gate moves a little with its input
    assert np.shape(part["losses"]) == (1, 2)


def check_linear_flow(parts):
    np.testing.assert_allclose(parts["orthogonal"]["largest"], 0, atol=1e-5)
    assert parts["shear"]["peak"][0] == 9
    np.testing.assert_allclose(parts["shear"]["peak"][1], 38.746, rtol=1e-4)
    np.testing.assert_allclose(10 ** parts["saturated"]["largest"][3], 4 * math.sqrt(200), rtol=1e-4)


def check_phase_diagram(parts):
    for part in parts.values():
        exact = math.exp(mean_field(part["weight_scale"], part["input_variance"]).rate)
        np.testing.assert_allclose(part["predicted"], exact)
        np.testing.assert_allclose(part["measured"], exact, rtol=0.3)  # of 32 units
        assert len(part["networks"]) == 2


def check_state_gradients(parts):
    assert set(parts) == {"LSTM"}
    for stage in ("before", "after"):
        found = parts["LSTM"][stage]
        assert {"h", "c", "rate", "r_squared", "error"} <= set(found)
        assert len(found["h"]["median"]) == 12 and found["c"]["median"][-1] is None  # not read after its last step
        assert all(low <= middle <= high for middle, low, high in zip(*found["h"].values(), strict=True))
    assert np.mean(parts["LSTM"]["after"]["error"]) < np.mean(parts["LSTM"]["before"]["error"])


CHECKS = {name: globals()[f"check_{name}"] for name in SCRIPTS}


def test_predictions_of_the_forget_bias():
    """By the half-life of sigmoid(b)^lag; of chrono biases the median unit's."""
    for bias, steps in [(0.0, 1.0), (1.0, 2.213), (2.0, 5.461), (3.0, 14.27), (5.0, 103.2)]:
        np.testing.assert_allclose(forget_bias.predicted(ForgetBias(bias)), steps, rtol=5e-4)
    drawn = Chrono(150)(jax.random.key(0), (4, 200_001), keep=1, write=0)[1]
    half_lives = -np.log(2) / np.log(1 / (1 + np.exp(-np.asarray(drawn))))
    np.testing.assert_allclose(forget_bias.predicted(Chrono(150)), np.median(half_lives), rtol=0.01)


@pytest.mark.parametrize(
    ("rate", "r_squared", "words"),
    [
        (-math.log(2) / 2.2, 0.996, "2.20 (R² 1.00)"),
        (-math.log(2) / 3934, 0.7, "3934 (R² 0.70)"),
        (math.log(2) / 60.6, 0.5, "doubles in 60.6 (R² 0.50)"),
        (-0.1, 0.49, "no single rate (R² 0.49)"),
        (0.0, 1.0, "no single rate (R² 1.00)"),
        (None, None, "no fit"),
    ],
)
def test_words_for_half_lives(rate, r_squared, words):
    assert output.half_life(rate, r_squared) == words


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        (cliff, ["--points", "1"], "--points: must be at least 2, got 1"),
        (linear_flow, ["--lags", "0"], "--lags: must be at least 1, got 0"),
        (phase_diagram, ["--seed", "-1"], "--seed: must lie between 0 and"),
        (state_gradients, ["--rate", "0"], "--rate: must be a finite number above 0"),
        (state_gradients, ["--cells", "GRU", "GRU"], "--cells: must be one or more, each of them once"),
        (forget_bias, ["--updates", "150"], "--updates: must be a multiple of --every, which is 100, got 150"),
        (forget_bias, ["--biases", "1", "1"], "--biases: must be finite numbers, each of them once"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, capsys, script, arguments, words):
    assert script.main([*arguments, "--out", str(tmp_path / "new")]) == 2
    assert words in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "new").exists()
