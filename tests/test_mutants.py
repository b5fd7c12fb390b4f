"""Deliberate mutants fail the comparison that holds for every backend: the suite sees what it should see."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrnn
from jaxrnn import Scan
from jaxrnn.backends import base, scan
from tests.checks import Case, assert_close
from tests.examples import UserHeads, UserLinear


@dataclass(frozen=True)
class Mutant(Scan):
    """Scan as it is: the mutant that must pass."""


@dataclass(frozen=True)
class IgnoresTheCarry(Scan):
    def run(self, cell, params, carry, steps, reverse):
        return super().run(cell, params, jax.tree.map(jnp.zeros_like, carry), steps, reverse)


@dataclass(frozen=True)
class DropsTheCarrysGradient(Scan):
    def run(self, cell, params, carry, steps, reverse):
        return super().run(cell, params, lax.stop_gradient(carry), steps, reverse)


@dataclass(frozen=True)
class DropsAParametersGradient(Scan):
    def run(self, cell, params, carry, steps, reverse):
        leaves, structure = jax.tree.flatten(params)
        return super().run(
            cell, structure.unflatten([lax.stop_gradient(leaves[0]), *leaves[1:]]), carry, steps, reverse
        )


@dataclass(frozen=True)
class ResetsToTheCarryGiven(Scan):
    def run(self, cell, params, carry, steps, reverse):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scan, "fresh_carry", lambda *_: carry)
            return super().run(cell, params, carry, steps, reverse)


@dataclass(frozen=True)
class MaskFreezesOutputsOnly(Scan):
    def run(self, cell, params, carry, steps, reverse):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scan, "select", lambda mask, after, before: after)
            return super().run(cell, params, carry, steps, reverse)


@dataclass(frozen=True)
class ResetsOnlyWhereTheMaskHolds(Scan):
    def run(self, cell, params, carry, steps, reverse):
        return super().run(cell, params, carry, steps._replace(resets=steps.resets & steps.active), reverse)


@dataclass(frozen=True)
class ResetsBeforeTheStepInReverse(Scan):
    def run(self, cell, params, carry, steps, reverse):
        if reverse:
            back = jnp.concatenate([jnp.zeros_like(steps.resets[:1]), steps.resets[:-1]])
            steps = steps._replace(resets=back)
        return super().run(cell, params, carry, steps, reverse)


@dataclass(frozen=True)
class ReadsPadding(Scan):
    def run(self, cell, params, carry, steps, reverse):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(base, "zero_unless", lambda mask, tree: tree)
            return super().run(cell, params, carry, steps, reverse)


@dataclass(frozen=True)
class ShowsOutputsAtMaskedSteps(Scan):
    def run(self, cell, params, carry, steps, reverse):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scan, "finish", lambda ys, active, dtype: ys)
            return super().run(cell, params, carry, steps, reverse)


@dataclass(frozen=True)
class RunsForwardAlways(Scan):
    def run(self, cell, params, carry, steps, reverse):
        return super().run(cell, params, carry, steps, False)


@dataclass(frozen=True)
class TruncatesTheGradient(Scan):
    def run(self, cell, params, carry, steps, reverse):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scan, "restart", lambda *a: lax.stop_gradient(base.restart(*a)))
            return super().run(cell, params, carry, steps, reverse)


def without(flag):
    """An unroll that forgets one of its arguments."""

    def unroll(*args, **how):
        return jaxrnn.unroll(*args, **how | {flag: None})

    return unroll


IN_REVERSE_ONLY = {ResetsBeforeTheStepInReverse, RunsForwardAlways}
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


@pytest.fixture(scope="module", params=[UserHeads(6, heads=2), UserLinear(4)], ids=["gated", "linear"])
def case(request):
    return Case(request.param)


@both_directions
def test_the_unchanged_backend_passes(case, reverse):
    case.check(Mutant(), reverse)


@both_directions
@pytest.mark.parametrize("mutant", [m for m in Scan.__subclasses__() if m is not Mutant], ids=lambda m: m.__name__)
def test_mutated_backends_are_caught(case, mutant, reverse):
    if mutant in IN_REVERSE_ONLY and not reverse:
        return case.check(mutant(), reverse)
    with pytest.raises(AssertionError, match="off by|not finite"):
        case.check(mutant(), reverse)


@pytest.mark.parametrize("flag", ["lengths", "mask", "resets"])
def test_a_forgotten_argument_is_caught(case, flag):
    with pytest.raises(AssertionError, match="off by|not finite"):
        case.check(Scan(), False, unroll=without(flag))


def test_the_oracle_is_told_from_its_mutants(case):
    """The comparison with the oracle sees a step that is off by a little, at one unit."""

    def off(cell, params, carry, x):
        (h, *rest), y = case.own_step(cell, params, carry, x)
        return [np.asarray(h) + 1e-9 * (np.arange(len(h)) == 1), *rest], y

    with pytest.raises(AssertionError, match="off by"):
        assert_close(case.reference(False)[0], case.loop(off, False), 1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_comparison_passes_on_nan(bad):
    good = {"a": np.ones(3), "b": np.zeros(2)}
    spoilt = {"a": np.array([1, bad, 1]), "b": np.zeros(2)}
    assert_close(good, good, 0)
    for actual, expected in ((spoilt, good), (good, spoilt), (spoilt, spoilt)):
        with pytest.raises(AssertionError, match="not finite"):
            assert_close(actual, expected, np.inf)


def test_comparisons_see_shape_structure_and_zeros():
    for actual, expected in (
        (np.ones((2, 1)), np.ones(2)),
        ((np.ones(2),), [np.ones(2)]),
        (np.full(2, 1e-30), np.zeros(2)),
        (jnp.ones(2) * (1 + 2e-6), np.ones(2)),
    ):
        with pytest.raises(AssertionError):
            assert_close(actual, expected, 1e-6)
