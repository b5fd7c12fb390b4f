"""The first example: both forms learn the word."""

import math

import pytest

from experiments import hello


@pytest.mark.parametrize("form", [hello.pure_functions, hello.flax_module])
def test_both_forms_learn_hello(form):
    history, letters = hello.train(*form(seed=0), updates=hello.UPDATES)
    assert len(history) == hello.UPDATES
    assert abs(history[0] - math.log(4)) < 0.7  # four letters, and nothing known
    assert history[-1] < 0.01
    assert letters == "ello"


def test_the_command_prints_what_was_learned(capsys, monkeypatch):
    monkeypatch.setattr(hello, "train", lambda params, logits, updates: ([1.4] * updates, "hole"))
    hello.main(seed=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["pure functions", "Flax NNX"]
    with pytest.raises(SystemExit) as stop:
        hello.main(seed=-1)
    assert stop.value.code == 2 and "--seed: must lie between 0" in capsys.readouterr().err
    assert all(line.endswith("1.4000 at last    h -> h  e -> o  l -> l  l -> e") for line in lines)
