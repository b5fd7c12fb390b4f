"""The shell of the applications: resuming to the same bits, the best parameters, made data, refusals, TensorBoard."""

import contextlib
import dataclasses
import importlib
import json
import math
import shutil
import struct
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import optax
import pytest

from benchmarks.command import Failed
from benchmarks.environment import versions
from experiments import application, output
from experiments.application import Application, Common, Row
from experiments.fitting import mean_loss, perplexity
from jaxrnn.train import Trainer, read_log

UPDATES, EVERY = 40, 10


@dataclass(frozen=True)
class Settings(Common):
    """Pulls a number towards others."""

    rate: float = 0.1
    """Learning rate."""


def loss_fn(params, batch, key):
    return (params - batch) ** 2, {"tokens": jnp.int32(3)}


class Stop:
    """Raises KeyboardInterrupt before a position, once."""

    def __init__(self, position: int | None = None):
        self.position = position

    def __call__(self, position: int):
        if position == self.position:
            self.position = None
            raise KeyboardInterrupt
        return np.float32(np.sin(position))


def made_of(stop: Stop, score=lambda found: found["distance"], files=(), reader=lambda settings: "read"):
    """The application; what it is handed for data stands in its results."""

    def runs(settings, data):
        def train(fitting) -> dict[str, Any]:
            trainer = Trainer(loss_fn, optax.sgd(settings.rate))
            params, history = fitting.fit(
                trainer,
                trainer.init(jnp.float32(3), jax.random.key(settings.seed)),
                stop,
                UPDATES,
                every=EVERY,
                evaluate=lambda params: {"distance": abs(float(params) - 0.5), "params": float(params)},
                score=score,
                block=4,
            )
            history |= {"training_loss": output.plain(history["training_loss"])}
            return {"params": float(params), "history": history, "data": data}

        return {"one": train, "two, again": train}

    return Application(
        name="pulling",
        settings=Settings,
        small={"rate": 0.2},
        check=lambda settings: None,
        files=lambda settings: files,
        read=reader,
        make=lambda settings: "made",
        runs=runs,
        draw=lambda results: matplotlib.figure.Figure(),
        to_markdown=output.about,
        rows=lambda results: [Row("", "distance", "", "", "")],
    )


def by_hand(rate: float) -> list[float]:
    """The parameter after each update."""
    value, found = np.float32(3), []
    for position in range(UPDATES):
        value = np.float32(value - np.float32(rate) * 2 * (value - np.float32(np.sin(position))))
        found.append(float(value))
    return found


def results_in(folder) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def test_the_best_parameters_and_the_history_are_those_of_the_updates(tmp_path):
    assert made_of(Stop()).main(["--out", str(tmp_path)]) == 0
    part, values = results_in(tmp_path)["parts"]["one"], by_hand(0.1)
    seen = values[EVERY - 1 :: EVERY]
    history = part["history"]
    assert history["step"] == [10, 20, 30, 40]
    np.testing.assert_allclose(history["params"], seen, rtol=1e-5)
    best = min(seen, key=lambda value: abs(value - 0.5))
    assert best != seen[-1]  # else the last would do
    np.testing.assert_allclose(part["params"], best, rtol=1e-5)
    before = np.array([3.0, *values[:-1]])
    losses = (before - np.sin(np.arange(UPDATES))) ** 2
    np.testing.assert_allclose(history["training_loss"], losses.reshape(4, EVERY).mean(axis=1), rtol=1e-4)


@pytest.mark.parametrize("position", [3, 14, 20, 39])
def test_an_interrupted_run_goes_on_to_the_same_numbers(tmp_path, capsys, position):
    assert made_of(Stop()).main(["--out", str(tmp_path / "whole")]) == 0
    stop = Stop(position)
    assert made_of(stop).main(["--out", str(tmp_path / "parts")]) == 130
    assert "goes on" in capsys.readouterr().err
    assert made_of(stop).main(["--out", str(tmp_path / "parts")]) == 0
    whole, parts = (results_in(tmp_path / name)["parts"] for name in ("whole", "parts"))
    for name in whole:
        assert whole[name] | {"seconds": 0} == parts[name] | {"seconds": 0}
        logs = [read_log(tmp_path / folder / "logs" / "one.jsonl") for folder in ("whole", "parts")]
        for column in ("step", "loss", "gradient_norm", "aux.tokens"):
            np.testing.assert_array_equal(logs[0][column], logs[1][column])


@pytest.mark.parametrize("look", [2, 4])
def test_a_run_interrupted_in_an_evaluation_makes_it_before_it_goes_on(tmp_path, look):
    looks = []

    def score(found):
        looks.append(found)
        if len(looks) == look:
            raise KeyboardInterrupt
        return found["distance"]

    assert made_of(Stop()).main(["--out", str(tmp_path / "whole")]) == 0
    assert made_of(Stop(), score).main(["--out", str(tmp_path / "parts")]) == 130
    assert made_of(Stop(), score).main(["--out", str(tmp_path / "parts")]) == 0
    whole, parts = (results_in(tmp_path / name)["parts"]["one"] for name in ("whole", "parts"))
    assert whole["history"] == parts["history"] and whole["params"] == parts["params"]


