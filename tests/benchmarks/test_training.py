"""The main job with training: against an update written out, runs side by side against one by one, and all files."""

import csv
import dataclasses
import io
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import configurations, environment, figure, gradient_norms, run, table
from benchmarks.configurations import Sizes
from benchmarks.gradient_norms import main
from benchmarks.measure import draw, keys_of, measure, sample
from benchmarks.results import Results
from benchmarks.synthetic import SYNTHETIC
from benchmarks.training import Method, Problem, Training, train
from jaxrnn import Scan, unroll
from jaxrnn.gradients import adjoint_norms
from jaxrnn.gradients.reporting import styles
from tests.benchmarks.pictures import check_apart, texts_of
from tests.checks import assert_close

ADDING = SYNTHETIC["adding"]
SIZES, SEEDS, BATCH = Sizes(input=2, hidden=3, length=6), 2, 4
METHOD = Method(updates=3, learning_rate=0.1, batch=BATCH, dtype="float32")
NAMES = ["LSTM-forget-1", "LSTM-chrono"]
KEYS = keys_of(3, SEEDS)


def one_seed(tree, seed):
    return jax.tree.map(lambda x: x[..., seed : seed + 1], tree)


@pytest.fixture(scope="module")
def together():
    """Both initialisers and seeds in one call, and the updates that were reported."""
    reported = []
    params, training = train(configurations.select(NAMES), ADDING, SIZES, KEYS, METHOD, reported.append)
    assert reported == [1, 2, 3]
    return params, training


def test_runs_side_by_side_are_those_one_by_one(together):
    params, training = together
    (alone,) = configurations.select(["LSTM-chrono"])
    single, found = train([alone], ADDING, SIZES, one_seed(KEYS, 1), METHOD, lambda updates: None)
    assert_close(jax.tree.map(lambda x: x[1, 1], params), jax.tree.map(lambda x: x[0, 0], single), 1e-5)
    for field in ("loss_before", "loss_after"):
        expected = getattr(found["LSTM-chrono"], field)[0]
        assert getattr(training["LSTM-chrono"], field)[1] == pytest.approx(float(expected), rel=1e-5)
    assert training["LSTM-chrono"].updates.tolist() == [3, 3]
    assert training["LSTM-chrono"].skipped.tolist() == [0, 0]


def test_initialisers_and_seeds_share_one_compiled_call(monkeypatch):
    traced = []

    def counting(function):
        def counted(*arguments):
            traced.append(function.__name__)
            return function(*arguments)

        return counted

    monkeypatch.setattr("benchmarks.measure.adjoint_norms", counting(adjoint_norms))
    monkeypatch.setattr("benchmarks.training.unroll", counting(unroll))
    group, sizes = configurations.select(NAMES), SIZES._replace(hidden=5)
    measure(group, ADDING, sizes, KEYS, BATCH, "terminal")
    train(group, ADDING, sizes, KEYS, METHOD, lambda updates: None)
    assert traced == ["adjoint_norms", "unroll", "unroll"]  # of training, the update and the loss before and after


def test_the_curve_after_training_is_that_of_networks_trained_by_hand(together):
    """Optax called here, on a loss written here; the norms taken of what comes out, sample by sample."""
    params, training = together
    (chosen,) = configurations.select(["LSTM-forget-1"])
    cell, keys = chosen.build(SIZES), jax.tree.map(lambda key: key[0], KEYS)
    readout = jax.nn.initializers.glorot_uniform()(keys.readout, (3, 1), jnp.float32)
    model = (cell.init(keys.network, 2, jnp.float32), readout, jnp.zeros(1, jnp.float32))

    def loss_fn(model, batch):
        cell_params, weight, bias = model
        ys = unroll(cell, cell_params, batch.inputs, backend=Scan())[1]
        return jnp.mean((ys[-1] @ weight + bias - batch.targets) ** 2)

    @jax.jit
    def update(model, state, batch):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(jax.grad(loss_fn)(model, batch), state)
            return optax.apply_updates(model, updates), state

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
    state, held = optimizer.init(model), [sample(ADDING, KEYS.evaluation, n, 6, BATCH) for n in range(32)]
    held = [jax.tree.map(lambda x: x[0], batch) for batch in held]
    before = np.mean([loss_fn(model, batch) for batch in held])
    for number in range(3):
        batch = jax.tree.map(lambda x: x[0], sample(ADDING, KEYS.training, number, 6, BATCH))
        model, state = update(model, state, batch)
    after = np.mean([loss_fn(model, batch) for batch in held])
    assert_close(jax.tree.map(lambda x: x[0, 0], params), model[0], 1e-4)
    assert abs(before - after) > 1e-3
    assert training["LSTM-forget-1"].loss_before[0] == pytest.approx(before, rel=1e-5)
    assert training["LSTM-forget-1"].loss_after[0] == pytest.approx(after, rel=1e-3)

    xs = jax.tree.map(lambda x: x[0], sample(ADDING, KEYS.sequences, 6, 6, BATCH)).inputs
    projection = jax.random.normal(keys.projection, (3,), jnp.float32) / math.sqrt(3)
    logs = np.asarray(adjoint_norms(cell, model[0], xs, lambda ys: ys[-1] @ projection))
    trained = jax.tree.map(lambda x: x[:1, :1], params)
    arguments = ([chosen], ADDING, SIZES, one_seed(KEYS, 0), BATCH, "terminal", "float32")
    measured = measure(*arguments, trained)["LSTM-forget-1"]
    at_start = measure(*arguments)["LSTM-forget-1"]
    np.testing.assert_allclose(measured.curve.geometric_mean, logs.mean(axis=1)[::-1], rtol=1e-3, atol=1e-4)
    assert np.abs(measured.curve.geometric_mean - at_start.curve.geometric_mean).max() > 1e-2


