"""The report: records that are checked, files that are whole, and the page in a real browser."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import GRU, LSTM, Elman
from jaxrnn.gradients import (
    adjoint_norms,
    adjoint_parts,
    contributions,
    log_gap,
    median,
    report,
    sensitivity,
    share_beyond,
    step_bound,
    transport,
)
from jaxrnn.gradients.reporting.figure import draw
from jaxrnn.gradients.reporting.measure import measure
from jaxrnn.gradients.reporting.page import to_html
from jaxrnn.gradients.reporting.records import Chart, Heatmap, Report, Series, Table
from jaxrnn.gradients.reporting.report import last_output
from jaxrnn.gradients.reporting.styles import styles_of
from jaxrnn.gradients.reporting.write import write_report
from tests.browser import browser

NASTY = "</script><b>Jordan</b> & \u2028 $x\\y$"
CELLS = ("Elman", "LSTM-forget-1", "GRU", NASTY)
LEFT, RIGHT, ESCAPE = "\ue012", "\ue014", "\ue00c"


def example() -> Report:
    """Many decades, an exact zero, a band, a log axis, long names and a heat map."""
    lags, lengths = np.arange(0, 1000, 7), np.array([64, 256, 1024])
    by_lag = [Series(c, lags, -0.05 * n * lags, -0.06 * n * lags, -0.04 * n * lags) for n, c in enumerate(CELLS[:3], 1)]
    dead = Series(NASTY, lags, np.where(lags < 300, -0.01 * lags, -np.inf))
    by_length = tuple(Series(c, lengths, np.array([-1.0, -4.0, -16.0 - n])) for n, c in enumerate(CELLS))
    share = Series("GRU", np.arange(5), np.linspace(1, 0, 5))
    gate, tokens = np.random.default_rng(0).random((16, 24)), tuple(f"token{n}" for n in range(24))
    return Report(
        title="How far back?",
        subtitle="Median and band",
        cells=styles_of(CELLS),
        charts=(
            Chart("lag", "Norm by lag", "lag", "lag (steps)", "norm", (*by_lag, dead), note="pure decay"),
            Chart("length", "First against last", "length", "length (steps)", "ratio", by_length, x_scale="log"),
            Chart("share", "Share", "length", "lag", "share", (share,), "linear"),
            Chart(
                "short", "Short", "length", "step", "norm", (Series("GRU", np.arange(3), np.array([0.5, 0.8, 1.0])),)
            ),
        ),
        heatmaps=(
            Heatmap("gate", "Forget gate", "gates", "GRU", "letter", tokens, "unit", gate, 0.0, 1.0),
            Heatmap(
                "spread", "Spread", "maps", "Elman", "lag", tokens, "log10", gate, 0.0, 1.0, tuple("abcdefghijklmnop")
            ),
        ),
        tables=(Table("Decay", ("cell", "half-life, steps"), (("GRU", "2.2"), (NASTY, "10^-3"))),),
        findings=("GRU: half-life 2.2 steps; after 100 steps 10^-13.6 is left: it does not carry 100 steps.",),
        settings={"seed": 0, "path": "<none>"},
        provenance={"jax": "0"},
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(example(), folder)
    return folder


def test_all_files_are_there_and_the_same_report_gives_the_same_bytes(written, tmp_path):
    kinds = ("png", "svg", "pdf")
    names = {f"{name}.{kind}" for name in ("report", "heatmaps", "gates") for kind in kinds}
    names |= {"report.html", "report.json", "report.md"}
    assert {path.name for path in written.iterdir()} == names
    write_report(example(), tmp_path)
    for name in names:
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes(), name
    data = json.loads((written / "report.json").read_text())
    assert data["charts"][0]["series"][3]["y"][-1] == "-inf" and data["settings"]["seed"] == 0
    text = (written / "report.md").read_text()
    assert "- GRU: half-life 2.2 steps" in text and "| GRU | 2.2 |" in text


@pytest.mark.parametrize("ends", [(0.3, 1.0), (0.5, 1.0), (0.0, 0.02), (-1.7, 0.1), (0.0, 3.0), (-40.0, 0.0)])
def test_ticks_of_decades_name_their_values(ends):
    chart = Chart("lag", "", "lag", "", "", (Series("GRU", np.arange(2), np.array(ends)),))
    axes = draw(replace(example(), charts=(chart,))).axes[0]
    low, high = axes.get_ylim()
    told = [(label.get_position()[1], label.get_text()) for label in axes.get_yticklabels()]
    told = [(y, float(re.sub(r"\$10\^{(.*)}\$", r"1e\1", text))) for y, text in told if low <= y <= high]
    assert len(told) >= 3
    np.testing.assert_allclose(*np.array([(y, np.log10(value)) for y, value in told]).T, atol=1e-6)


def test_the_page_stands_alone_and_escapes_what_it_is_given():
    page = to_html(example())
    assert page.count("</script>") == 2 and "<b>Jordan" not in page
    assert not re.search(r"""(src|href)=["'](?!data:,)""", page) and "@import" not in page and "url(" not in page
    assert "10<sup>−13.6</sup>" in page
    embedded = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1]
    assert "\u2028" not in embedded and json.loads(embedded)["charts"][0]["series"][3]["cell"] == NASTY


