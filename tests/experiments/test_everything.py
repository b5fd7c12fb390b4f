"""All applications: every one in turn, the table in the README, and refusals."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from experiments import everything, output
from experiments.application import DRAWN, REAL
from experiments.everything import NAMES, Settings, chosen, main, table, write_table


def test_turns_come_to_every_application():
    assert chosen(Settings()) == NAMES
    turns = [chosen(Settings(turn=turn)) for turn in range(len(NAMES))]
    assert all(len(set(turn)) == 3 for turn in turns)
    assert {name for turn in turns[:4] for name in turn} == set(NAMES)
    assert chosen(Settings(names=("music",), turn=5)) == ("music",)


@pytest.mark.parametrize("name", NAMES)
def test_every_application_opens_with_its_command_runtime_metric_and_what_is_published(name):
    module = importlib.import_module(f"experiments.{name}")
    text = module.__doc__
    for part in (f"python -m experiments.{name} --out experiments/results/{name}", "Runtime:", "Metric:", "Published:"):
        assert part in text, f"{name} lacks {part}"
    assert module.APPLICATION.name == name and module.APPLICATION.main == module.main


@pytest.mark.parametrize("name", NAMES)
def test_the_full_run_that_is_kept_is_that_of_the_command(name):
    application = importlib.import_module(f"experiments.{name}").APPLICATION
    found = json.loads((everything.HERE / "results" / name / "results.json").read_text())
    assert found["finished"] and found["data"] in (REAL, DRAWN)
    assert found["settings"] == json.loads(json.dumps(output.configuration(application.settings())))
    assert application.to_markdown(found) == (everything.HERE / "results" / name / "table.md").read_text()
    assert application.draw(found).axes


def test_the_readme_has_the_table_of_what_stands_in_the_results():
    readme = (everything.HERE / "README.md").read_text()
    assert f"{everything.BEGIN}\n{table()}\n{everything.END}" in readme


def test_only_finished_runs_on_real_data_come_into_the_table(tmp_path):
    kept = {"finished": True, "data": "drawn", "settings": {"smoke": False, "length": 40, "tested": [400]}}
    kept["parts"] = {"GRU": {"accuracy": [[1.0]]}}
    (tmp_path / "parity").mkdir()

    def rows(**changes):
        (tmp_path / "parity" / "results.json").write_text(json.dumps(kept | changes))
        return table(tmp_path).count("GRU")

    assert rows() == 1 and rows(finished=False) == 0 and rows(data="made") == 0
    assert rows(settings=kept["settings"] | {"smoke": True}) == 0


def test_the_table_is_written_into_its_place(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text(f"before\n{everything.BEGIN}old{everything.END}\nafter\n")
    monkeypatch.setattr(everything, "HERE", tmp_path)
    monkeypatch.setattr(everything, "table", lambda: "new\n")
    write_table()
    expected = f"before\n{everything.BEGIN}\nnew\n\n{everything.END}\nafter\n"
    assert (tmp_path / "README.md").read_text() == expected
    write_table()
    assert (tmp_path / "README.md").read_text() == expected


def test_what_fails_is_told_and_the_rest_still_runs(tmp_path, capsys, monkeypatch):
    made = []

    def call(command):
        made.append(command[2:])
        return 3 if "experiments.music" in command else 0

    monkeypatch.setattr(everything, "call", call)
    arguments = ["--smoke", "--seed", "4", "--names", "music", "parity"]
    assert main([*arguments, "--out", str(tmp_path)]) == 1
    assert made == [
        [f"experiments.{name}", "--seed", "4", "--out", str(tmp_path / name), "--smoke"] for name in ("music", "parity")
    ]
    assert "music failed; what they say stands above" in capsys.readouterr().err
    assert main(arguments) == 1 and made[2] == ["experiments.music", "--seed", "4", "--smoke"]


def test_the_table_is_written_though_one_fails(tmp_path, monkeypatch):
    made, written = [], []
    monkeypatch.setattr(everything, "call", lambda command: made.append(command[3:]) or 1)
    monkeypatch.setattr(everything, "write_table", lambda: written.append(True))
    monkeypatch.setattr(everything, "HERE", tmp_path / "experiments")
    assert main(["--names", "parity"]) == 1 and written == [True]
    assert made == [["--seed", "0", "--out", str(tmp_path / "experiments" / "results" / "parity")]]
    monkeypatch.chdir(tmp_path)
    assert main(["--names", "music", "--out", "there"]) == 1 and written == [True]
    assert made[1][-1] == str(tmp_path / "there" / "music")


CHILD = """
import pathlib, sys, time
path = pathlib.Path(sys.argv[1])
try:
    path.with_suffix(".begun").touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(1)
    path.touch()
    sys.exit(130)
"""


def test_an_interrupt_waits_until_what_runs_has_saved_its_state(tmp_path):
    begun, saved = tmp_path / "state.begun", tmp_path / "state"
    words = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores\n"
        "from experiments.everything import call\n"
        "call(sys.argv[1:])"
    )
    command = [sys.executable, "-c", words, sys.executable, "-c", CHILD, str(saved)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while not begun.exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
    assert "KeyboardInterrupt" in process.communicate(timeout=60)[1] and saved.exists()


def test_what_an_interrupt_has_ended_ends_all(monkeypatch):
    call = everything.call
    monkeypatch.setattr(everything, "call", lambda command: call([sys.executable, "-c", "raise SystemExit(130)"]))
    assert main(["--smoke", "--names", "music", "parity"]) == 130
    assert call([sys.executable, "-c", "raise SystemExit(3)"]) == 3


def test_without_pytorch_no_full_run_begins(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r"^--names: word_lm cannot run\. --twin: .*pip install torch"):
        everything.plan(Settings())
    everything.plan(Settings(smoke=True))


def test_unknown_names_are_refused(capsys):
    assert main(["--names", "music", "music"]) == 2
    assert "--names: must be one or more, each of them once, got music music" in capsys.readouterr().err
    assert main(["--names", "muzak"]) == 2
    assert "--names: must be some of char_lm" in capsys.readouterr().err