def test_every_dtype_measures_the_same_networks():
    sizes = Sizes(input=2, hidden=4, length=12)
    group = configurations.select(["MinGRU"])
    found = {
        dtype: measure(group, ADDING, sizes, KEYS, 3, "terminal", dtype)["MinGRU"]
        for dtype in ("float32", "bfloat16", "float64")
    }
    exact = found["float64"]
    assert exact.curve.norm.median.dtype == np.float64 and exact.decay.r_squared > 0.9
    for dtype, tolerance in (("float32", 1e-5), ("bfloat16", 0.05)):
        assert found[dtype].curve.norm.median.dtype == np.float32
        error = np.abs(found[dtype].curve.norm.median - exact.curve.norm.median).max()
        assert 0 < error < tolerance * np.ptp(exact.curve.norm.median)
        assert found[dtype].decay.rate.median == pytest.approx(exact.decay.rate.median, rel=tolerance)


class Spoilt:
    """The adding problem with a NaN in the first value of every sequence."""

    def __init__(self, length):
        self.task = ADDING.build(length)
        self.input_size, self.output_size = 2, 1

    def sample(self, key, batch):
        found = self.task.sample(key, batch)
        return found._replace(inputs=found.inputs.at[0, :, 0].set(jnp.nan))


def test_updates_that_are_not_finite_are_left_out_and_said():
    source, group = dataclasses.replace(ADDING, build=Spoilt), configurations.select(NAMES)
    params, training = train(group, source, SIZES, KEYS, METHOD, lambda updates: None)
    jax.tree.map(np.testing.assert_array_equal, params, draw(group, SIZES, KEYS))
    for name in NAMES:
        assert training[name].updates.tolist() == [0, 0] and training[name].skipped.tolist() == [3, 3]
        assert np.isnan(training[name].loss_before).all() and np.isnan(training[name].loss_after).all()


@pytest.mark.parametrize(("dtype", "kept"), [("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")])
def test_parameters_are_updated_in_at_least_float32(dtype, kept):
    group = configurations.select(["LRU"])
    problem = Problem(group[0].build(SIZES), ADDING.objective, 0.1, dtype)
    state = jax.eval_shape(lambda: problem.init(draw(group, SIZES, KEYS), KEYS))
    batch = jax.eval_shape(lambda: sample(ADDING, KEYS.training, 0, 6, BATCH))
    for found in (state, jax.eval_shape(problem.update, state, batch)):
        assert {jnp.finfo(x.dtype).dtype for x in jax.tree.leaves(found.params)} == {jnp.dtype(kept)}


def read(folder):
    rows = list(csv.DictReader(io.StringIO((folder / "gradient_norms.csv").read_text(encoding="utf-8"))))
    return rows, json.loads((folder / "results.json").read_text(encoding="utf-8"))


SMALL = ["--seeds", "2", "--batch", "3", "--hidden-size", "4", "--lengths", "5", "--dtype", "bfloat16"]