OVERLAPS = """
let count = 0;
for (const name of ["tick-x", "tick-y"]) {
  const all = [...document.querySelectorAll("." + name)].map((e) => [e.closest("svg"), e.getBoundingClientRect()]);
  all.forEach(([svg, a], i) => all.slice(i + 1).forEach(([other, b]) => {
    if (svg === other && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) count++;
  }));
}
return count;
"""
SMALLEST = """
const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
const texts = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && hasText(e));
return Math.min(...texts.map((e) => parseFloat(getComputedStyle(e).fontSize)));
"""
SHOWN = """
const curves = [...document.querySelectorAll(".curve")].filter((c) => c.dataset.cell === arguments[0]);
return curves.filter((c) => c.getBoundingClientRect().width > 0).length;
"""
TICKS = "return [...document.querySelectorAll('#figure-short .tick-y')].map((e) => e.textContent)"
BELOW = """
const figure = document.querySelector("#charts figure .note").getBoundingClientRect();
return figure.bottom - document.getElementById("slide-controls").getBoundingClientRect().top;
"""
TOGGLE = "[...document.querySelectorAll('#cells button')].find((b) => b.dataset.cell === arguments[0]).click()"
MIDDLE = """
const box = document.querySelector("svg.chart").getBoundingClientRect();
return [box.x + box.width / 2, box.y + box.height / 2];
"""


def click(page, selector):
    page.run("document.querySelector(arguments[0]).click()", selector)


