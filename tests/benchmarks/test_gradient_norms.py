import csv
import dataclasses
import gzip
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmarks import configurations, figure, gradient_norms, report, run
from benchmarks.configurations import Sizes, by_dynamics
from benchmarks.gradient_norms import main
from benchmarks.labels import spread
from benchmarks.measure import Band, keys_of, measure
from benchmarks.panel import Line, draw_panel
from benchmarks.recorded import Images
from benchmarks.synthetic import SYNTHETIC
from jaxrnn import GRU, LSTM, Elman, cells
from jaxrnn.gradients.reporting.styles import OWN, styles_of
from jaxrnn.tasks import Adding
from tests.benchmarks.pictures import check_apart, texts_of

ROOT = Path(__file__).parents[2]
ADDING = SYNTHETIC["adding"]
FILES = {"gradient_norms.csv", "gradient_norms.png", "gradient_norms.svg", "results.json", "table.md"}
SMALL = ["--seeds", "2", "--batch", "3", "--hidden-size", "4"]


def read_rows(folder):
    return list(csv.DictReader(io.StringIO((folder / "gradient_norms.csv").read_text(encoding="utf-8"))))


def check_complete(folder, names, lengths):
    """All files are there, whole, and hold every configuration and length."""
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder / "gradient_norms.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "gradient_norms.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert list(content["configurations"]) == list(names)
    for name in names:
        assert list(content["configurations"][name]["by_length"]) == [str(length) for length in lengths]
    rows = read_rows(folder)
    assert {(row["configuration"], int(row["length"])) for row in rows} == {(n, t) for n in names for t in lengths}
    numbers = np.array([[float(row[column]) for column in report.CSV_COLUMNS[2:]] for row in rows])
    assert not np.isnan(numbers).any()
    return content, rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "new" / "folder"
    names = ["MinGRU", "LSTM-forget-0", "LSTM-chrono"]
    assert main(["--out", str(folder), "--lengths", "9", "4", "--cells", *names, *SMALL]) == 0
    return folder, names


def test_a_run_writes_every_file(whole):
    folder, names = whole
    content, rows = check_complete(folder, names, [4, 9])
    assert len(rows) == 3 * (4 + 9)
    for row in rows:
        assert math.isfinite(float(row["ln_median"]))
        assert float(row["ln_quantile_10"]) <= float(row["ln_median"]) <= float(row["ln_quantile_90"])
        assert float(row["ln_geometric_mean"]) <= float(row["ln_root_mean_square"]) + 1e-5
        assert float(row["fraction_zero"]) == 0
    assert content["settings"]["lengths"] == [4, 9] and content["settings"]["hidden_size"] == 4
    assert set(content["versions"]) == {"python", "jax", "jaxlib", "numpy", "optax", "jaxrnn"}
    assert content["machine"]["cores"] >= 1 and content["machine"]["cpu"]
    assert content["configurations"]["MinGRU"]["by_length"]["9"]["decay"]["lags"] == [0, 8]
    table = (folder / "table.md").read_text(encoding="utf-8")
    assert table.count("\n| ") >= 5 and "LSTM, forget bias 0" in table
    assert str(folder) not in (folder / "results.json").read_text(encoding="utf-8")


def test_the_same_seed_gives_the_same_data_and_picture(whole, tmp_path):
    folder, names = whole
    assert main(["--out", str(tmp_path), "--lengths", "4", "9", "--cells", *names, *SMALL]) == 0
    for name in ("gradient_norms.csv", "gradient_norms.svg", "gradient_norms.png", "table.md"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_text_and_images_are_read(tmp_path):
    text = tmp_path / "some.txt"
    text.write_bytes(b"to be or not to be")
    out = tmp_path / "out"
    arguments = ["--lengths", "5", "--cells", "MinGRU", "--loss", "every-step", *SMALL]
    assert main(["--data", "text", "--path", str(text), "--out", str(out), *arguments]) == 0
    content, _ = check_complete(out, ["MinGRU"], [5])
    assert content["settings"]["file"] == "some.txt" and len(content["settings"]["sha256"]) == 64
    assert str(tmp_path) not in json.dumps(content)
    images = tmp_path / "images.gz"
    images.write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + b"\0\0\0\2\0\0\0\3\0\0\0\4" + bytes(range(100, 124))))
    assert main(["--data", "idx", "--path", str(images), "--out", str(out), *arguments]) == 0
    check_complete(out, ["MinGRU"], [5])
    assert main(["--data", "idx", "--path", str(images), "--out", str(out), "--cells", "MinGRU", *SMALL]) == 0
    check_complete(out, ["MinGRU"], [8, 12])