def test_a_run_tells_both_stages_in_every_file(tmp_path, monkeypatch):
    drawn = []

    def save(picture, path):
        drawn.append(picture)
        path.touch()

    monkeypatch.setattr(figure, "save", save)
    names = ["MinGRU", "Elman"]
    arguments = ["--cells", *names, *SMALL]
    assert main([*arguments, "--train-steps", "2", "--out", str(tmp_path / "trained")]) == 0
    both = drawn[-1]
    assert main([*arguments, "--out", str(tmp_path / "plain")]) == 0
    rows, content = read(tmp_path / "trained")
    plain_rows, plain_content = read(tmp_path / "plain")
    assert {(row["configuration"], row["train_steps"], row["length"]) for row in rows} == {
        (name, updates, "5") for name in names for updates in "02"
    }
    assert [row for row in rows if row["train_steps"] == "0"] == plain_rows
    after = [float(row["ln_median"]) for row in rows if row["train_steps"] == "2"]
    assert np.isfinite(after).all() and not np.allclose(after, [float(row["ln_median"]) for row in plain_rows])

    assert content["training"]["baseline"] == pytest.approx(1 / 6, rel=1e-5) and content["training"]["length"] == 5
    assert content["settings"]["train_steps"] == 2 and "training" not in plain_content
    for name in names:
        found, plain = content["configurations"][name], plain_content["configurations"][name]
        assert found["by_length"] == plain["by_length"] and set(plain) == {"label", "by_length"}
        assert list(found["by_length_after_training"]) == ["5"]
        assert found["training"]["updates"] == [2, 2] and len(found["training"]["loss_after"]) == 2

    text = (tmp_path / "trained" / "table.md").read_text(encoding="utf-8")
    assert text.startswith("How far") and "| cell | updates | loss |" in text and "0.1667 without" in text
    assert text.count("| MinGRU | 0 |") == text.count("| MinGRU | 2 |") == 1
    assert "updates" not in (tmp_path / "plain" / "table.md").read_text(encoding="utf-8")

    for panel in both.axes:  # of each configuration a dashed and a solid line of one colour, on the same axes
        lines = {(line.get_color(), line.get_linestyle(), line.get_linewidth()) for line in panel.lines}
        for colour in (styles.OWN[name].colour for name in names):
            assert {(colour, "--", 1.3), (colour, "-", 2.6)} <= lines
    words = [text for text, _ in texts_of(both)]
    assert "at initialisation" in words and any(text.startswith("after 2 updates") for text in words)
    assert not any("updates" in text for text, _ in texts_of(drawn[-1]))


def test_both_stages_show_the_same_networks_where_initialisers_know_the_length(tmp_path, monkeypatch):
    monkeypatch.setattr(figure, "save", lambda picture, path: path.touch())
    arguments = ["--cells", "LSTM-chrono", *SMALL[:-4], "--lengths", "4", "40", "--out", str(tmp_path)]
    assert main([*arguments, "--train-steps", "1", "--learning-rate", "1e-30"]) == 0
    found = read(tmp_path)[1]["configurations"]["LSTM-chrono"]
    assert found["by_length"] == found["by_length_after_training"] and list(found["by_length"]) == ["4", "40"]
    assert main(arguments) == 0  # without training each length has its own
    alone = read(tmp_path)[1]["configurations"]["LSTM-chrono"]["by_length"]
    assert alone["40"] == found["by_length"]["40"] and alone["4"] != found["by_length"]["4"]


