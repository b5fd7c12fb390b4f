import errno
import json
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import bptt_by_hand
from experiments.bptt_by_hand import Parameters, backward, forward, jax_copies, jax_total, main, problem, total

KEPT = Path(__file__).parents[2] / "experiments/results/bptt_by_hand"
FILES = {"bptt_by_hand.png", "bptt_by_hand.svg", "results.json", "table.md"}
TEXT = "a rose by an"  # as long as that of the smoke run, with as many characters: compiled once


@pytest.fixture(scope="module")
def derived():
    p, xs, ys = problem(TEXT, 4, seed=3)
    run = forward(p, xs, ys)
    return p, xs, ys, run, backward(p, run, xs, ys)


def on_device(p, xs, ys):
    return Parameters(*map(jnp.asarray, p)), jnp.asarray(xs), jnp.asarray(ys)


@pytest.mark.parametrize("name", Parameters._fields)
def test_every_copy_and_every_sum_equal_jax(derived, name):
    p, xs, ys, run, (copies, _) = derived
    loss, expected = jax_total(*on_device(p, xs, ys))
    by_copy = getattr(jax_copies(*on_device(p, xs, ys)), name)
    own = getattr(copies, name)
    assert own.shape == by_copy.shape == (len(xs), *getattr(p, name).shape)
    np.testing.assert_allclose(own, by_copy, rtol=0, atol=1e-10)
    np.testing.assert_allclose(getattr(total(copies), name), getattr(expected, name), rtol=0, atol=1e-10)
    np.testing.assert_allclose(run.loss, loss, rtol=1e-12)
    shares = np.abs(own).reshape(len(xs), -1).max(axis=1)
    assert (shares[1:] > 1e-3).all() and (shares[0] > 1e-3) == (
        name != "W"
    )  # h_0 = 0: the first copy of W adds nothing


def test_finite_differences_along_one_direction(derived):
    p, xs, ys, _, (copies, _) = derived
    rng, small = np.random.default_rng(0), 1e-4
    direction = Parameters(*(rng.normal(size=leaf.shape) for leaf in p))

    def loss(step):
        return forward(Parameters(*(leaf + step * d for leaf, d in zip(p, direction, strict=True))), xs, ys).loss

    central = (8 * (loss(small) - loss(-small)) - (loss(2 * small) - loss(-2 * small))) / (12 * small)
    slope = sum((g * d).sum() for g, d in zip(total(copies), direction, strict=True))
    assert abs(slope) > 1
    np.testing.assert_allclose(central, slope, rtol=1e-9)


def test_the_adjoint_belongs_to_the_state_after_the_step(derived):
    """a_t reaches the pre-activation, whose share is that of the bias and checked above, through 1 - h_t^2."""
    p, xs, ys, run, (copies, adjoints) = derived
    np.testing.assert_allclose(copies.b, (1 - run.hs[1:] ** 2) * adjoints, rtol=1e-12)
    np.testing.assert_allclose(adjoints[-1], p.V.T @ (run.ps[-1] - ys[-1]), rtol=1e-12)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "new" / "folder"
    assert main(["--smoke", "--seed", "1", "--out", str(folder)]) == 0
    return folder


def test_the_smoke_run_writes_every_file(smoke):
    assert {path.name for path in smoke.iterdir()} == FILES
    assert (smoke / "bptt_by_hand.png").read_bytes().startswith(b"\x89PNG")
    assert (smoke / "bptt_by_hand.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")
    results = json.loads((smoke / "results.json").read_text(encoding="utf-8"))
    assert results["settings"] == {"text": "to be, or no", "hidden_size": 4, "seed": 1, "smoke": True}
    assert 0 < results["largest_difference"] < 1e-10
    assert str(smoke) not in json.dumps(results)
    assert list(results["parameters"]) == list(Parameters._fields)
    for name, entry in results["parameters"].items():
        assert len(entry["norm_of_each_copy"]) == len(results["norm_of_adjoint"]) == 11
        assert 0 < entry["norm_of_sum"] <= entry["sum_of_norms"] == pytest.approx(sum(entry["norm_of_each_copy"]))
        assert re.search(
            rf"\| {name} \| .*{entry['norm_of_sum']:.4f}", (smoke / "table.md").read_text(encoding="utf-8")
        )


@pytest.mark.parametrize("kept", [False, True])
def test_no_text_of_the_figure_overlaps_or_is_cut(kept, smoke):
    results = json.loads(((KEPT if kept else smoke) / "results.json").read_text(encoding="utf-8"))
    picture = bptt_by_hand.draw(results)
    picture.draw_without_rendering()
    assert round(picture.bbox.width) == 1600
    texts = [*picture.texts]
    for axes in picture.axes:
        texts += [*axes.texts, axes._left_title, axes.xaxis.label, axes.yaxis.label]  # pyright: ignore[reportAttributeAccessIssue]
        if axes.axison:
            (left, right), words = axes.get_xlim(), axes.get_xticklabels()
            texts += [*axes.get_yticklabels(), *(text for text in words if left <= text.get_position()[0] <= right)]
        if legend := axes.get_legend():
            texts += legend.get_texts()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    for i, (text, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= picture.bbox.width and box.y1 <= picture.bbox.height, text
        for other, other_box in boxes[:i]:
            assert not box.overlaps(other_box), (text, other)


def wrong(p, run, xs, ys):
    copies, adjoints = backward(p, run, xs, ys)
    return copies._replace(W=copies.W * (1 + 1e-8)), adjoints


def not_a_number(p, run, xs, ys):
    copies, adjoints = backward(p, run, xs, ys)
    return copies._replace(c=copies.c * np.nan), adjoints


@pytest.mark.parametrize("broken", [wrong, not_a_number])
def test_a_difference_from_jax_ends_with_an_error_and_writes_nothing(broken, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bptt_by_hand, "backward", broken)
    assert main(["--smoke", "--out", str(tmp_path)]) == 1
    assert "error: differs from jax.grad" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_results_that_cannot_be_written_end_in_one_line_and_leave_the_old_ones(smoke, tmp_path, capsys, monkeypatch):
    def filled_up(picture, path):
        if path.suffix == ".svg":
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(b"new")

    def told():
        assert main(["--smoke", "--out", str(tmp_path)]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1
        return captured.err

    kept = json.loads((smoke / "results.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(bptt_by_hand, "compute", lambda _: kept)
    monkeypatch.setattr(bptt_by_hand, "save", filled_up)
    (tmp_path / "results.json").write_text("old")
    assert f"error: cannot write to {tmp_path}: No space left on device. Free space or choose another --out." in told()
    monkeypatch.setattr(bptt_by_hand, "save", lambda picture, path: path.write_bytes(b"new"))
    (tmp_path / "table.md").mkdir()
    assert f"error: cannot write to {tmp_path}: table.md is a folder. Free" in told()
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "table.md"}
    assert (tmp_path / "results.json").read_text() == "old"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden-size", "0"], "--hidden-size: must be at least 1, got 0"),
        (["--seed", "-1"], "--seed: must lie between 0 and 2^32 - 1, got -1"),
        (["--out", str(Path(__file__) / "folder")], "--out: cannot write to"),
    ],
)
def test_bad_input_ends_in_one_line(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(bptt_by_hand, "compute", lambda _: pytest.fail("computed before checking"))
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
    assert main([*arguments, *out]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and message in captured.err
    assert not list(tmp_path.iterdir())


def test_help_says_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--smoke" in shown and "Backpropagation through time by hand" in shown
