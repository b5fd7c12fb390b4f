"""The device benchmark on a machine without an accelerator: what it refuses, computes and writes."""

import json

import jax
import numpy as np
import pytest

from benchmarks import device, device_report
from benchmarks.device_checks import Check, checks, differences
from benchmarks.device_programs import BOTH, FORWARD, FULL, operations, races
from jaxrnn import GRU, LSTM, ChunkedScan, Pallas, Scan

KERNELS = Pallas("v5e", interpret=True)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="here it runs")
def test_a_machine_without_an_accelerator_is_refused(tmp_path, capsys):
    assert device.main(["--out", str(tmp_path / "results")]) == 2
    assert "this machine has no accelerator" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_the_short_form_writes_all(tmp_path):
    assert device.main(["--smoke", "--parts", "checks", "flags", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "device.json").read_text())
    assert found["checks"] and not any(check["beyond"] for check in found["checks"])
    assert [race["mode"] for race in found["races"]] == [FORWARD, BOTH]
    for race in found["races"]:
        assert set(race["programs"]) == {"Pallas", "without flags"} and race["input_product"]
        assert race["programs"]["Pallas"]["ratio"] == [1, 1, 1]
        assert 0 < device_report.share_of_peak(race, found["peaks"])
    table = (tmp_path / "device.md").read_text()
    assert "with lengths, mask and resets" in table and "Checks against float64" in table
    assert (tmp_path / "device.png").stat().st_size > 1000


def test_a_wrong_kernel_is_found(tmp_path, monkeypatch):
    wrong = Check(LSTM(3), KERNELS, 3, 2, "float32")

    def run(self, cell, params, *rest):
        return ChunkedScan().run(cell, jax.tree.map(lambda p: p * 1.001, params), *rest)

    monkeypatch.setattr(Pallas, "run", run)
    jax.clear_caches()
    shares = differences(wrong, seed=0)
    jax.clear_caches()
    share, limit = shares["outputs"]
    assert share > limit == 1e-5 and shares["two runs differ"] == (0, 0)
    monkeypatch.setattr(device, "checks", lambda *_: [wrong])
    monkeypatch.setattr(device, "differences", lambda *_: shares)
    assert device.main(["--smoke", "--parts", "checks", "--out", str(tmp_path)]) == 1
    assert "outputs" in json.loads((tmp_path / "device.json").read_text())["checks"][0]["beyond"]


def test_checks_that_fail_or_are_refused_are_told(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(device, "differences", fail)
    assert device.main(["--smoke", "--parts", "checks", "--out", str(tmp_path)]) == 1
    found = json.loads((tmp_path / "device.json").read_text())["checks"]
    assert {"failed: RuntimeError: out of memory"} == {word for check in found for word in check["beyond"]}
    refused = [check for check in found if "refused" in check]
    assert refused and all(check["what"].startswith("CuDNN") for check in refused)
    assert "cuDNN is for NVIDIA GPUs" in (tmp_path / "device.md").read_text()


def test_no_parts_are_refused(tmp_path, capsys):
    assert device.main(["--smoke", "--out", str(tmp_path), "--parts"]) == 2
    assert "--parts: must be some of checks, heads" in capsys.readouterr().err


def test_what_is_checked_and_timed():
    """Every kind of kernel at every number of steps and sequences, and the shapes that are promised."""
    full = list(checks(KERNELS, small=False))
    assert {check.time for check in full} >= {1, 2, 63, 257} and {check.batch for check in full} >= {1, 7, 16}
    assert {check.precision for check in full} == {"bfloat16", "float32", "tf32"}
    scans = [race for race in races(FULL, (ChunkedScan(), Scan())) if race.group in ("heads", "dense")]
    names = " ".join(race.name for race in scans)
    assert all(f"in {heads} head" in names for heads in (1, 3, 12))
    assert all(f"of {hidden}, B 64" in names for hidden in (128, 256, 512, 1024))
    assert all({"ChunkedScan"} <= set(race.programs) for race in scans)


@pytest.mark.parametrize("cell", [LSTM(6, heads=2), GRU(5)], ids=["LSTM", "GRU"])
def test_operations_are_those_of_the_products(cell):
    sizes = FULL.wide._replace(batch=2, time=3, features=4)
    weights = jax.eval_shape(lambda: cell.init(jax.random.key(0), 4))
    per_step = 2 * 2 * (np.prod(weights.input.shape) + np.prod(weights.recurrent.shape))
    assert operations(cell, sizes, FORWARD) == 3 * per_step
    assert operations(cell, sizes, BOTH) == 9 * per_step