def test_what_is_finished_is_not_computed_again_and_its_time_stays(tmp_path):
    assert made_of(Stop(position=14)).main(["--out", str(tmp_path)]) == 130
    before = float((tmp_path / "logs" / "one.seconds").read_text())
    assert made_of(Stop()).main(["--out", str(tmp_path)]) == 0
    first = results_in(tmp_path)
    assert first["parts"]["one"]["seconds"] >= round(before, 1) > 0
    assert made_of(Stop(position=0)).main(["--out", str(tmp_path)]) == 0
    assert results_in(tmp_path) == first


def test_results_that_miss_what_they_have_to_reach_end_in_an_error_after_all_is_written(tmp_path, capsys):
    def finish(results):
        raise Failed("too large")

    short = dataclasses.replace(made_of(Stop()), finish=finish)
    assert short.main(["--out", str(tmp_path)]) == 1
    assert "error: too large" in capsys.readouterr().err and results_in(tmp_path)["finished"]


def test_a_finished_part_is_kept(tmp_path, capsys):
    class Second(Stop):
        """Interrupts in the second part."""

        calls = 0

        def __call__(self, position):
            self.calls += 1
            if self.calls == UPDATES + 5:
                raise KeyboardInterrupt
            return super().__call__(position)

    assert made_of(Second()).main(["--out", str(tmp_path)]) == 130
    assert list(results_in(tmp_path)["parts"]) == ["one"]
    again = Second()
    assert made_of(again).main(["--out", str(tmp_path)]) == 0
    assert "Kept from an earlier run: one." in capsys.readouterr().err
    assert again.calls < UPDATES + 5 and list(results_in(tmp_path)["parts"]) == ["one", "two, again"]


def test_checkpoints_of_other_settings_are_refused_and_kept(tmp_path, capsys):
    assert made_of(Stop()).main(["--out", str(tmp_path)]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert made_of(Stop()).main(["--out", str(tmp_path), "--rate", "0.3"]) == 2
    assert "`configuration.rate` was 0.1, now it is 0.3" in capsys.readouterr().err
    assert made_of(Stop()).main(["--out", str(tmp_path), "--smoke"]) == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_checkpoints_of_another_version_are_refused(tmp_path, capsys, monkeypatch):
    assert made_of(Stop(14)).main(["--out", str(tmp_path)]) == 130
    monkeypatch.setattr(output, "versions", lambda: versions() | {"jax": "0.0.1"})
    assert made_of(Stop()).main(["--out", str(tmp_path)]) == 2
    assert "`configuration.versions.jax` was" in capsys.readouterr().err


@pytest.mark.parametrize("error, code, words", [(KeyboardInterrupt(), 130, "goes on"), (Failed("no"), 1, "error: no")])
def test_what_ends_a_run_before_its_first_update_is_told(tmp_path, capsys, error, code, words):
    def ended(settings, data):
        def train(fitting):
            raise error

        return {"one": train}

    application = dataclasses.replace(made_of(Stop()), runs=ended)
    assert application.main(["--out", str(tmp_path / "new")]) == code
    assert words in capsys.readouterr().err


def test_a_time_that_cannot_be_read_counts_as_none(tmp_path):
    assert made_of(Stop(14)).main(["--out", str(tmp_path)]) == 130
    (tmp_path / "logs" / "one.seconds").write_text("")
    assert made_of(Stop()).main(["--out", str(tmp_path)]) == 0


def test_checkpoints_without_their_logs_still_give_the_parameters(tmp_path):
    assert made_of(Stop()).main(["--out", str(tmp_path)]) == 0
    before = results_in(tmp_path)["parts"]["one"]["params"]
    (tmp_path / "results.json").unlink()
    shutil.rmtree(tmp_path / "logs")
    assert made_of(Stop(0)).main(["--out", str(tmp_path)]) == 0
    assert results_in(tmp_path)["parts"]["one"]["params"] == before


@pytest.mark.parametrize("name", ["one.jsonl", "one.validation.jsonl"])
def test_a_damaged_log_is_told(tmp_path, capsys, name):
    assert made_of(Stop()).main(["--out", str(tmp_path)]) == 0
    (tmp_path / "results.json").unlink()
    (tmp_path / "logs" / name).write_text("no log\n")
    assert made_of(Stop()).main(["--out", str(tmp_path)]) == 1
    assert f"{name} is no log of metrics" in capsys.readouterr().err.replace("\n", "")


def test_means_count_every_token_and_a_loss_beyond_all_bounds_is_told():
    assert mean_loss([(1.0, {"tokens": 3}), (np.float32(2.0), {"tokens": np.int32(1)})]) == 1.25
    assert perplexity(math.log(50.0)) == pytest.approx(50, rel=1e-12)
    for nats in (5500.0, math.inf, math.nan):
        with pytest.raises(Failed, match="nats a token: training diverged. Give a smaller --rate"):
            perplexity(nats)


def test_a_checkpoint_of_another_model_is_told(tmp_path, capsys, monkeypatch):
    assert made_of(Stop()).main(["--out", str(tmp_path)]) == 0
    (tmp_path / "results.json").unlink()
    monkeypatch.setattr(jnp, "float32", lambda value: np.full(2, value, np.float32))
    assert made_of(Stop()).main(["--out", str(tmp_path)]) == 1
    assert "is not the state that was saved" in capsys.readouterr().err


def test_what_is_trained_does_not_move_with_where_it_is_written(tmp_path):
    arguments = ["--tensorboard", "--device", "cpu"]
    assert made_of(Stop()).main(["--out", str(tmp_path / "a")]) == 0
    assert made_of(Stop()).main(["--out", str(tmp_path / "a"), *arguments]) == 0


def test_tensorboard_is_written(tmp_path):
    assert made_of(Stop()).main(["--out", str(tmp_path), "--tensorboard"]) == 0
    scalars = scalars_of(tmp_path / "tensorboard" / "two_again")
    log = read_log(tmp_path / "logs" / "two_again.jsonl")
    loss = dict(scalars["loss"])
    assert list(loss) == [begin for border in range(0, UPDATES, EVERY) for begin in (border, border + 4, border + 8)]
    validation = dict(scalars["validation/distance"])
    assert list(validation) == [10, 20, 30, 40]
    np.testing.assert_allclose(validation[40], abs(by_hand(0.1)[-1] - 0.5), rtol=1e-5)
    assert set(scalars) >= {"gradient_norm", "update_norm", "tokens_per_second"}
    ends = [end - 1 for border in range(0, UPDATES, EVERY) for end in (border + 4, border + 8, border + 10)]
    np.testing.assert_allclose(list(loss.values()), log["loss"][ends], rtol=1e-6)


def scalars_of(folder) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard's files hold: records of a length, its sum, an event, and its sum."""
    events = importlib.import_module("tensorboardX.proto.event_pb2")
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.iterdir()):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (size,) = struct.unpack_from("<Q", content, place)
            event = events.Event.FromString(content[place + 12 : place + 12 + size])
            place += size + 16
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


