"""Music: the likelihood beside one in NumPy, pieces cut and composed, a smoke run on made pieces, and bad input."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import made_music
from experiments.music import CHORALES, TUNES, cut, main
from experiments.music_figure import PUBLISHED, rows, to_markdown
from experiments.music_models import KEYS, Composer, compose, piece
from jaxrnn import GRU
from jaxrnn.data import Buckets, is_present, jsb_chorales, next_step, nottingham

FILES = {"music.png", "music.svg", "jsb_chorales.mid", "nottingham.mid", "results.json", "table.md", "logs"}


@pytest.fixture(scope="module")
def rolls():
    return made_music.rolls("test", seed=0)[:5]


def test_nats_a_frame_are_those_of_each_piece_by_itself(rolls):
    composer = Composer(GRU(4), 0.5, 0.5)
    params = composer.init(jax.random.key(0))
    nats, frames = 0.0, 0
    for roll in rolls:
        p = 1 / (1 + np.exp(-np.asarray(composer.model(params)(roll[:-1, None]), np.float64)[:, 0]))
        nats -= np.sum(np.where(roll[1:] == 1, np.log(p), np.log1p(-p)))
        frames += len(roll) - 1
    assert len({len(roll) for roll in rolls}) > 2
    source = Buckets(*next_step(rolls), batch=2, buckets=2)
    np.testing.assert_allclose(composer.nats(params, source), nats / frames, rtol=1e-5)


def test_a_key_brings_noise(rolls):
    roll, key = rolls[0][:, None], jax.random.key(1)
    for rates, noisy in (((0.0, 0.0), False), ((0.5, 0.0), True), ((0.0, 0.5), True)):
        composer = Composer(GRU(4), *rates)
        model = composer.model(composer.init(jax.random.key(0)))
        assert (np.abs(model(roll, key) - model(roll)).max() > 1e-3) == noisy


def test_each_frame_of_a_cut_piece_is_told_once():
    roll = np.arange(11)[:, None] * np.ones((1, KEYS))
    for longest, lengths in ((4, [5, 5, 3]), (5, [6, 6]), (10, [11]), (20, [11])):
        parts = cut([roll], longest)
        assert [len(part) for part in parts] == lengths
        assert np.concatenate([part[1:, 0] for part in parts]).tolist() == list(range(1, 11))


def test_it_goes_on_from_what_was_begun():
    def step(carry, frame):  # the key above, surely
        logits = jnp.where(jnp.roll(frame, 1) == 1, 99.0, -99.0).astype(jnp.float32)
        return carry + jnp.sum(frame).astype(jnp.float32), logits

    begun = jnp.zeros((3, KEYS), jnp.float32).at[jnp.arange(3), jnp.array([9, 30, 40])].set(1)
    drawn = compose(jax.tree_util.Partial(step), jnp.float32(0), begun, 4, jax.random.key(0))
    assert np.argwhere(drawn).tolist() == [[0, 41], [1, 42], [2, 43], [3, 44]]


def test_keys_are_drawn_with_their_own_probability():
    def step(carry, frame):
        return carry, jnp.where(jnp.arange(KEYS) < 44, -1.0, 1.0).astype(jnp.float32)

    begun = jnp.zeros((1, KEYS), jnp.float32)
    drawn = np.asarray(compose(jax.tree_util.Partial(step), (), begun, 400, jax.random.key(0)))
    low, high = drawn[:, :44].mean(), drawn[:, 44:].mean()
    np.testing.assert_allclose([low, high], [0.2689, 0.7311], atol=0.01)
    assert np.abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.15


def test_a_piece_is_told_in_pitches(rolls):
    composer = Composer(GRU(4), 0.0, 0.0)
    model = composer.model(composer.init(jax.random.key(0)))
    made = piece(model, rolls[0][:6], 3, jax.random.key(2))
    assert len(made) == 9
    assert made[:6] == [(np.flatnonzero(frame) + 21).tolist() for frame in rolls[0][:6]]
    assert made == piece(model, rolls[0][:6], 3, jax.random.key(2))


def test_made_pieces_have_the_format_of_the_real_ones():
    made = made_music.rolls("train", seed=0)
    assert {(roll.dtype.name, roll.shape[1], roll.max()) for roll in made} == {("float32", KEYS, 1)}
    files = {jsb_chorales: "jsb-chorales/jsb-chorales-quarter.json", nottingham: "nottingham/Nottingham.mat"}
    for reader, file in files.items():
        if not is_present(file):
            pytest.skip("the recorded pieces are not here")
        roll = reader("test")[0]
        assert (roll.dtype, roll.shape[1], roll.max()) == (made[0].dtype, KEYS, 1)


@pytest.mark.smoke
def test_smoke_on_made_pieces(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "nothing"))
    assert main(["--smoke", "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | {"checkpoints"}
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["data"] == "made" and list(results["parts"]) == [CHORALES, TUNES]
    for name, part in results["parts"].items():
        assert list(part["cells"]) == ["GRU", "LSTM"]
        for values in part["cells"].values():
            history = values["history"]
            assert history["step"] == [30, 60] and history["training_loss"][1] < history["training_loss"][0]
            assert 0 < values["validation"] == pytest.approx(min(history["nats"]), rel=1e-4)
        best = min(part["cells"], key=lambda cell: part["cells"][cell]["validation"])
        assert part["best"] == best and len(part["piece"]) == part["begun"] + 32
        assert (tmp_path / "out" / f"{name.lower().replace(' ', '_')}.mid").read_bytes()[:4] == b"MThd"
    table = (tmp_path / "out" / "table.md").read_text()
    assert table == to_markdown(results) and table in capsys.readouterr().out
    lstm = results["parts"][TUNES]["cells"]["LSTM"]["test"]
    assert rows(results)[-1].gap == f"{lstm - PUBLISHED[TUNES]['LSTM']:+.2f}"


def test_bad_input_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXRNN_DATA", str(tmp_path / "nothing"))
    out = ["--out", str(tmp_path / "new")]
    for arguments, words in (
        (["--updates", "5", "0"], "--updates: must be at least 1, got (5, 0)"),
        (["--cells", "GRU", "GRU"], "--cells: must be one or more, each of them once, got GRU GRU"),
        (["--frames", "1"], "--frames: must be at least 2, got 1"),
        (["--input-dropout", "0", "1"], "--input-dropout: must lie in [0, 1), got (0.0, 1.0)"),
        (["--rate", "inf"], "--rate: must be a finite number above 0, got inf"),
    ):
        assert main([*out, *arguments]) == 2
        assert words in capsys.readouterr().err
    broken = tmp_path / "data" / "jsb-chorales" / "jsb-chorales-quarter.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{}")
    assert main(["--smoke", "--data", str(tmp_path / "data"), *out]) == 2
    assert "must have the SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
