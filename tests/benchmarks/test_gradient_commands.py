"""The commands around the laboratory: what it costs, and the report."""

import json

import numpy as np
import pytest

from benchmarks import gradient_cost, gradient_report
from benchmarks.turns import in_turn, quartiles


def test_cost_writes_all_files(tmp_path, monkeypatch):
    monkeypatch.setattr(gradient_cost, "CELLS", {"GRU": gradient_cost.CELLS["GRU"]})
    assert gradient_cost.main(["--smoke", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"gradient_cost.{kind}" for kind in ("json", "md", "png")}
    content = json.loads((tmp_path / "gradient_cost.json").read_text())
    assert [row["what"].split()[0] for row in content["rows"]] == ["lag", "the", *["monitored"] * 3]
    assert all(np.isfinite(row["ratio"]).all() and min(row["ratio"]) > 0 for row in content["rows"])
    assert content["spectrum"]["exponents"] == 4 and content["spectrum"]["first_s"] > 0


def test_what_costs_more_than_it_may_is_told():
    row = {"cell": "GRU", "what": "monitored / plain step, 4 steps", "ratio": [1.1, 1.2, 1.3]}
    curve = {"cell": "GRU", "what": gradient_cost.CURVE, "ratio": [1.1, 1.2, 1.3], "other_mib": 10.0}
    half = curve | {"what": gradient_cost.HALF, "other_mib": 5.0}
    spectrum = {"exponents": 4, "steps": 20, "first_s": 30.0}
    assert gradient_cost.beyond({"rows": [curve, half], "spectrum": spectrum | {"first_s": 3.0}}) == []
    told = gradient_cost.beyond({"rows": [row, curve, half | {"other_mib": 2.5}], "spectrum": spectrum})
    assert told == [
        "GRU, monitored / plain step, 4 steps: 1.20, at most 1.15",
        "GRU, memory of a lag curve: 10.0 MiB against 2.5 over half the steps, at most 2.1 times as much",
        "spectrum: 30.0 s, at most 20",
    ]


def test_programs_run_in_turn():
    calls = []
    timed = in_turn((lambda: calls.append("a"), lambda: calls.append("b")), 3)
    assert timed.shape == (3, 2) and (timed >= 0).all()
    assert calls == ["b", "a", "a", "b"] * 2 + ["b", "a"]
    assert quartiles(np.arange(5.0)) == [1.0, 2.0, 3.0]


def test_report_of_a_sentence(tmp_path):
    assert gradient_report.main(["--smoke", "--sentence", "to be or", "--out", str(tmp_path)]) == 0
    data = json.loads((tmp_path / "report.json").read_text())
    assert set(data["cells"]) == {"GRU"} and data["settings"]["sentence"] == "to be or"
    labels = {part["title"]: part["x_labels"] for part in data["heatmaps"]}
    assert labels["GRU: update gate"] == list("to␣be␣or")
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        (gradient_cost, ["--runs", "0"], "--runs: must be at least 1, got 0"),
        (gradient_report, ["--sentence", "short"], "--sentence: must have at least 8 letters, got 5"),
        (gradient_report, ["--cells", "Elmann"], "--cells: unknown Elmann"),
        (gradient_report, ["--batch", "1"], "--batch: must be at least 2, got 1"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, capsys, command, arguments, words):
    assert command.main([*arguments, "--out", str(tmp_path / "new")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