def test_exact_zeros_are_kept_and_said(tmp_path):
    """Without input a relu network stays at zero, where its derivative is zero."""
    path = tmp_path / "black"
    path.write_bytes(bytes([0, 0, 8, 2]) + b"\0\0\0\2\0\0\0\x08" + bytes(16))
    out = tmp_path / "out"
    assert main(["--data", "idx", "--path", str(path), "--out", str(out), "--cells", "IRNN", "Elman", *SMALL]) == 0
    content, rows = check_complete(out, ["IRNN", "Elman"], [8])
    irnn = [row for row in rows if row["configuration"] == "IRNN"]
    assert [row["ln_median"] for row in irnn[1:]] == ["-inf"] * 7
    assert [float(row["fraction_zero"]) for row in irnn] == [0] + [1] * 7
    summary = content["configurations"]["IRNN"]["by_length"]["8"]
    assert summary["ln_ratio"]["median"] == "-inf" and summary["fraction_zero_at_first_step"] == 1
    assert summary["decay"]["rate"]["median"] == "nan" and summary["decay"]["fraction_of_samples_fitted"] == 0
    assert "exactly 0" in (out / "table.md").read_text(encoding="utf-8")


@pytest.fixture
def files(tmp_path):
    paths = {
        name: tmp_path / name
        for name in ("empty.txt", "short.txt", "byte.txt", "images", "labels", "text", "file", "absent")
    }
    paths["empty.txt"].touch()
    paths["short.txt"].write_bytes(b"ten bytes.")
    paths["byte.txt"].write_bytes(b"t")
    paths["images"].write_bytes(bytes([0, 0, 8, 3]) + b"\0\0\0\2\0\0\0\3\0\0\0\4" + bytes(24))
    paths["labels"].write_bytes(bytes([0, 0, 8, 1]) + b"\0\0\0\2" + bytes(2))
    paths["text"].write_bytes(b"not an idx file")
    paths["file"].touch()
    return paths


