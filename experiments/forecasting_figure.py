"""The picture and the table of the forecasts, from their results.json alone."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.figure import FONTS
from experiments import output
from experiments.application import REAL, Row
from jaxrnn.files import markdown_table
from jaxrnn.gradients.reporting.styles import FREE, OWN, Style

LAST, SEASON, WINDOW = "repeat last", "repeat season", "window MLP"
RECURRENT = ("LSTM", "GRU")
SCINET, LSTMA = 0.321, 0.650  # a re-implementation's table; recalled from the Informer paper
PUBLISHED = f"{SCINET}, SCINet in a re-implementation; about {LSTMA:.2f}, LSTMa (recalled)"
STYLES = {
    "LSTM": OWN["LSTM-forget-1"],
    "GRU": OWN["GRU"],
    WINDOW: Style("#D55E00", "-", "s"),
    SEASON: Style("#C4609A", (0, (6, 1.5, 1, 1.5)), "X"),
    LAST: FREE[4],
}
TITLES = {
    "monthly-sunspots": "Sunspot number",
    "daily-min-temperatures": "Minimum temperature, °C",
    "etth1": "ETTh1, oil temperature",
}


def mean(part: dict[str, Any], model: str, metric: str) -> float:
    """Over the seeds."""
    return float(np.mean([seed[metric] for seed in part["models"][model]["seeds"]]))


def order(part: dict[str, Any]) -> list[str]:
    """The models, that of the least squared error first."""
    return sorted(part["models"], key=lambda model: mean(part, model, "mse"))


def rows(results: dict[str, Any]) -> list[Row]:
    """The squared error of both recurrent networks; where nothing is published, beside the best of the others."""
    found = []
    for name, part in results["parts"].items():
        other = next(model for model in order(part) if model not in RECURRENT)
        for model in RECURRENT:
            here, task = mean(part, model, "mse"), part["task"]
            published, gap = "none", f"{here / mean(part, other, 'mse') - 1:+.0%} on {other}"
            if name == "etth1":
                published, gap = PUBLISHED, f"{here - SCINET:+.3f} on SCINet; {gap}"
            metric = f"test MSE, standardised, {task['horizon']} {task['step']}s"
            found.append(Row(f"{name}, {model}", metric, f"{here:.3f}", published, gap))
    return found


def to_markdown(results: dict[str, Any]) -> str:
    """Errors of every model on the test split, and which was best."""
    lines, words = [], []
    for name, part in results["parts"].items():
        task, best = part["task"], order(part)
        for model in best:
            mse, mae = (mean(part, model, metric) for metric in ("mse", "mae"))
            units = "" if task["unit"] is None else f"{mae * part['deviation']:.3g} {task['unit']}"
            spread = [seed["mse"] for seed in part["models"][model]["seeds"]]
            between = f"{min(spread):.3f} to {max(spread):.3f}" if len(spread) > 1 else ""
            parameters = part["models"][model].get("parameters")
            size = "" if parameters is None else f"{parameters:,}"
            lines.append((f"{name}, {model}", size, f"{mse:.3f}", between, f"{mae:.3f}", units))
        beaten = best[: min(map(best.index, RECURRENT))]
        words.append(
            f"* {name}: {task['horizon']} {task['step']}s from {task['history']}, {part['windows']:,} windows; least "
            f"squared error: {best[0]}. Better than both recurrent networks: {', '.join(beaten) or 'none'}."
        )
    head = ("series, model", "parameters", "test MSE", "over seeds", "test MAE", "MAE in units")
    note = (
        f"Means over {results['settings']['seeds']} networks of each kind and over all windows of the test split, "
        "standardised by the training split; the validation split chose the parameters. Of sunspots and ETTh1 every "
        "network sees the window less its last value and tells what to add to it.\n"
        f"Published for etth1, squared error: {PUBLISHED}; absolute: 0.359 and about 0.62. None for the others.\n"
    )
    return "\n".join([output.about(results), note, markdown_table(head, lines), *words, ""])


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Above: one forecast of each series. Below: the squared error by step of the horizon."""
    figure = output.titled(
        f"Forecasts of {'recorded' if results['data'] == REAL else 'made'} series, by networks and by repetition",
        (
            "Above: the forecasts for the window in the middle of the test split, of the first seed.",
            "Below: mean squared error by step ahead, over all test windows; 1 is the variance in training.",
        ),
    )
    slot = 0.975 / len(results["settings"]["series"])
    for number, (name, part) in enumerate(results["parts"].items()):
        left, width, step = 0.055 + slot * number, slot - 0.055, part["task"]["step"]
        around = output.panel(
            figure, (left, 0.5, width, 0.24), TITLES[name], f"{step}s from {part['example']['begin']}"
        )
        _example(around, part)
        _errors(output.panel(figure, (left, 0.155, width, 0.2), "Squared error", f"{step}s ahead"), part)
    handles = [Line2D([], [], color="#222222", lw=2, label="recorded")]
    handles += [
        Line2D([], [], color=style.colour, ls=style.dashes, marker=style.marker, lw=2, label=model)
        for model, style in STYLES.items()
    ]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=13, handlelength=3)
    return figure


def _example(axes: Axes, part: dict[str, Any]) -> None:
    horizon, values = part["task"]["horizon"], part["example"]["values"]
    axes.plot(np.arange(len(values)) - (len(values) - horizon), values, color="#222222", lw=2, zorder=3)
    for model, style in STYLES.items():
        told = part["models"][model]["seeds"][0]["example"]
        axes.plot(range(horizon), told, color=style.colour, ls=style.dashes, lw=2)
    axes.axvline(-0.5, color="#999999", lw=1, ls=":")


def _errors(axes: Axes, part: dict[str, Any]) -> None:
    steps = np.arange(part["task"]["horizon"]) + 1
    for model, style in STYLES.items():
        by_step = np.mean([seed["mse_by_step"] for seed in part["models"][model]["seeds"]], axis=0)
        axes.plot(steps, by_step, color=style.colour, ls=style.dashes, marker=style.marker, ms=4.5, lw=2)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0.5, len(steps) + 0.5)
