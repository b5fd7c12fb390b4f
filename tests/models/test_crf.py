"""The conditional random field against the enumeration of all sequences of tags, in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.models import Transitions, bio_constraints, crf
from tests.checks import assert_close

TIME, BATCH, TAGS = 4, 5, 3
LENGTHS = np.array([4, 0, 2, 1, 3])
RNG = np.random.default_rng(0)
VALID = np.arange(TIME)[:, None] < LENGTHS
EMISSIONS = np.where(VALID[..., None], RNG.normal(size=(TIME, BATCH, TAGS)), np.nan)
TRANSITIONS = Transitions(RNG.normal(size=(TAGS, TAGS)), RNG.normal(size=TAGS), RNG.normal(size=TAGS))
TARGETS = np.where(VALID, RNG.integers(0, TAGS, (TIME, BATCH)), 99)
NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def paths(row):
    """Every sequence of tags of a row with its score, written out as a sum."""
    length = LENGTHS[row]
    for path in itertools.product(range(TAGS), repeat=length):
        total = sum(EMISSIONS[t, row, tag] for t, tag in enumerate(path))
        total += sum(TRANSITIONS.between[a, b] for a, b in itertools.pairwise(path))
        yield path, total + TRANSITIONS.start[path[0]] + TRANSITIONS.end[path[-1]] if path else 0.0


def counts(path):
    """How often a path uses each emission and each transition: the gradient of its score."""
    emissions = np.zeros((TIME, TAGS))
    between, start, end = np.zeros((TAGS, TAGS)), np.zeros(TAGS), np.zeros(TAGS)
    for t, tag in enumerate(path):
        emissions[t, tag] += 1
    for a, b in itertools.pairwise(path):
        between[a, b] += 1
    if path:
        start[path[0]] += 1
        end[path[-1]] += 1
    return emissions, between, start, end


def enumerated(row):
    """(log partition, expected counts under p(path))."""
    every = list(paths(row))
    scores = np.array([total for _, total in every])
    log_partition = np.log(np.exp(scores).sum())
    expected = [
        sum(np.exp(s - log_partition) * c for s, c in zip(scores, part, strict=True))
        for part in zip(*(counts(path) for path, _ in every), strict=True)
    ]
    return log_partition, expected


def targets(row):
    return tuple(TARGETS[: LENGTHS[row], row])


def test_log_partition_and_score():
    expected = [enumerated(row)[0] for row in range(BATCH)]
    assert_close(crf.log_partition(EMISSIONS, TRANSITIONS, LENGTHS), np.array(expected), 1e-14)
    expected = [dict(paths(row))[targets(row)] for row in range(BATCH)]
    assert_close(crf.score(EMISSIONS, TARGETS, TRANSITIONS, LENGTHS), np.array(expected), 1e-14)


def test_the_gradient_is_marginals_less_one_hot():
    def loss(emissions, transitions):
        each = crf.log_partition(emissions, transitions, LENGTHS) - crf.score(emissions, TARGETS, transitions, LENGTHS)
        return jnp.sum(each)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.asarray(EMISSIONS), TRANSITIONS)
    differences = [
        [e - c for e, c in zip(enumerated(row)[1], counts(targets(row)), strict=True)] for row in range(BATCH)
    ]
    emissions, *transitions = zip(*differences, strict=True)
    assert_close(gradient, (np.stack(emissions, axis=1), Transitions(*map(sum, transitions))), 1e-13)


def test_viterbi():
    tags, best = crf.viterbi(EMISSIONS, TRANSITIONS, LENGTHS)
    expected = np.zeros((TIME, BATCH), int)
    for row in range(BATCH):
        path, score = max(paths(row), key=lambda entry: entry[1])
        expected[: LENGTHS[row], row] = path
        np.testing.assert_allclose(best[row], score, rtol=1e-14)
    np.testing.assert_array_equal(tags, expected)
    assert tags.dtype == jnp.int32
    assert (np.diff(np.argmax(np.nan_to_num(EMISSIONS), axis=-1) != expected, axis=0)).any(), "transitions decide some"


def test_any_batch_shape():
    """Of one sequence, of a batch of batches, and mapped."""
    one = crf.viterbi(EMISSIONS[:, 0], TRANSITIONS, jnp.asarray(LENGTHS[0]))
    tags, best = crf.viterbi(EMISSIONS, TRANSITIONS, LENGTHS)
    assert_close(one, (tags[:, 0], best[0]), 1e-14)
    emissions, lengths = EMISSIONS[:, :4].reshape(TIME, 2, 2, TAGS), LENGTHS[:4].reshape(2, 2)
    z = crf.log_partition(EMISSIONS, TRANSITIONS, LENGTHS)
    assert_close(crf.log_partition(emissions, TRANSITIONS, lengths), z[:4].reshape(2, 2), 1e-14)
    mapped = jax.vmap(lambda e, n: crf.log_partition(e, TRANSITIONS, n), in_axes=(1, 0))(EMISSIONS, LENGTHS)
    assert_close(mapped, z, 1e-14)


def test_dtypes_and_long_sequences():
    """In log space nothing overflows: 2000 steps of large emissions in float32; 16 bits are summed in 32."""
    emissions = jnp.full((2000, 1, TAGS), 50.0, jnp.float32)
    free = Transitions(*(jnp.zeros(shape, jnp.float32) for shape in ((TAGS, TAGS), TAGS, TAGS)))
    z = crf.log_partition(emissions, free, jnp.array([2000]))
    assert z.dtype == jnp.float32
    np.testing.assert_allclose(z, 2000 * (50 + np.log(TAGS)), rtol=1e-4)
    assert crf.log_partition(emissions[:3].astype(jnp.bfloat16), free, jnp.array([3])).dtype == jnp.float32


def test_bio_constraints_by_their_rule():
    allowed = bio_constraints(NAMES)
    for a, before in enumerate(NAMES):
        for b, after in enumerate(NAMES):
            fits = after[0] != "I" or before in ("B-" + after[2:], after)
            assert allowed.between[a, b] == fits, (before, after)
    assert allowed.start.tolist() == [True, True, False, True, False] and allowed.end.all()


def test_constrained_decoding_takes_the_best_path_that_is_allowed():
    rng = np.random.default_rng(3)
    emissions = rng.normal(size=(TIME, 1, len(NAMES))) * 2
    free = Transitions(rng.normal(size=(5, 5)), rng.normal(size=5), rng.normal(size=5))

    def score(path):
        total = sum(emissions[t, 0, tag] for t, tag in enumerate(path)) + free.start[path[0]] + free.end[path[-1]]
        return total + sum(free.between[a, b] for a, b in itertools.pairwise(path))

    def fits(path):
        names = ["O", *(NAMES[tag] for tag in path)]
        return all(b[0] != "I" or a in ("B-" + b[2:], b) for a, b in itertools.pairwise(names))

    every = list(itertools.product(range(5), repeat=TIME))
    best, unconstrained = max(filter(fits, every), key=score), max(every, key=score)
    assert best != unconstrained
    tags, value = crf.viterbi(emissions, crf.constrain(free, bio_constraints(NAMES)), np.array([TIME]))
    assert tuple(tags[:, 0].tolist()) == best
    np.testing.assert_allclose(value, [score(best)], rtol=1e-14)


@pytest.mark.parametrize("tag", [-1, TAGS, -TAGS - 1, 2**32])
def test_a_tag_that_is_none_has_no_score(tag):
    tags = TARGETS.copy()
    tags[1, 0] = tag
    scores = np.asarray(crf.score(EMISSIONS, tags, TRANSITIONS, LENGTHS))
    assert np.isnan(scores[0])
    assert_close(scores[1:], np.asarray(crf.score(EMISSIONS, TARGETS, TRANSITIONS, LENGTHS))[1:], 1e-14)


def test_tags_of_8_bits_tell_200_apart():
    generator, many = np.random.default_rng(2), 200
    emissions = generator.normal(size=(3, 1, many))
    transitions = Transitions(generator.normal(size=(many, many)), *generator.normal(size=(2, many)))
    tags = np.array([[100], [7], [127]])
    scores = [crf.score(emissions, tags.astype(kind), transitions, np.array([3])) for kind in (np.int8, np.int64)]
    assert_close(scores[0], scores[1], 1e-14)


def test_what_does_not_fit_is_refused_in_words(without_type_checks):
    with pytest.raises(ValueError, match=r'`names` must be "O", "B-..." or "I-...", got .S-PER.'):
        bio_constraints(["O", "S-PER"])
    for names in ([], ["I-PER"]):
        with pytest.raises(ValueError, match=r'`names` must hold "O" or a "B-...", with which a sequence begins'):
            bio_constraints(names)
    with pytest.raises(ValueError, match=r"viterbi: `transitions` must be .* for the 2 tags of emissions, got"):
        crf.viterbi(EMISSIONS[..., :2], TRANSITIONS, LENGTHS)
    with pytest.raises(ValueError, match=r"log_partition: `lengths` must be \(5,\) as the batch.*got \(2,\)"):
        crf.log_partition(EMISSIONS, TRANSITIONS, LENGTHS[:2])
    with pytest.raises(ValueError, match=r"log_partition: `emissions` must have .* one step, got shape \(0, 5, 3\)"):
        crf.log_partition(EMISSIONS[:0], TRANSITIONS, LENGTHS)
    with pytest.raises(ValueError, match=r"score: `tags` must be \(time, \*batch\) = \(4, 5\), got \(3, 5\)"):
        crf.score(EMISSIONS, TARGETS[:3], TRANSITIONS, LENGTHS)
    for names in (["O"], ["O", "B-X"]):
        with pytest.raises(
            ValueError, match=r"constrain: `allowed` must have the shapes .*\(3, 3\).* Make it of the names"
        ):
            crf.constrain(TRANSITIONS, bio_constraints(names))