def test_the_page_in_a_browser(written):
    with browser() as page:
        page.open("about:blank")
        _ = page.requests(), page.complaints()  # those of the browser's own first page
        address = (written / "report.html").as_uri()
        page.open(address)
        for width, height in ((1280, 900), (400, 800)):
            page.resize(width, height)
            for view in ("length", "gates", "maps", "lag"):
                click(page, f"[data-view={view}]")
                assert page.run("return document.querySelector('[role=tab][aria-selected=true]').textContent") == view
                assert page.run("return document.documentElement.scrollWidth") <= width, (view, width)
                assert page.run(OVERLAPS) == 0, (view, width)
                assert page.run(SMALLEST) >= 11, (view, width)
        page.resize(1280, 900)
        for cell in CELLS:
            assert page.run(SHOWN, cell) == 1
            page.run(TOGGLE, cell)
            assert page.run(SHOWN, cell) == 0
            click(page, "[data-view=length]")
            assert page.run(SHOWN, cell) == 0  # in every view
            click(page, "[data-view=lag]")
            page.run(TOGGLE, cell)
            assert page.run(SHOWN, cell) == 1
        page.point(*map(round, page.run(MIDDLE)))
        hovered = page.run("const v = document.querySelector('.values'); return v.hidden ? '' : v.innerText")
        lag = int(re.search(r"lag: (\d+)", hovered)[1])
        assert 400 < lag < 600 and f"GRU: 10^\u2212{0.15 * lag:.2f}" in hovered and "exactly 0" in hovered
        page.run("document.querySelector('svg.chart').focus()")
        page.press(RIGHT)
        assert page.run("return document.querySelector('.values').innerText").startswith("lag: ")
        before = page.run("return getComputedStyle(document.body).backgroundColor")
        click(page, "#theme")
        assert page.run("return getComputedStyle(document.body).backgroundColor") != before
        click(page, "[data-view=maps]")
        page.run("document.querySelector('#figure-spread svg').focus()")
        page.press(RIGHT)
        page.press(RIGHT)
        told = page.run("return document.querySelector('#figure-spread .values').innerText")
        assert told.startswith("lag: token1\nlog10: a\n0.")
        page.run(TOGGLE, "Elman")
        assert page.run("return document.querySelectorAll('#charts figure').length") == 0
        page.run(TOGGLE, "Elman")
        click(page, "[data-view=length]")
        assert page.run(TICKS) == ["2", "5", "10"]  # of less than two decades
        click(page, "[data-view=maps]")
        click(page, "#slides")
        assert page.run("return document.querySelectorAll('#charts figure').length") == 0  # findings alone
        for number in range(2, 8):
            page.press(RIGHT)
            assert page.run("return document.getElementById('place').textContent") == f"{number} of 7"
            assert page.run("return document.querySelectorAll('#charts figure').length") == 1
            assert page.run(SMALLEST) >= 19  # the powers of ten; all else has at least 24
            assert page.run(BELOW) <= 0, number
        page.press(RIGHT)  # stays on the last
        page.press(LEFT)
        page.press(ESCAPE)
        assert page.run("return document.getElementById('slide-controls').checkVisibility()") is False
        click(page, "[data-view=lag]")
        page.run("document.querySelector('details').open = true")
        assert page.run("return document.querySelector('details a').href").startswith("blob:")
        assert page.run("return document.querySelectorAll('details tr').length") > 100
        assert page.complaints() == []
        asked = [url for url in page.requests() if not url.startswith(("data:", "blob:"))]
        assert asked == [address]


