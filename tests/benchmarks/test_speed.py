"""The speed benchmark: every library on the same weights, the command end to end on a tiny shape, and its refusals."""

import json
import math

import jax
import numpy as np
import pytest

from benchmarks import contestant, problems, speed, speed_report
from benchmarks.peers import OURS, PEERS
from benchmarks.problems import CELLS, Problem, Shape, operations, parse_shape
from tests.benchmarks.pictures import check_apart

SHAPE = Shape(3, 7, 5, 4)
HERE = [name for name, peer in PEERS.items() if "cpu" in peer.devices and name != OURS and peer.installed()]
# Keras chooses its backend when it is imported and sets up JAX for itself: it is tried in a process of its own.
TRIED = [(peer, cell) for peer in HERE if peer != "keras" for cell in PEERS[peer].cells]


@pytest.mark.parametrize("peer, cell", TRIED)
def test_peers_compute_the_same(peer, cell):
    problem = Problem(cell, SHAPE, "float32", seed=0)
    ours, theirs = contestant.Worker(OURS), contestant.Worker(peer)
    with jax.numpy_dtype_promotion("standard"):  # haiku needs it
        for mode in ("forward", "train with inputs"):
            found, cost = theirs.prepare(problem, mode)
            assert max(speed.differences(ours.prepare(problem, mode)[0], found).values()) < 1e-5
            assert (cost["compile_s"] is None) == (peer == "torch")
        assert theirs.run() > 0 and theirs.faults() >= 0


@pytest.mark.skipif("keras" not in HERE, reason="Keras is not installed")
def test_keras_computes_the_same():
    side = contestant.Contestant("keras", None)
    try:
        for cell in PEERS["keras"].cells:
            problem = Problem(cell, SHAPE, "float32", seed=0)
            theirs, _ = side.ask("prepare", problem, "forward")
            ours, _ = contestant.Worker(OURS).prepare(problem, "forward")
            assert max(speed.differences(ours, theirs).values()) < 1e-5
    finally:
        side.stop()


def test_smoke_writes_all_files_and_goes_on(tmp_path, capsys):
    arguments = ["--smoke", "--cells", "GRU", "MinGRU", "--peers", "flax.linen", "lax.scan", "--out", str(tmp_path)]
    assert speed.main(arguments) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"speed.jsonl", "speed.md", "speed.png"}
    header, *rows = (json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines())
    assert {"flax", "jax", "jaxrnn"} <= set(header["versions"]) and header["machine"]["cores"] >= 1
    assert [list(row["peers"]) for row in rows] == [[OURS, "flax.linen", "lax.scan"], [OURS, "lax.scan"]]
    for row in rows:
        for found in row["peers"].values():
            assert found["off"] < 1e-4 and np.isfinite(found["ratio"]).all() and min(found["ratio"]) > 0
            assert found["page_faults"] >= 0 and found["temporary_mib"] >= 0 and found["compile_s"] > 0
    assert rows[0]["limit_ms"] > 0 and rows[1]["limit_ms"] is None
    # A half-done run goes on with what is missing; that of other settings begins anew.
    (tmp_path / "speed.jsonl").write_text(json.dumps(header) + "\n" + json.dumps(rows[0]) + "\n")
    assert speed.main(arguments) == 0
    again = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    assert again[1] == rows[0] and again[2]["cell"] == "MinGRU"
    assert "fastest JAX peer" in capsys.readouterr().out


def row(cell="GRU", mode="train", shape=SHAPE, **ratios):
    """A row of the table, as measured."""
    peers = {OURS: {"ms": [9, 10, 11], "ratio": [1, 1, 1], "temporary_mib": 2.0, "compile_s": 0.5, "page_faults": 0}}
    for name, ratio in ratios.items():
        name = name.replace("_", ".") if name != "associative_scan" else name
        peers[name] = peers[OURS] | {"ms": [10 / ratio] * 3, "ratio": [ratio] * 3}
    return {"cell": cell, "shape": shape, "dtype": "float32", "mode": mode, "limit_ms": 5.0, "peers": peers}


def test_summary_by_hand():
    rows = [row(flax_linen=0.5, lax_scan=0.25, torch=2.0), row("LSTM", flax_linen=0.8, torch=0.5)]
    assert speed_report.best(rows[0], PEERS) == ("torch", 2.0)
    assert speed_report.above_limit(rows[0]) == pytest.approx(5 / 15)
    table = speed_report.summary(rows)
    assert f"| train, fastest JAX peer | 2 | {math.sqrt(0.4):.2f} | 0.80, LSTM (3, 7, 5, 4) |" in table
    assert "| train, torch | 2 | 1.00 | 2.00, GRU (3, 7, 5, 4) |" in table
    assert "| train, torch, LSTM alone | 1 | 0.50 |" in table


