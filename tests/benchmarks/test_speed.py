"""The speed benchmark end to end on a tiny shape, and its refusal to time what computes something else."""

import json

import jax
import numpy as np
import pytest

from benchmarks import speed
from benchmarks.command import Failed


def test_smoke_writes_all_files(tmp_path):
    assert speed.main(["--smoke", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"speed.json", "speed.md", "speed.png"}
    rows = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert [row["cell"] for row in rows] == ["LSTM", "GRU"]
    assert all(np.isfinite(row["ratio"]).all() and min(row["ratio"]) > 0 for row in rows)


def test_what_computes_something_else_is_not_timed(monkeypatch):
    make, peer, convert = speed.PEERS["GRU"]
    monkeypatch.setitem(speed.PEERS, "GRU", (make, peer, lambda p: jax.tree.map(lambda w: 2 * w, convert(p))))
    with pytest.raises(Failed, match="different things"):
        speed.measure("GRU", speed.SMOKE_SHAPES[0], 1, 0)


def test_bad_input_writes_nothing(tmp_path, capsys):
    assert speed.main(["--runs", "0", "--out", str(tmp_path / "new")]) == 2
    assert "--runs: must be at least 1, got 0" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