def test_report_of_networks(tmp_path):
    cells = {"LSTM": LSTM(2), "Elman": Elman(2)}
    networks = {name: (cell, cell.init(jax.random.key(0), 2)) for name, cell in cells.items()}
    xs = jax.random.normal(jax.random.key(1), (16, 4, 2), jnp.float32)
    stages = []
    tokens = [f"w{n}" for n in range(16)]
    files = report(networks, xs, tmp_path / "new", tokens=tokens, settings={"seed": 0}, progress=stages.append)
    assert len(stages) >= 5 and all(path.stat().st_size > 0 for path in files.values())
    data = json.loads(files["report.json"].read_text())
    views = {"lag", "length", "parts", "transport", "spectrum", "parameters"}
    assert {chart["view"] for chart in data["charts"]} == views
    maps = {part["title"]: part for part in data["heatmaps"]}
    assert maps["LSTM: forget gate"]["x_labels"][:2] == ["w0", "w1"]
    assert maps["Elman: cosines of contributions"]["values"][2][2] == 1.0
    spread = maps["LSTM: all singular values"]
    np.testing.assert_allclose(np.array(spread["values"]).sum(axis=0), 1, atol=1e-5)
    titles = [table["title"] for table in data["tables"]]
    assert len(titles) == 6 and any(title.startswith("Bounds") for title in titles)
    assert len(data["findings"]) == 3 and data["findings"][0].startswith("LSTM: ")
    lag = next(chart for chart in data["charts"] if chart["id"] == "lag")["series"][0]
    cell, params = networks["LSTM"]
    exact = np.asarray(median(adjoint_norms(cell, params, xs, last_output), 1))[::-1] / np.log(10)
    np.testing.assert_allclose(lag["y"], exact, rtol=1e-4, atol=1e-4)
    charts = {chart["id"]: chart["series"][0] for chart in data["charts"]}
    part = np.asarray(median(adjoint_parts(cell, params, xs, last_output).c, 1))[::-1] / np.log(10)
    np.testing.assert_allclose(charts["part-c"]["y"], part[1:], rtol=1e-4, atol=1e-4)
    moved = transport(cell, params, xs[:, 0])
    condition = dict(zip(charts["transport-condition"]["x"], charts["transport-condition"]["y"], strict=True))
    np.testing.assert_allclose(condition[4], np.asarray(moved.log_condition)[4] / np.log(10), rtol=1e-3)
    gap = np.asarray(log_gap(step_bound(cell, params, xs[:, 0], moved.lags.tolist()), moved)) / np.log(10)
    np.testing.assert_allclose(charts["transport-gap"]["y"][-1], gap[-1], rtol=1e-3)
    grown = sensitivity(cell, params, xs[:, :1]).parameters[15, 0]
    np.testing.assert_allclose(charts["sensitivity"]["y"][-1], 0.5 * np.log10(grown), rtol=1e-3)
    shorter = np.asarray(median(adjoint_norms(cell, params, xs[:8], last_output), 1))
    ratio = dict(zip(charts["length"]["x"], charts["length"]["y"], strict=True))[8]
    np.testing.assert_allclose(ratio, (shorter[0] - shorter[-1]) / np.log(10), rtol=1e-3, atol=1e-3)
    share = share_beyond(contributions(cell, params, xs, last_output), int(charts["share"]["x"][3]))
    np.testing.assert_allclose(charts["share"]["y"][3], share, rtol=1e-4)


def test_a_network_without_gradient_is_left_out_and_told():
    cell = Elman(2, "relu")
    params = cell.init(jax.random.key(0), 1)
    dead = params._replace(bias=jnp.full(2, -9.0, jnp.float32))
    xs = jax.random.normal(jax.random.key(1), (8, 2, 1), jnp.float32)
    above = lambda ys: jax.nn.relu(ys[-1] - 1e-3).sum(axis=-1)  # noqa: E731
    networks = {"alive": (cell, params), "dead": (cell, dead)}
    found = measure(networks, xs, above, (8,), None, "", {}, lambda stage: None)
    assert found.findings[1] == "dead: exactly 0 from lag 0 on: it does not carry 7 steps."
    charts = {chart.id: [series.cell for series in chart.series] for chart in found.charts}
    assert charts["lag"] == charts["share"] == ["alive"] and "length" not in charts


def test_large_networks_are_measured_by_iteration_and_what_is_left_out_is_told(monkeypatch):
    monkeypatch.setattr("jaxrnn.gradients.reporting.measure.LARGEST_STATE", 3)
    monkeypatch.setattr("jaxrnn.gradients.reporting.measure.LARGEST_DERIVATIVE", 30)
    cells, xs = {"small": Elman(2), "large": GRU(4)}, jax.random.normal(jax.random.key(1), (8, 2, 1), jnp.float32)
    networks = {name: (cell, cell.init(jax.random.key(0), 1)) for name, cell in cells.items()}
    found = measure(networks, xs, last_output, (8,), None, "", {}, lambda stage: None)
    charts = {chart.id: {series.cell: series.y for series in chart.series} for chart in found.charts}
    exact = transport(*networks["large"], xs[:, 0])
    for kind, logs, close in (("largest", exact.log_largest, 1e-3), ("rms", exact.log_root_mean_square, 0.2)):
        assert [*charts[f"transport-{kind}"]] == ["small", "large"]
        np.testing.assert_allclose(charts[f"transport-{kind}"]["large"], np.asarray(logs) / np.log(10), atol=close)
    for chart in ("transport-smallest", "transport-condition", "transport-gap", "spectrum", "sensitivity"):
        assert [*charts[chart]] == ["small"]
    assert "large: a state of more than 3 numbers: of the singular values" in found.findings[-2]
    assert found.findings[-1] == "large: more than 30 numbers in ds/dtheta: no sensitivity to the parameters."


