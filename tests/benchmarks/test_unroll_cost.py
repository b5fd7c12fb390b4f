"""What the options of unroll cost: the command end to end on tiny sizes, and what it tells."""

import json

import numpy as np

from benchmarks import unroll_cost
from tests.benchmarks.pictures import check_apart


def test_smoke_writes_all_files(tmp_path, monkeypatch):
    monkeypatch.setattr(unroll_cost, "GATED", ("GRU",))
    assert unroll_cost.main(["--smoke", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"unroll_cost.{kind}" for kind in ("json", "md", "png")}
    content = json.loads((tmp_path / "unroll_cost.json").read_text())
    assert [row["what"].split(" /")[0] for row in content["rows"]] == [
        "mask", "lengths", "resets", "batches by length", "Trainer.steps",
    ]  # fmt: skip
    assert all(np.isfinite(row["ratio"]).all() and min(row["ratio"]) > 0 for row in content["rows"])
    assert [c["checkpoint_every"] for c in content["checkpoints"]] == [4, 8]
    assert all(c["mib"] > 0 and c["compile_s"] > 0 for c in content["checkpoints"])
    check_apart(unroll_cost.chart(content))


def test_what_costs_more_than_it_may_is_told():
    row = {"what": "mask / plain step", "case": "GRU (2, 8, 3, 4)", "ratio": [1.0, 1.1, 1.2], "limit": 1.1}
    checkpoints = [{"time": 16, "mib": 1.0, "compile_s": 1.0}, {"time": 64, "mib": 2.1, "compile_s": 1.5}]
    assert unroll_cost.beyond({"rows": [row], "checkpoints": checkpoints}) == []
    checkpoints[1] = {"time": 64, "mib": 2.2, "compile_s": 1.6}
    assert unroll_cost.beyond({"rows": [row | {"ratio": [1.1, 1.2, 1.3]}], "checkpoints": checkpoints}) == [
        "mask / plain step, GRU (2, 8, 3, 4): 1.20, at most 1.1",
        "memory of 64 steps: 2.2 MiB after 1.0 of a quarter of them",
        "compile time: 1.6 s after 1.0 s of the shortest",
    ]


def test_bad_input_writes_nothing(tmp_path, capsys):
    assert unroll_cost.main(["--runs", "0", "--out", str(tmp_path / "new")]) == 2
    assert "--runs: must be at least 1, got 0" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