def test_an_interrupt_while_training_keeps_what_there_is(tmp_path, monkeypatch, capsys):
    def interrupted(group, *arguments):
        if group[0].name == "Elman":
            raise KeyboardInterrupt
        return train(group, *arguments)

    monkeypatch.setattr(run, "train", interrupted)
    monkeypatch.setattr(figure, "save", lambda picture, path: path.touch())
    arguments = ["--cells", "MinGRU", "Elman", *SMALL, "--train-steps", "1", "--out", str(tmp_path)]
    assert main(arguments) == 130
    assert "Interrupted." in capsys.readouterr().err
    rows, content = read(tmp_path)
    found = {(row["configuration"], row["train_steps"], row["length"]) for row in rows}
    assert found == {("MinGRU", "0", "5"), ("Elman", "0", "5"), ("MinGRU", "1", "5")}
    assert "training" in content["configurations"]["MinGRU"] and "training" not in content["configurations"]["Elman"]
    assert "| Elman | 0 | not yet |" in (tmp_path / "table.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("seed", [0, 1])
def test_no_text_of_the_figure_with_training_overlaps_or_is_cut(seed, tmp_path):
    rng, updates = np.random.default_rng(seed), 1000
    names = (*configurations.DEFAULT, "ConstantErrorCarousel", "PeepholeLSTM")
    settings = gradient_norms.Settings(cells=names, lengths=(4, 784), train_steps=updates, out=tmp_path)
    results = gradient_norms.plan(settings)[2]
    (known,) = measure(configurations.select(["MinGRU"]), ADDING, SIZES, KEYS, 2, "terminal").values()
    losses = np.ones(8)
    for name in names:
        fill(results, name, known, updates, rng)
        results.training[name] = Training(losses, losses / 3, losses, losses if name == "IRNN" else 0 * losses)
    picture = figure.draw(results)
    check_apart(picture)
    assert any(text.endswith("not finite are left out: IRNN.") for text, _ in texts_of(picture))
    rows = [row for row in table.table_rows(results) if row[0] == "IRNN"]
    assert rows[1][1] == "1000, not finite in 8 of 8 networks" and rows[0][2] == "1" and rows[1][2] == "0.3333"


def fill(results: Results, name, known, updates, rng) -> None:
    """Made curves of both stages: falling by up to 10^-600, some of them to exactly 0."""
    for length in results.settings["lengths"]:
        for stage in (0, updates):
            norms = -length * rng.uniform(0, 2) * np.linspace(0, 1, length) * rng.integers(0, 2)
            if name == "IRNN" and not stage:
                norms[length // 2 :] = -np.inf
            ends = known.curve.ratio._replace(median=norms[-1], low=norms[-1] - 1, high=norms[-1] + 1)
            band = known.curve.norm._replace(median=norms, low=norms - 1, high=norms + 1)
            curve = known.curve._replace(norm=band, ratio=ends, fraction_zero=np.zeros(length))
            results.add(stage, length, {name: known._replace(curve=curve)})


def test_the_short_form_trains_where_there_is_something_to_learn(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(bytes([0, 0, 8, 2]) + b"\0\0\0\2\0\0\0\x10" + bytes(32))
    for source, steps, lengths in (
        ({"data": "adding"}, 2, (8, 16)),
        ({"data": "copy"}, 2, (32, 64)),
        ({"data": "idx", "path": path}, 0, (8, 16)),
    ):
        planned = gradient_norms.plan(gradient_norms.Settings(**source, smoke=True, out=tmp_path / "out"))[0]
        assert (planned.train_steps, planned.lengths, planned.hidden_size) == (steps, lengths, 8)


def platforms():
    return jax.config.values["jax_platforms"]


def test_a_device_is_taken_and_an_absent_one_leaves_everything_as_it_was():
    before = platforms()
    try:
        environment.use_device("cpu")
        assert platforms() == "cpu"
        with pytest.raises(ValueError, match="--device: there is no gpu that JAX can use here, it has cpu"):
            environment.use_device("gpu")
        assert platforms() == "cpu"
    finally:
        jax.config.update("jax_platforms", before)


@pytest.mark.parametrize("error", [RuntimeError, AssertionError])
@pytest.mark.parametrize("platform", ["cuda", "rocm"])
def test_a_gpu_is_asked_for_by_the_names_that_jax_has_for_it(platform, error, monkeypatch):
    def found():
        if platforms() != platform:
            raise error("no such platform")
        return "gpu"

    before = platforms()
    monkeypatch.setattr(jax, "default_backend", found)
    try:
        environment.use_device("gpu")
        assert platforms() == platform
    finally:
        jax.config.update("jax_platforms", before)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("wanted", [False, True])
def test_little_optimisation_lasts_as_long_as_its_block(before, wanted):
    def now():
        return jax.config.read("jax_disable_most_optimizations")

    outside = now()
    jax.config.update("jax_disable_most_optimizations", before)
    try:
        with pytest.raises(RuntimeError, match="^stop$"), environment.little_optimisation(wanted):
            assert now() == (wanted or before)
            raise RuntimeError("stop")
        assert now() == before
    finally:
        jax.config.update("jax_disable_most_optimizations", outside)


def test_float64_needs_no_setting_outside(tmp_path):
    settings = gradient_norms.Settings(cells=("MinGRU",), lengths=(4,), dtype="float64", out=tmp_path)
    try:
        jax.config.update("jax_enable_x64", False)
        gradient_norms.plan(settings)
        assert jnp.ones(1).dtype == jnp.float64
    finally:
        jax.config.update("jax_enable_x64", True)
