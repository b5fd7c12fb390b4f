"""The path of a newcomer: three cells in a terminal, in words and letters."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.gradients import __main__ as command
from jaxrnn.gradients import decay_fit
from jaxrnn.gradients.findings import describe_decay
from jaxrnn.gradients.terminal import plot


def described(curve):
    return describe_decay("cell", np.asarray(curve, np.float64), decay_fit(jnp.asarray(curve)))


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        (
            np.log(0.5) * np.arange(31)[::-1],
            "half-life 1.0 steps; after 30 steps 10^-9.0 is left: it does not",
        ),
        (np.log(0.999) * np.arange(31)[::-1], "keeps its size; after 30 steps 0.97 is left: it carries 30 steps"),
        (np.log(0.95) * np.arange(31)[::-1], "half-life 13.5 steps; after 30 steps 0.21 is left: it carries 30 steps"),
        (np.log(2.0) * np.arange(31)[::-1], "doubles every 1.0 steps, 10^9.0 after 30 steps: it explodes"),
        (-1.5 * np.log(np.arange(1, 302))[::-1], "falls like lag^-1.5, a power law; after 300 steps 10^-3.7 is left"),
        (np.where(np.arange(31) < 20, -np.inf, 0.0), "exactly 0 from lag 11 on: it does not carry 30 steps"),
        (np.full(31, np.nan), "not a number"),
        (
            np.log(10) * np.linspace(0.95, 0, 31),
            "cell: grows, to 8.91 of its size after 30 steps: it carries 30 steps.",
        ),
        (-0.01 * np.arange(31)[::-1] + np.sin(7 * np.arange(31)), "no single rate; after 30 steps "),
        (np.log(10) * np.linspace(-2.9, 0, 31), "10^-2.9 is left: it carries 30 steps faintly."),
        (np.log(10) * np.linspace(-0.9, 0, 31), "0.13 is left: it carries 30 steps."),
        (np.log(10) * np.linspace(-1.1, 0, 2), "after 1 step 10^-1.1 is left: it carries 1 step faintly."),
        (np.log(10) * np.linspace(-3.1, 0, 31), "10^-3.1 is left: it does not carry 30 steps"),
        (np.where(np.arange(31) == 30, -np.inf, 0.0), "keeps its size; after 30 steps 1.00 is left: it carries"),
        (np.where(np.arange(31) > 28, 0.0, np.linspace(-8, -9, 31)), "no single rate; after 30 steps 10^-3.5 is left"),
    ],
)
def test_findings(curve, words):
    assert words in described(curve)


def test_plot_places_every_value_on_its_line():
    curve = np.log(10.0) * -np.arange(11.0)[::-1]
    lines = plot({"a": curve, "zero": np.full(11, -np.inf)}, width=19, height=11).splitlines()
    columns = [line.partition("|")[2].ljust(12) for line in lines[:11]]
    for row in range(10):
        assert columns[row].index("A") == row
    assert columns[10].strip() == "B" * 10 + "*"
    assert lines[0].startswith("  10^0 |") and lines[10].startswith("10^-10 |") and lines[12].endswith("10")
    with pytest.raises(ValueError, match="`curves` must hold no NaN, got some in a"):
        plot({"a": np.full(3, np.nan)})
    with pytest.raises(ValueError, match=r"of one length, got \[3, 4\]"):
        plot({"a": np.zeros(3), "b": np.zeros(4)})


def test_command(capsys):
    assert command.main(["--length", "20", "--hidden-size", "4", "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    assert "A tanh   B LSTM   C GRU" in printed
    for name in ("tanh", "LSTM", "GRU"):
        assert f"{name}: " in printed


def test_command_with_a_folder(capsys, tmp_path):
    assert command.main(["--smoke", "--out", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "new" / "decay.txt").read_text() in printed
    lines = (tmp_path / "new" / "decay.csv").read_text().splitlines()
    assert lines[0] == "lag,tanh,LSTM,GRU" and len(lines) == 22 and lines[-1].startswith("20,")
    plain, _, _ = np.array([line.split(",")[1:] for line in lines[1:]], float).T
    np.testing.assert_allclose(plain[::-1], command.curves(20, 4, 0)["tanh"], rtol=1e-5)
    (tmp_path / "file").write_text("mine")
    for arguments in (["--length", "0"], ["--seed", "-1"], ["--smoke", "--out", str(tmp_path / "file")]):
        with pytest.raises(SystemExit) as stop:
            command.main(arguments)
        assert stop.value.code == 2 and "must" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_needs_no_extras():
    code = (
        "import sys, jaxrnn.gradients.__main__; "
        "assert not {'matplotlib', 'tyro', 'rich', 'flax'} & {name.split('.')[0] for name in sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