BAD = {
    "unknown cell": (["--cells", "Elman", "GRUU"], r"--cells: unknown GRUU\. Choose from .*LSTM-chrono"),
    "no cell": (["--cells"], r"--cells: unknown nothing\. Choose from"),
    "no seeds": (["--seeds", "0"], r"--seeds: must be at least 1, got 0"),
    "no batch": (["--batch", "-1"], r"--batch: must be at least 1, got -1"),
    "no units": (["--hidden-size", "0"], r"--hidden-size: must be at least 1, got 0"),
    "a negative seed": (["--seed", "-1"], r"--seed: must lie between 0 and 2\^32 - 1, got -1"),
    "a short length": (["--lengths", "8", "1"], r"--lengths: must be at least 2 steps, got 1"),
    "a path for made data": (["--path", "{text}"], r"--path: --data adding reads no file of your own, got .*text"),
    "a path for a data set": (["--data", "mnist", "--path", "{images}"], r"--path: --data mnist reads no file of your"),
    "a directory for made data": (["--directory", "{file}"], r"--directory: --data adding reads no data set, got"),
    "a directory beside a path": (
        ["--data", "text", "--path", "{text}", "--directory", "{file}"],
        r"--directory: --path .*text reads no data set, got .*file\. Leave one of the two out",
    ),
    "no path": (["--data", "idx"], r"--path: --data idx needs a file of images\. Add --path FILE"),
    "training without labels": (
        ["--data", "idx", "--path", "{images}", "--train-steps", "5"],
        r"--train-steps: --data idx has no labels to train on, got 5 updates",
    ),
    "training backwards": (["--train-steps", "-1"], r"--train-steps: must be at least 0, got -1"),
    "no learning rate": (["--learning-rate", "0"], r"--learning-rate: must be above 0, got 0\.0"),
    "a learning rate that is none": (["--learning-rate", "nan"], r"--learning-rate: must be above 0, got nan"),
    "too short for the task": (
        ["--data", "copy", "--lengths", "20"],
        r"--lengths: must be at least 21 steps, got 20\. Leave the short ones out",
    ),
    "an absent device": (["--device", "tpu"], r"--device: there is no tpu that JAX can use here, it has cpu"),
    "an absent path": (["--data", "text", "--path", "{absent}"], r"cannot read .*absent: No such file"),
    "an empty text": (["--data", "text", "--path", "{empty.txt}"], r"empty\.txt is empty, 0 bytes"),
    "a short text": (
        ["--data", "text", "--path", "{short.txt}", "--lengths", "8", "16"],
        r"--lengths: 16 steps are more than the 9 bytes of short\.txt that another follows\. Give",
    ),
    "no more than one byte": (
        ["--data", "text", "--path", "{byte.txt}"],
        r"--path: there must be at least 2 bytes of .*, got 0",
    ),
    "beyond the pixels": (
        ["--data", "idx", "--path", "{images}", "--lengths", "13"],
        r"--lengths: 13 steps are more than the 12 pixels of an image in images",
    ),
    "no images": (["--data", "idx", "--path", "{labels}"], r"labels holds uint8 of shape \(2,\), not images"),
    "a foreign file": (["--data", "idx", "--path", "{text}"], r"text is no idx file"),
    "an absent idx": (["--data", "idx", "--path", "{absent}"], r"cannot read .*absent: No such file"),
    "an unwritable folder": (
        ["--out", "{file}/deep/folder"],
        r"--out: cannot write to .*folder: Not a directory\. Choose",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_one_line_and_writes_nothing(case, files, tmp_path, capsys, monkeypatch):
    arguments, message = BAD[case]
    arguments = [re.sub(r"\{(.*?)\}", lambda match: str(files[match[1]]), argument) for argument in arguments]
    out = tmp_path / "out"
    if "--out" not in arguments:
        arguments += ["--out", str(out)]
    for name in ("measure", "train"):
        monkeypatch.setattr(run, name, lambda *_: pytest.fail("computed before checking"))
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == 2
    assert sorted(tmp_path.rglob("*")) == before
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and captured.err.startswith("error: ")
    assert re.search(message, captured.err), captured.err


def test_a_word_that_is_no_number_ends_with_the_same_code(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--seeds", "many"])
    assert caught.value.code == 2
    assert "many" in capsys.readouterr().err


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_an_interrupted_run_keeps_what_it_has(done, tmp_path, capsys, monkeypatch):
    """Ctrl-C in the call after `done` ones; two groups a length."""
    calls = []

    def interrupted(*arguments):
        if len(calls) == done:
            raise KeyboardInterrupt
        calls.append(arguments)
        return measure(*arguments)

    monkeypatch.setattr(run, "measure", interrupted)
    names = ["MinGRU", "Elman"]
    assert main(["--out", str(tmp_path), "--lengths", "3", "4", "--cells", *names, *SMALL]) == 130
    assert "Interrupted." in capsys.readouterr().err
    if not done:
        assert not list(tmp_path.iterdir())
        return
    measured = [(names[i % 2], (3, 4)[i // 2]) for i in range(done)]
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert {(row["configuration"], int(row["length"])) for row in read_rows(tmp_path)} == set(measured)
    json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))


def test_a_folder_that_is_in_the_way_of_a_file_ends_in_one_line(tmp_path, capsys):
    (tmp_path / "table.md").mkdir()
    assert main(["--out", str(tmp_path), "--lengths", "3", "--cells", "MinGRU", *SMALL]) == 2
    assert f"error: cannot write to {tmp_path}: table.md is a folder. Free space" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"]


@pytest.mark.parametrize("name", sorted(configurations.available()))
def test_every_exported_cell_can_be_measured(name):
    sizes = Sizes(input=2, hidden=3, length=4)
    group = configurations.select([name])
    (measured,) = measure(group, ADDING, sizes, keys_of(0, 2), 3, "terminal").values()
    assert measured.curve.norm.median.shape == (4,)
    assert np.isfinite(measured.curve.norm.median[0])
    assert not np.isnan(measured.curve.norm.median).any()


def test_the_exports_are_what_can_be_chosen():
    exported = {name for name, value in vars(cells).items() if isinstance(value, type)}
    assert exported < set(configurations.available())
    assert set(configurations.DEFAULT) < set(configurations.available())


def test_configurations_that_differ_in_initialisers_alone_share_a_call():
    groups = by_dynamics(configurations.select(configurations.DEFAULT), Sizes(2, 4, 16))
    names = [[configuration.name for configuration in group] for group in groups]
    assert ["LSTM-forget-0", "LSTM-forget-1", "LSTM-chrono"] in names
    assert ["Elman"] in names and ["IRNN"] in names and len(names) == 6


def test_one_call_for_all_initialisers_equals_one_call_each():
    sizes, keys = Sizes(2, 4, 6), keys_of(1, 2)
    group = configurations.select(["LSTM-forget-0", "LSTM-chrono"])
    together = measure(group, ADDING, sizes, keys, 3, "terminal")
    for configuration in group:
        alone = measure([configuration], ADDING, sizes, keys, 3, "terminal")[configuration.name]
        both = together[configuration.name]
        assert np.isfinite(alone.curve.norm.median).all() and np.isfinite(alone.decay.rate.median)
        np.testing.assert_allclose(both.curve.norm.median, alone.curve.norm.median, rtol=1e-5)
        np.testing.assert_allclose(both.decay.rate.median, alone.decay.rate.median, rtol=1e-5)


def test_initialisers_cross_the_cells_that_have_a_place_for_them():
    chosen = configurations.select(["Elman", "GRU", "MinGRU"], ["own", "orthogonal:0.5", "chrono"])
    assert [c.name for c in chosen] == [
        "Elman", "GRU", "MinGRU", "Elman-orthogonal:0.5", "GRU-orthogonal:0.5", "GRU-chrono",
    ]  # fmt: skip
    sizes = Sizes(2, 4, 20)
    assert chosen[3].build(sizes) == Elman(4, recurrent_init=configurations.Orthogonal(0.5))
    assert chosen[5].build(sizes) == GRU(4, bias_init=configurations.Chrono(20))
    for inits, message in (
        (["spectral"], "--inits: unknown spectral.*orthogonal"),
        (["forget:x"], "--inits: unknown forget:x"),
        (["forget:1"], "--inits: forget:1 fits none of Elman"),
        ([], "--inits: got nothing"),
        (["forget:nan"], "--inits: the number must be finite, got forget:nan"),
        (["chrono:0"], "--inits: the number must be finite above 0, got chrono:0"),
    ):
        with pytest.raises(ValueError, match=message):
            configurations.select(["Elman"], inits)


def test_an_untouched_memory_decays_by_its_forget_gate():
    """Weights of zero leave c' = sigmoid(b) * c: a half-life of one step for a bias of 0, 2.213 for 1."""

    def still(bias):
        def build(sizes):
            zero = configurations.Gaussian(0.0)
            return LSTM(sizes.hidden, zero, zero, configurations.ForgetBias(bias))

        return configurations.Configuration(str(bias), str(bias), build)

    measured = measure([still(0.0), still(1.0)], ADDING, Sizes(2, 4, 200), keys_of(0, 2), 3, "terminal")
    assert measured["0.0"].decay.half_life == pytest.approx(1.0, rel=1e-4)
    assert measured["1.0"].decay.half_life == pytest.approx(2.2126, rel=1e-4)
    assert measured["0.0"].decay.r_squared == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("curves", [1, 8, 64, 1000])
def test_thinned_lags_keep_both_ends_and_the_size(curves):
    lags = report.kept_lags(1024, curves)
    assert lags[0] == 0 and lags[-1] == 1023 and (np.diff(lags) > 0).all()
    assert len(lags) <= max(report.MAX_ROWS // curves, 16)
    assert (report.kept_lags(10, 64) == np.arange(10)).all()


def test_labels_keep_their_order_and_distance():
    rng = np.random.default_rng(0)
    for count in (1, 2, 8, 14):
        targets = rng.uniform(0, 1, count)
        heights = spread(list(targets), 0.06)
        assert (np.argsort(heights) == np.argsort(targets)).all()
        assert (heights >= 0).all() and (heights <= 1 + 1e-12).all()
        assert (np.diff(np.sort(heights)) >= 0.06 - 1e-12).all()
    np.testing.assert_allclose(spread([0.1, 0.9], 0.06), [0.1, 0.9])
    assert spread([0.5] * 40, 0.06).max() <= 1 + 1e-12


@pytest.mark.parametrize("ends", [(-0.3, 0.0), (-0.9, -0.1), (-1.0, -1.0), (-1.6, 0.4), (-3.5, 2.0), (-700.0, 0.0)])
def test_every_tick_tells_its_own_power_of_ten(ends):
    axes = Figure().add_subplot()
    curve = np.linspace(*ends, 5)
    line = Line("a cell", 0, OWN["Elman"], False, np.arange(5), Band(curve, curve - 0.01, curve + 0.01), 0.0)
    draw_panel(axes, [line], by_length=False, stages=False)
    low, high = axes.get_ylim()
    ticks = [(at, text.get_text()) for at, text in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)]
    assert len(ticks) >= 2 and all(low <= at <= high for at, _ in ticks)
    assert [text for _, text in ticks] == [f"$10^{{{int(at)}}}$" for at, _ in ticks] and all(
        at % 1 == 0 for at, _ in ticks
    )


def test_styles_are_the_same_in_every_figure_and_tell_all_apart():
    alone = styles_of(["GRU"])["GRU"]
    everything = sorted(configurations.available())
    found = styles_of(everything)
    assert found["GRU"] == alone == styles_of(["LRU", "GRU"])["GRU"] and len(set(found.values())) == len(everything)
    many = styles_of([f"cell {n}" for n in range(60)])
    assert len(set(many.values())) == 60 and not set(many.values()) & set(OWN.values())


class Broken:
    """Steps of the adding problem that are all NaN."""

    def __init__(self, length):
        self.length = length

    def sample(self, key, batch):
        found = Adding(self.length).sample(key, batch)
        return found._replace(inputs=jnp.full_like(found.inputs, jnp.nan))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_text_of_the_figure_overlaps_or_is_cut(seed, tmp_path):
    rng = np.random.default_rng(seed)
    everything = sorted(configurations.available())
    settings = gradient_norms.Settings(cells=tuple(everything), lengths=(4, 200), seeds=1, batch=2, hidden_size=2)
    settings, source, results, _ = gradient_norms.plan(dataclasses.replace(settings, out=tmp_path))
    zeros = jnp.zeros((1, 28, 28), jnp.uint8)
    images = Images(zeros, jnp.zeros(1, jnp.int32), "a-very-long-name-" * 4 + "idx3-ubyte.gz", classes=0)
    results.source, results.title = images.description, f"How far back do gradients reach in {images.title}?"
    (known,) = measure(configurations.select(["MinGRU"]), source, Sizes(2, 2, 4), keys_of(0, 1), 2, "terminal").values()
    for length in settings.lengths:
        for name in everything:
            norms = -length * rng.uniform(0, 2) * np.linspace(0, 1, length) * rng.integers(0, 2)
            if name == "IRNN":
                norms[length // 2 :] = -np.inf
            ends = {"median": norms[-1], "low": norms[-1] - 1, "high": norms[-1] + 1}
            curve = known.curve._replace(
                norm=known.curve.norm._replace(median=norms, low=norms - 1, high=norms + 1),
                ratio=known.curve.ratio._replace(**ends),
                fraction_zero=np.full(length, rng.integers(0, 2) * rng.uniform()),
            )
            results.add(0, length, {name: known._replace(curve=curve)})
    check_apart(figure.draw(results))


def test_what_is_not_a_number_stays_visible(tmp_path):
    settings = gradient_norms.Settings(cells=("MinGRU",), lengths=(4,), seeds=1, batch=2, hidden_size=2, out=tmp_path)
    _, _, results, folder = gradient_norms.plan(settings)
    group = configurations.select(["MinGRU"])
    results.add(
        0, 4, measure(group, dataclasses.replace(ADDING, build=Broken), Sizes(2, 2, 4), keys_of(0, 1), 2, "terminal")
    )
    gradient_norms.write(results, folder)
    assert "nan" in read_rows(tmp_path)[1]["ln_median"]
    assert "10^nan" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert any("not a number" in text for text, _ in texts_of(figure.draw(results)))


@pytest.mark.parametrize("command", [["-m", "benchmarks.gradient_norms"], ["benchmarks/gradient_norms.py"]])
def test_help_is_there_for_module_and_script(command):
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--lengths" in done.stdout and "How far back do gradients reach?" in done.stdout
