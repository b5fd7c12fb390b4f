"""The cliff in the error surface of one recurrent unit, and what clipping does at it.

Command:  python -m experiments.cliff --out experiments/results/cliff
Runtime:  10 seconds on 2 cores; --smoke the same
Expected: the border at b = -2.612297 for w = 5, where dE/db is -661.683; plain gradient descent that is thrown far
          out of the picture where it meets the wall, and clipped descent that stays beside it

    x <- w sigmoid(x) + b, 50 times from x = 0.5,    E = (sigmoid(x) - 0.7)^2

Figure 6 of Pascanu, Mikolov & Bengio (2013, https://arxiv.org/abs/1211.5063). Between b = -2.655610 and -2.344390 the
unit has two attractors for w = 5; where the border between them passes the start, the end of the sequence jumps.
The wall is so thin that few descents step on it. The one shown begins where, of 4,001 starts on a line, descent meets
the steepest slope within 60 steps: it is a picture of what can happen, not of what is common.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it also runs as a script

import jax
import jax.numpy as jnp
import optax
from jax import lax
from rich.console import Console

from benchmarks.command import check_at_least, check_seed, command, progress, ready_folder
from experiments import output
from experiments.cliff_figure import THRESHOLD, draw, to_markdown
from jaxrnn.gradients import clipping, curvature, one_unit_error, one_unit_state

WEIGHT, LINE, STARTS = 5.2, (-2.6, -2.4), 4001  # where descents begin
RATE = 0.02  # the learning rate
WEIGHTS, BIASES = (4.4, 5.6), (-3.2, -2.2)


@dataclass(frozen=True)
class Settings:
    """Draws the surface, the gradient along a cut through it, and two descents. Nothing is random but --seed is taken.

    Writes a figure (PNG, SVG), a table and data (JSON) into one folder.
    """

    points: int = 161
    """Values along each side of the surface."""
    steps: int = 60
    """Steps of gradient descent."""
    seed: int = 0
    """Unused: nothing here is drawn at random."""
    out: Path | None = None
    """Folder for the results. Default: scratch/cliff."""
    smoke: bool = False
    """A quick look that all works: 21 points; replaces this setting."""


def surface(points: int) -> dict[str, Any]:
    """E and the norm of its gradient over w and b."""
    weights, biases = (jnp.linspace(*ends, points, dtype=jnp.float64) for ends in (WEIGHTS, BIASES))
    both = jax.vmap(jax.vmap(jax.value_and_grad(one_unit_error, (0, 1)), (None, 0)), (0, None))
    error, (by_weight, by_bias) = jax.jit(both)(weights, biases)
    return {
        "weights": output.plain(weights),
        "biases": output.plain(biases),
        "error": output.plain(error),
        "gradient": output.plain(jnp.hypot(by_weight, by_bias)),
    }


def exact() -> dict[str, Any]:
    """What follows from the border x = 1/2, b = 1/2 - 5 sigmoid(1/2), m = 5 sigmoid'(1/2), beside what is computed."""
    s = 1 / (1 + math.exp(-0.5))
    b, m = 0.5 - 5 * s, 5 * s * (1 - s)
    w, bias = jnp.asarray(5.0, jnp.float64), jnp.asarray(b, jnp.float64)
    error = (s - 0.7) ** 2
    by_bias = (m**50 - 1) / (m - 1)
    chain = 2 * (s - 0.7) * s * (1 - s)
    slopes = jax.grad(one_unit_error, (0, 1))(w, bias)
    computed = {
        "dx_50/dx_0": jax.grad(lambda x: one_unit_state(w, bias, x))(jnp.asarray(0.5, jnp.float64)),
        "dx_50/db": jax.grad(one_unit_state, 1)(w, bias),
        "E": one_unit_error(w, bias),
        "dE/db": slopes[1],
        "dE/dw": slopes[0],
    }
    closed = {
        "dx_50/dx_0": m**50,
        "dx_50/db": by_bias,
        "E": error,
        "dE/db": chain * by_bias,
        "dE/dw": chain * by_bias * s,
    }
    bend = curvature(lambda b: one_unit_error(w, b[0]), bias[None], jnp.ones(1, jnp.float64))
    return {
        "border": b,
        "multiplier": m,
        "closed": closed,
        "computed": {name: float(value) for name, value in computed.items()},
        "curvature_along_b": float(bend),
    }


def start(steps: int) -> tuple[float, float]:
    """The start on the line whose plain descent meets the steepest slope."""
    slope = jax.grad(lambda p: one_unit_error(p[0], p[1]))

    def steepest(bias):
        def step(place, _):
            gradient = slope(place)
            return place - RATE * gradient, jnp.linalg.norm(gradient)

        return lax.scan(step, jnp.array([WEIGHT, 0.0]).at[1].set(bias), length=steps)[1].max()

    biases = jnp.linspace(*LINE, STARTS, dtype=jnp.float64)
    return WEIGHT, float(biases[jnp.argmax(jax.jit(jax.vmap(steepest))(biases))])


def descend(clip: optax.GradientTransformation, steps: int) -> dict[str, Any]:
    """A path of gradient descent, with what clipping did at each step."""
    place = jnp.array(start(steps), jnp.float64)
    slope = jax.jit(jax.value_and_grad(lambda p: one_unit_error(p[0], p[1])))
    path, errors, found = [place], [], []
    for _ in range(steps):
        error, gradient = slope(place)
        told = clipping(gradient, clip)
        clipped, _ = clip.update(gradient, clip.init(place))
        place = place - RATE * jnp.asarray(clipped)
        path.append(place)
        errors.append(float(error))
        found.append([float(told.norm_before), float(told.coefficient), float(told.cosine)])
    return {"path": output.plain(jnp.stack(path)), "error": output.plain(errors), "clipping": output.plain(found)}


def plan(settings: Settings) -> tuple[Settings, Path]:
    """Checks everything before anything is computed or written.

    Raises:
        ValueError: a setting cannot be used; the message names it, what was got and the cure.
    """
    if settings.smoke:
        settings = replace(settings, points=21)
    check_at_least(settings, 2, "points")
    check_at_least(settings, 1, "steps")
    check_seed(settings)
    return settings, ready_folder(settings.out, "cliff")


def run(settings: Settings, folder: Path, messages: Console) -> None:
    """Computes all of it in double precision, and writes it."""
    jax.config.update("jax_enable_x64", True)
    results = output.new_results(settings)
    stages = {
        "surface": lambda: surface(settings.points),
        "exact": exact,
        "plain": lambda: descend(optax.identity(), settings.steps),
        "clipped": lambda: descend(optax.clip_by_global_norm(THRESHOLD), settings.steps),
    }
    with progress(messages) as bar:
        for name, stage in bar.track(stages.items(), description="cliff"):
            results["parts"][name] = stage()
    results["finished"] = True
    output.write(folder, "cliff", lambda: draw(results), to_markdown(results), results)
    print(to_markdown(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, as `benchmarks.command` says."""
    return command(Settings, plan, run, arguments, "Nothing was finished for")


if __name__ == "__main__":
    sys.exit(main())