def test_errors(tmp_path, without_type_checks):
    xs = jnp.zeros((16, 4, 2), jnp.float32)
    cell = GRU(3)
    networks = {"GRU": (cell, cell.init(jax.random.key(0), 2))}
    for arguments, words in [
        (({}, xs), "`networks` must be a dict of names to .cell, parameters., got {}"),
        (({1: networks["GRU"]}, xs), "`networks` must be a dict of names"),
        ((networks, xs[:, :0]), "at least 8 steps and one sequence"),
        ((networks, xs[:, 0]), r"`xs` must be \(time, batch, features\) of at least 8 steps"),
    ]:
        with pytest.raises(ValueError, match=words):
            report(*arguments, tmp_path / "new")
    twice = {"GRU": networks["GRU"], "gru": networks["GRU"]}
    with pytest.raises(ValueError, match="names that differ in more than case, spaces and dashes"):
        report(twice, xs, tmp_path / "new")
    with pytest.raises(ValueError, match="`lengths` must be whole numbers from 2 to the 16 steps"):
        report(networks, xs, tmp_path / "new", lengths=(4, 17))
    with pytest.raises(ValueError, match="`tokens` must name each of the 16 steps"):
        report(networks, xs, tmp_path / "new", tokens=["a"])
    assert not (tmp_path / "new").exists()
    ones = np.ones(3)
    with pytest.raises(ValueError, match="`y` of GRU holds NaN"):
        Series("GRU", ones, np.array([1.0, np.nan, 2.0]))
    with pytest.raises(ValueError, match="`y` of GRU must have 3 values"):
        Series("GRU", ones, np.ones(4))
    with pytest.raises(ValueError, match="`low` and `high` of GRU come together"):
        Series("GRU", ones, ones, low=ones)
    with pytest.raises(ValueError, match="must have a column for each of the 1 labels"):
        Heatmap("a", "gate", "gates", "GRU", "step", ("x",), "unit", np.ones((2, 2)), 0.0, 1.0)
    with pytest.raises(ValueError, match="`y_labels` of gate must name each of the 2 rows, got 1"):
        Heatmap("a", "gate", "gates", "GRU", "step", ("x", "y"), "unit", np.ones((2, 2)), 0.0, 1.0, ("a",))
    with pytest.raises(ValueError, match="`loss` does not take outputs that are cut to 2 steps.*lengths=\\(16,\\)"):
        report(
            networks, xs, tmp_path / "new", loss=lambda ys: ((ys - jnp.ones((16, 4, 3), jnp.float32)) ** 2).sum((0, 2))
        )
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="a row of Decay has 1 of 2 columns"):
        Table("Decay", ("a", "b"), (("1",),))
    chart = Chart("a", "", "lag", "", "", (Series("GRU", ones, ones),))
    rest = {"title": "", "subtitle": "", "heatmaps": (), "tables": (), "findings": (), "settings": {}, "provenance": {}}
    with pytest.raises(ValueError, match="`cells` has no style for GRU"):
        Report(cells={}, charts=(chart,), **rest)
    with pytest.raises(ValueError, match="needs an id of its own"):
        Report(cells=styles_of(["GRU"]), charts=(chart, chart), **rest)


def test_without_matplotlib_the_message_names_the_extra():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import jaxrnn.gradients\n"
        "try: jaxrnn.gradients.report\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 'pip install "jaxrnn[plots]"' in done.stdout