def test_what_computes_something_else_is_not_timed(monkeypatch, tmp_path, capsys):
    other = row() | {"peers": row()["peers"] | {"flax.linen": {"off": 0.3}}}
    monkeypatch.setattr(speed, "measure_all", lambda *_: iter([other]))
    assert speed.main(["--smoke", "--cells", "GRU", "--peers", "flax.linen", "--out", str(tmp_path)]) == 1
    assert "compute something else, and were not timed: GRU (3, 7, 5, 4), train: flax.linen" in capsys.readouterr().err
    assert "differs" in (tmp_path / "speed.md").read_text()


def test_differences_are_shares_of_the_largest_entry():
    ours = {"loss": np.float32(2), "params": problems.jaxrnn.GRU(2).init(jax.random.key(0), 2)}
    theirs = ours | {"loss": np.float32(3)}
    assert speed.differences(ours, theirs) == {"loss": 0.5, "params": 0.0}
    lacking = ours | {"params": ours["params"]._replace(pointwise=None)}
    assert speed.differences(ours, lacking) == {"loss": 0.0, "params": 0.0}
    assert math.isnan(speed.differences(ours, ours | {"loss": np.float32(np.nan)})["loss"])


def test_slower_than_allowed_exits_with_1(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(speed, "measure_all", lambda *_: iter([row(flax_linen=1.3)]))
    arguments = ["--smoke", "--cells", "GRU", "--peers", "flax.linen", "--at-most", "1.2", "--out"]
    assert speed.main([*arguments, str(tmp_path / "slow")]) == 1
    told = "slower than 1.2 times the fastest peer: GRU (3, 7, 5, 4), train: 1.30 of flax.linen"
    assert told in capsys.readouterr().err
    monkeypatch.setattr(speed, "measure_all", lambda *_: iter([row(flax_linen=1.1)]))
    assert speed.main([*arguments, str(tmp_path / "fast")]) == 0


def test_operations_of_the_products():
    """Forward B T (D + H) G H multiplications and as many additions; two more of each for gradients, one without dx."""
    problem = Problem("LSTM", Shape(2, 3, 5, 7), "float32", 0)
    by_input, by_state = 2 * 2 * 3 * 5 * 28, 2 * 2 * 3 * 7 * 28
    assert operations(problem, "forward") == by_input + by_state
    assert operations(problem, "train") == 2 * by_input + 3 * by_state
    assert operations(problem, "train with inputs") == 3 * (by_input + by_state)


def test_every_exported_name_is_a_cell_and_a_peer():
    for peer in PEERS.values():
        assert set(peer.cells) <= set(CELLS)
    assert set(speed_report.STYLES) == set(PEERS) - {OURS}


def test_picture_has_no_overlaps():
    rows = [
        row(cell, shape=shape, flax_linen=0.5 + n / 10, torch=1.5, lax_scan=0.3)
        for cell in CELLS
        for n, shape in enumerate(problems.SHAPES)
    ]
    check_apart(speed_report.draw(rows))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--runs", "0"], "--runs: must be at least 1, got 0"),
        (["--cells", "RNN"], "--cells: must be of Elman, LSTM"),
        (["--peers", "numpy"], "--peers: must be of jaxrnn, lax.scan"),
        (["--modes", "test"], "--modes: must be of forward, train"),
        (["--shapes", "3x4"], "--shapes: must be batch x time x features x hidden"),
    ],
)
def test_bad_input_writes_nothing(arguments, message, tmp_path, capsys):
    assert speed.main([*arguments, "--out", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_shapes_are_read():
    assert parse_shape("32x128x16x256") == Shape(32, 128, 16, 256)
    assert str(Shape(32, 128, 16, 256)) == "32x128x16x256"


def test_a_process_that_ends_is_told():
    side = contestant.Contestant(OURS, None)
    with pytest.raises(speed.Failed, match="(?s)jaxrnn, asked to prepare: .*KeyError"):
        side.ask("prepare", Problem("no such cell", SHAPE, "float32", 0), "train")
    side._process.terminate()
    side._process.join()
    with pytest.raises(speed.Failed, match="its process ended while it was asked to run"):
        side.ask("run")