FILE = "tinyshakespeare/input.txt"


def test_a_smoke_run_takes_made_data_where_there_are_no_real_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "none"))
    monkeypatch.setattr(application, "ready_folder", lambda out, name: make(tmp_path / (out or name)))
    assert made_of(Stop(), files=(FILE,)).main(["--smoke"]) == 0
    found = results_in(tmp_path / "smoke" / "pulling")
    assert found["data"] == "made" and found["parts"]["one"]["data"] == "made" and found["settings"]["rate"] == 0.2
    stop = Stop(5)  # raised only if a second look computes anew
    assert made_of(stop, files=(FILE,)).main(["--smoke"]) == 130

    (tmp_path / "data" / FILE).parent.mkdir(parents=True)
    (tmp_path / "data" / FILE).write_text("to be")
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "data"))
    assert made_of(Stop(), files=(FILE,)).main(["--smoke", "--out", str(tmp_path / "real")]) == 0
    assert results_in(tmp_path / "real")["data"] == "real"
    assert made_of(Stop()).main(["--smoke", "--out", str(tmp_path / "drawn")]) == 0
    assert results_in(tmp_path / "drawn")["data"] == "drawn"


def test_only_a_smoke_run_is_compiled_with_little_optimisation(tmp_path, monkeypatch):
    asked = []

    def little_optimisation(wanted):
        asked.append(wanted)
        return contextlib.nullcontext()

    monkeypatch.setattr(application, "little_optimisation", little_optimisation)
    for arguments in ([], ["--smoke"]):
        assert made_of(Stop()).main([*arguments, "--out", str(tmp_path / str(len(arguments)))]) == 0
    assert asked == [False, True]


def make(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_folder_named_explicitly_has_to_hold_the_data(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(importlib.import_module("sys").modules, "pooch", None)  # nothing is downloaded
    char_lm = importlib.import_module("experiments.char_lm")
    (tmp_path / "empty").mkdir()
    arguments = ["--smoke", "--data", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]
    assert char_lm.main(arguments) == 2
    assert f"{tmp_path}/empty/{FILE} is missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_settings_write_nothing(tmp_path, capsys, monkeypatch):
    out = ["--out", str(tmp_path / "out")]
    assert made_of(Stop()).main(["--seed", "-1", *out]) == 2
    assert "--seed: must lie between 0" in capsys.readouterr().err
    monkeypatch.setitem(importlib.import_module("sys").modules, "tensorboardX", None)
    assert made_of(Stop()).main(["--tensorboard", *out]) == 2
    assert "pip install 'jaxrnn[applications]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_diverges_ends_in_one_line(tmp_path, capsys):
    assert made_of(Stop()).main(["--rate", "1e38", "--out", str(tmp_path)]) == 1
    message = "error: one: run: 10 updates in a row were not finite"
    assert message in capsys.readouterr().err
    assert made_of(Stop()).main(["--rate", "1e38", "--out", str(tmp_path)]) == 1  # from its checkpoint
    assert message in capsys.readouterr().err
