import errno
import json
import logging
import math
import multiprocessing
import os
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxrnn
from jaxrnn.train import checkpoint, checkpoint_arrays, checkpoint_files, configuration
from jaxrnn.train.checkpoint import Checkpoints
from tests.train import killed_run


class State(NamedTuple):
    params: Any
    step: Any


def state_at(step):
    return State({"w": jnp.full((2, 3), step, jnp.float32), "b": jnp.arange(3, dtype=jnp.float32)}, jnp.int32(step))


LIKE = State({"w": jnp.zeros((2, 3), jnp.float32), "b": jnp.zeros(3, jnp.float32)}, jnp.int32(0))


def steps_in(folder):
    return sorted(int(path.name.split("-")[2]) for path in Path(folder).iterdir())


def contents(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    """A folder with steps 10 and 20, to be copied by who changes it."""
    folder = tmp_path_factory.mktemp("two")
    checkpoints = Checkpoints(folder, {"size": 3})
    for step in (10, 20):
        checkpoints.save(state_at(step), score=1 / step)
    return folder


@pytest.fixture
def two(two_checkpoints, tmp_path):
    return Path(shutil.copytree(two_checkpoints, tmp_path / "two"))


# What comes back


def keys(implementation, *shape):
    """Typed keys of that shape; made from their data, which compiles nothing."""
    size = {"threefry2x32": 2, "rbg": 4}[implementation]
    data = np.random.default_rng(3).integers(0, 2**32, (*shape, size), np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(data), impl=implementation)


class Pair(nnx.Module):
    def __init__(self):
        self.kernel = nnx.Param(jnp.asarray([[1.0, -2.0]], jnp.float32))
        self.inner = nnx.Dict(key=nnx.RngKey(keys("threefry2x32"), tag="dropout"))


def every_kind():
    return {
        "float32": jnp.asarray([math.nan, -0.0, math.inf, 1e-45], jnp.float32),
        "NaN with a payload": jnp.asarray(np.uint32([0x7FC12345, 0xFFC00001]).view(np.float32)),
        "float64": jnp.asarray([[1 / 3]], jnp.float64),
        "bfloat16": jnp.asarray([1.5, -0.0, math.nan], jnp.bfloat16),
        "float16": jnp.asarray([65504, 6e-8], jnp.float16),
        "complex64": jnp.asarray([1 + 2j, complex(-0.0, math.inf)], jnp.complex64),
        "complex128": jnp.asarray(1j / 3, jnp.complex128),
        "int8": jnp.asarray([-128, 127], jnp.int8),
        "uint32": jnp.asarray([2**32 - 1], jnp.uint32),
        "int64": jnp.asarray(-(2**63), jnp.int64),
        "bool": jnp.asarray([True, False]),
        "scalar": jnp.asarray(2.5, jnp.float32),
        "zeros": jnp.asarray(np.zeros((70, 50), np.float32)),
        "empty": (jnp.asarray(np.zeros((0, 3)), jnp.bfloat16), jnp.asarray(np.zeros((2, 0), np.int32)), np.zeros(0)),
        "nothing": ((), None, [], {}, optax.EmptyState()),
        "numpy": [np.arange(6, dtype=np.float64).reshape(2, 3).T, np.asarray(0.1, np.float32)],
        "keys": [keys("threefry2x32"), {"rbg": (keys("rbg"), keys("rbg", 2))}, keys("threefry2x32", 2, 3)],
        "no keys": keys("threefry2x32", 0),
        "a/b.c['d']": {"x/y": jnp.asarray(1, jnp.int32), "1": [jnp.asarray(0, jnp.int32)]},
        "flax": nnx.state(Pair()),
        "adam": optax.adam(1e-3).init({"w": np.ones(3, np.float32)}),
    }


def bits(leaf):
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(jax.random.key_impl(leaf)), leaf.shape, bits(jax.random.key_data(leaf))
    return type(leaf) is not np.ndarray or leaf.dtype, leaf.dtype, leaf.shape, np.asarray(leaf).tobytes()


def blank(leaf):
    """An array like the given one, with other values."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(blank(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    other = np.full_like(leaf, 1)
    return other if isinstance(leaf, np.ndarray) else jnp.asarray(other)


def test_every_kind_of_leaf_comes_back_bit_for_bit(tmp_path):
    state = State(every_kind(), jnp.int32(7))
    Checkpoints(tmp_path, {}).save(state)
    got = Checkpoints(tmp_path, {}).restore(jax.tree.map(blank, state))
    assert jax.tree.structure(got) == jax.tree.structure(state)
    for (path, expected), leaf in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(got), strict=True):
        assert bits(leaf) == bits(expected), jax.tree_util.keystr(path)
        assert isinstance(leaf, np.ndarray) == isinstance(expected, np.ndarray)
        assert isinstance(leaf, np.ndarray) or leaf.committed == expected.committed
    assert isinstance(got.params["flax"]["inner"]["key"], nnx.RngKey)


def test_shapes_suffice_to_restore_and_what_comes_back_may_be_donated(tmp_path):
    state = State({"w": jnp.arange(6, dtype=jnp.float32), "key": keys("rbg")}, jnp.int32(7))
    Checkpoints(tmp_path, {}).save(state)
    got = Checkpoints(tmp_path, {}).restore(jax.eval_shape(lambda: state))
    assert jax.tree.map(bits, got) == jax.tree.map(bits, state)
    moved = jax.jit(lambda s: s._replace(step=s.step + 1), donate_argnums=0)(got)
    assert got.step.is_deleted() and jax.tree.map(bits, moved.params) == jax.tree.map(bits, state.params)


def test_arrays_come_back_on_the_devices_they_were_put_on(tmp_path):
    sharding = jax.sharding.NamedSharding(jax.make_mesh((1,), ("data",)), jax.sharding.PartitionSpec("data"))
    like = State({"w": jax.device_put(LIKE.params["w"], sharding), "b": LIKE.params["b"]}, LIKE.step)
    Checkpoints(tmp_path, {}).save(state_at(3))
    got = Checkpoints(tmp_path, {}).restore(like)
    assert got.params["w"].sharding == sharding and not got.params["b"].committed


def test_an_empty_folder_gives_none_and_is_made(tmp_path):
    checkpoints = Checkpoints(tmp_path / "a" / "b", {})
    assert checkpoints.restore(LIKE) is None and checkpoints.restore_best(LIKE) is None
    assert (tmp_path / "a" / "b").is_dir()


def test_a_relative_folder_stays_where_it_was_and_other_files_are_let_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for name in ("download.partial", "video-step-3.partial", "000001-step-2", f"000001-step-2-{'0' * 32}.partial"):
        (tmp_path / "run" / name).write_text("not ours")
    (tmp_path / "run" / "shots-step-3.partial" / "inner").mkdir(parents=True)
    (tmp_path / "run" / "1-step-3").mkdir()
    before = set((tmp_path / "run").rglob("*"))
    checkpoints = Checkpoints("run", {}, keep_last=1)
    monkeypatch.chdir("/")
    for step in (2, 3):
        checkpoints.save(state_at(step))
    assert int(Checkpoints(tmp_path / "run", {}).restore(LIKE).step) == 3
    assert before < set((tmp_path / "run").rglob("*")) and len(list((tmp_path / "run").iterdir())) == 7


def test_several_runs_at_once_count_by_the_furthest(tmp_path):
    state = State(jnp.zeros((2, 3), jnp.float32), jnp.asarray([4, 6], jnp.int32))
    Checkpoints(tmp_path, {}).save(state)
    assert steps_in(tmp_path) == [6]
    assert Checkpoints(tmp_path, {}).restore(state).step.tolist() == [4, 6]


# Which are kept


def test_the_last_and_the_best_are_kept_both_at_once(tmp_path):
    scores = [5.0, 1.0, 4.0, 0.5, 3.0, None, math.nan, 2.0, 1.5]
    kept = [[0], [0, 1], [1, 2], [1, 2, 3], [1, 3, 4], [1, 3, 4, 5], [1, 3, 5, 6], [1, 3, 6, 7], [1, 3, 7, 8]]
    for step, (score, expected) in enumerate(zip(scores, kept, strict=True)):
        checkpoints = Checkpoints(tmp_path, {}, keep_last=2, keep_best=2)  # opened anew, as after a crash
        checkpoints.save(state_at(step), score)
        assert steps_in(tmp_path) == expected
        assert int(checkpoints.restore(LIKE).step) == step
    best = Checkpoints(tmp_path, {}).restore_best(LIKE)
    assert int(best.step) == 3 and (best.params["w"] == 3).all()


@pytest.mark.parametrize(
    ("state", "score"),
    [
        (state_at(1), "low"),
        (state_at(1), "0.5"),
        (state_at(1), 10**400),
        (state_at(1), [1.0, 2.0]),
        (state_at(1)._replace(step=None), None),
        (state_at(1)._replace(step=np.float32(1.5)), None),
    ],
    ids=["a word", "a number as text", "too large", "two scores", "no step", "half a step"],
)
def test_a_score_or_step_that_is_no_number_is_refused_and_writes_nothing(state, score, two, without_type_checks):
    before = contents(two)
    with pytest.raises(TypeError, match="`state.step` must be whole numbers and `score` one number or None, got"):
        Checkpoints(two, {"size": 3}).save(state, score)
    assert contents(two) == before


def test_a_folder_that_is_gone_is_told(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run", {})
    (tmp_path / "run").rmdir()
    with pytest.raises(OSError, match="cannot save step 1 in .*run .*Make room, or give a folder"):
        checkpoints.save(state_at(1))


def test_64_bits_that_are_off_are_not_lost_in_silence(tmp_path):
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.save(State(jnp.full(2, 1 / 3, jnp.float64), jnp.int32(1)))
    like = State(jax.ShapeDtypeStruct((2,), jnp.float64), jax.ShapeDtypeStruct((), jnp.int32))
    with jax.enable_x64(False), pytest.raises(ValueError, match="float64, which JAX would restore as float32"):
        checkpoints.restore(like)
    assert float(checkpoints.restore(like).params[0]) == 1 / 3


def test_nan_is_worse_than_any_score_and_of_equal_scores_the_first_stays(tmp_path):
    checkpoints = Checkpoints(tmp_path, {}, keep_last=1)
    for step, score, best in (
        (1, None, None),
        (2, jnp.float32(math.nan), 2),
        (3, 9.0, 3),
        (4, 9.0, 3),
        (5, math.nan, 3),
    ):
        checkpoints.save(state_at(step), score)
        found = checkpoints.restore_best(LIKE)
        assert best is None if found is None else int(found.step) == best
    assert steps_in(tmp_path) == [3, 5]


def test_no_best_need_be_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, {}, keep_last=1, keep_best=0)
    for step in (1, 2):
        checkpoints.save(state_at(step), step)
    assert steps_in(tmp_path) == [2]


def test_a_step_saved_again_supersedes_what_was_saved_under_it(tmp_path):
    checkpoints = Checkpoints(tmp_path, {}, keep_last=2)
    for step in (1, 2):
        checkpoints.save(state_at(step))
    for shift in (10, 20):
        changed = state_at(2)
        checkpoints.save(changed._replace(params=jax.tree.map(lambda x: x + np.float32(shift), changed.params)))  # noqa: B023
        assert steps_in(tmp_path) == [1, 2]
        assert (checkpoints.restore(LIKE).params["w"] == 2 + shift).all()


def test_a_step_saved_again_without_a_score_does_not_lose_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, {}, keep_last=1)
    checkpoints.save(state_at(1), 0.5)
    checkpoints.save(state_at(1))
    assert int(checkpoints.restore_best(LIKE).step) == 1
    checkpoints.save(state_at(1), 0.6)  # the newer score counts
    checkpoints.save(state_at(2), 0.55)
    assert int(checkpoints.restore_best(LIKE).step) == 2 and steps_in(tmp_path) == [2]


def test_after_a_return_to_the_best_the_new_saves_are_the_last(tmp_path):
    checkpoints = Checkpoints(tmp_path, {}, keep_last=2)
    for step, score in ((10, 1.0), (20, 2.0), (30, 3.0)):
        checkpoints.save(state_at(step), score)
    assert int(checkpoints.restore_best(LIKE).step) == 10
    checkpoints.save(state_at(11), 4.0)
    assert int(checkpoints.restore(LIKE).step) == 11 and steps_in(tmp_path) == [10, 11, 30]


# Configuration


@dataclass(frozen=True)
class Configuration:
    cell: Any = jaxrnn.Elman(hidden_size=4)
    learning_rate: float = 0.1
    layers: tuple = (8, 16)
    dtype: Any = jnp.float32
    clip: Any = None


def test_a_configuration_is_stored_under_readable_names(tmp_path):
    Checkpoints(tmp_path, Configuration()).save(state_at(1))
    (path,) = tmp_path.glob("*/manifest.json")
    stored = json.loads(path.read_text())["configuration"]
    expected = {
        "": f"{__name__}.Configuration",
        ".cell": "jaxrnn.cells.elman.Elman",
        ".cell.hidden_size": 4,
        ".cell.activation": "tanh",
        ".learning_rate": 0.1,
        ".layers[0]": 8,
        ".layers[1]": 16,
        ".dtype": "float32",
        ".clip": None,
    }
    assert {f"configuration{name}": value for name, value in expected.items()}.items() <= stored.items()
    Checkpoints(tmp_path, Configuration()).restore(LIKE)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            Configuration(cell=jaxrnn.Elman(hidden_size=5)),
            r"`configuration\.cell\.hidden_size` was 4, now it is 5\. .* another folder",
        ),
        (
            Configuration(cell=jaxrnn.GRU(hidden_size=4)),
            r'`configuration\.cell` was "jaxrnn\.cells\.elman\.Elman", now it is "jaxrnn\.cells\.gru\.GRU"',
        ),
        (
            Configuration(cell=jaxrnn.Elman(4, activation=jax.nn.relu)),
            r'`configuration\.cell\.activation` was "tanh", now it is "jax\.[\w.]*\.relu"',
        ),
        (Configuration(learning_rate=0.2, layers=()), r"learning_rate` was 0\.1, now it is 0\.2"),
        (Configuration(layers=(8, 16, 4)), r"layers\[2\]` was absent, now it is 4"),
        (Configuration(layers=(8,)), r"layers\[1\]` was 16, now it is absent"),
        (Configuration(layers=()), r"layers\[0\]` was 8, now it is absent"),
        (Configuration(clip=True), r"clip` was null, now it is true"),
        (Configuration(dtype=np.dtype("bfloat16")), r'dtype` was "float32", now it is "bfloat16"'),
        ({}, r"`configuration` was .*Configuration.*, now it is {}"),
    ],
)
def test_another_configuration_is_refused_before_anything_is_touched(configured, other, message):
    before = contents(configured)
    with pytest.raises(ValueError, match=message):
        Checkpoints(configured, other)
    assert contents(configured) == before


@pytest.fixture(scope="module")
def configured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configured")
    Checkpoints(folder, Configuration()).save(state_at(1))
    return folder


def test_a_configuration_that_changes_under_way_is_refused(tmp_path):
    configuration = {"size": 3}
    checkpoints = Checkpoints(tmp_path, configuration)
    checkpoints.save(state_at(1))
    configuration["size"] = 4
    for call in (lambda: checkpoints.save(state_at(2)), lambda: checkpoints.restore(LIKE)):
        with pytest.raises(ValueError, match=r"`configuration\.size` was 3, now it is 4"):
            call()
    assert steps_in(tmp_path) == [1]


class Schedule:
    def at(self, step):
        return step


UNDESCRIBED = {"lambda": lambda x: x, "array": np.zeros(3), "object": object(), "method": Schedule().at, "complex": 1j}


@pytest.mark.parametrize("value", UNDESCRIBED.values(), ids=UNDESCRIBED)
def test_a_configuration_that_cannot_be_described_is_refused(tmp_path, value):
    with pytest.raises(
        TypeError, match=r"`configuration` must hold .* got .* at `configuration\.cell\[0\]\.activation`. Describe it"
    ):
        Checkpoints(tmp_path / "new", {"cell": [{"activation": value}]})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("key", [1, "", "a.b", "a[0]", None])
def test_a_key_that_could_stand_for_another_is_refused(tmp_path, key):
    with pytest.raises(
        TypeError, match=rf"keys of `configuration\.a` must be strings, .*{re.escape(repr(key))}. Rename"
    ):
        Checkpoints(tmp_path / "new", {"a": {key: 1}})


class Left(NamedTuple):
    size: int


class Right(NamedTuple):
    size: int


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (jaxrnn.LSTM(4), jaxrnn.cells.CoupledLSTM(4)),
        ({"of": np.sum}, {"of": jnp.sum}),
        ({"of": Left(3)}, {"of": Right(3)}),
        ({"of": ["a"]}, {"of": {"0": "a"}}),
        ({"of": []}, {"of": {}}),
        ({"of": True}, {"of": 1}),
    ],
)
def test_configurations_that_look_alike_differ(before, now):
    assert configuration.difference(configuration.flatten(before), configuration.flatten(now))
    assert configuration.difference(configuration.flatten(before), configuration.flatten(before)) is None


def test_the_scalars_of_numpy_are_numbers():
    numpy = {"rate": np.float32(0.5), "size": np.int64(3), "yes": np.bool_(True), "dtype": np.float32}
    plain = {"rate": 0.5, "size": 3, "yes": True, "dtype": jnp.float32}
    assert json.dumps(configuration.flatten(numpy)) == json.dumps(configuration.flatten(plain))


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("keep_last", 0, 1),
        ("keep_last", -1, 1),
        ("keep_last", None, 1),
        ("keep_last", True, 1),
        ("keep_best", -1, 0),
        ("keep_best", 0.0, 0),
        ("keep_best", False, 0),
    ],
)
def test_bad_counts_are_refused(tmp_path, without_type_checks, name, value, least):
    with pytest.raises(ValueError, match=f"`{name}` must be a whole number of at least {least}, got {value}"):
        Checkpoints(tmp_path, {}, **{name: value})


# What does not fit


def adam_state(size, optimizer=None):
    params = {"w": jnp.ones(size, jnp.float32)}
    return State((params, (optimizer or optax.adam(0.1)).init(params), jax.random.key(0)), jnp.int32(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: adam_state(4),
            r"`like\.params\[0\]\['w'\]` is float32\[4\], the checkpoint has float32\[3\] there\. Make",
        ),
        (
            lambda s: s._replace(params=(s.params[0], adam_state(4).params[1], s.params[2])),
            r"`like\.params\[1\]\[0\]\.mu\['w'\]` is float32\[4\], the checkpoint has float32\[3\]",
        ),
        (
            lambda s: adam_state(3, optax.sgd(0.1, momentum=0.9)),
            r"`like\.params\[1\]\[0\]\.trace\['w'\]` is float32\[3\], the checkpoint has absent",
        ),
        (
            lambda s: adam_state(3, optax.sgd(0.1)),
            r"`like\.params\[1\]\[0\]\.count` is absent, the checkpoint has int32\[\]",
        ),
        (
            lambda s: s._replace(params=jax.tree.map(lambda x: x.astype(jnp.float64), s.params[:1]) + s.params[1:]),
            r"`like\.params\[0\]\['w'\]` is float64\[3\], the checkpoint has float32\[3\]",
        ),
        (
            lambda s: s._replace(params=(*s.params[:2], jax.random.key(0, impl="rbg"))),
            r"`like\.params\[2\]` is key<rbg>\[\], the checkpoint has key<fry>\[\]",
        ),
        (
            lambda s: s._replace(params=(*s.params[:2], jax.random.key_data(s.params[2]))),
            r"`like\.params\[2\]` is uint32\[2\], the checkpoint has key<fry>\[\]",
        ),
    ],
)
def test_a_like_that_differs_is_refused_by_its_first_leaf(adam_folder, change, message):
    for restore in (Checkpoints(adam_folder, {}).restore, Checkpoints(adam_folder, {}).restore_best):
        with pytest.raises(ValueError, match=message):
            restore(change(adam_state(3)))


@pytest.fixture(scope="module")
def adam_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adam")
    Checkpoints(folder, {}).save(adam_state(3), 1.0)
    return folder


@pytest.mark.parametrize("leaf", [3, np.array(["a"]), np.array([None, 1]), np.array([0], "datetime64[s]")], ids=repr)
def test_a_leaf_that_is_no_array_of_numbers_is_refused(tmp_path, leaf):
    message = rf"state\.params\['n'\] must be an array of numbers, got {re.escape(repr(leaf))}\. Convert it"
    with pytest.raises(TypeError, match=message):
        Checkpoints(tmp_path, {}).save(State({"n": leaf}, jnp.int32(0)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("state", [{"step": np.int32(1)}, np.zeros(3)])
def test_a_state_without_a_step_is_refused(tmp_path, state):
    with pytest.raises(TypeError, match=rf"`state` must have a field `step`, got a {type(state).__name__}. Make it a"):
        Checkpoints(tmp_path, {}).save(state)


# Damage


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0x10
    path.write_bytes(content)


def largest(folder):
    return max((path for path in folder.glob("arrays/d/*")), key=lambda path: path.stat().st_size)


def extend(path):
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize("damage", [cut, empty, flip, extend, Path.unlink], ids=lambda damage: damage.__name__)
def test_damage_to_any_file_is_noticed_and_the_newest_good_one_taken(two, damage):
    (newest,) = two.glob("*-step-20")
    names = sorted(path.relative_to(newest) for path in newest.rglob("*") if path.is_file() and path.stat().st_size)
    assert len(names) >= 6 and {"manifest.json", "SHA256SUMS"} <= {str(name) for name in names}
    whole = contents(newest)
    for name in names:
        damage(newest / name)
        checkpoints = Checkpoints(two, {"size": 3})
        with pytest.warns(UserWarning, match=r"passed over step 20 \(000002-step-20\), .*took step 10 \(") as caught:
            got = checkpoints.restore(LIKE)
        assert len(caught) == 1 and int(got.step) == 10 and (got.params["w"] == 10).all(), name
        for path, content in whole.items():
            path.write_bytes(content)
    assert int(Checkpoints(two, {"size": 3}).restore(LIKE).step) == 20


def test_every_flipped_byte_of_the_array_data_is_noticed(two):
    (newest,) = two.glob("*-step-20")
    saved, _ = checkpoint_files.saved_in(two)
    path = largest(newest)
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert isinstance(checkpoint_files.trouble_with(saved), checkpoint_files.Damaged)
    path.write_bytes(content)
    assert checkpoint_files.trouble_with(saved) is None


def test_where_all_are_damaged_an_error_says_so(two):
    for path in two.glob("*/arrays/manifest.ocdbt"):
        flip(path)
    for restore in (Checkpoints(two, {"size": 3}).restore, Checkpoints(two, {"size": 3}).restore_best):
        with pytest.raises(
            ValueError, match=r"nothing in .* can be restored: step 20 \(.* damaged .*; step 10 .* start anew"
        ):
            restore(LIKE)


@pytest.mark.parametrize("name", ["manifest.json", "arrays/manifest.ocdbt"])
def test_a_damaged_best_gives_way_to_the_next_best(two, name):
    (best,) = two.glob("*-step-20")
    flip(best / name)
    with pytest.warns(UserWarning, match=r"passed over step 20 .*took step 10"):
        assert int(Checkpoints(two, {"size": 3}).restore_best(LIKE).step) == 10


def test_a_run_goes_on_after_damage(two):
    (newest,) = two.glob("*-step-20")
    flip(newest / "manifest.json")
    checkpoints = Checkpoints(two, {"size": 3}, keep_last=1)
    checkpoints.save(state_at(15))  # last by the order of saving, though not by its step
    assert int(checkpoints.restore(LIKE).step) == 15 and steps_in(two) == [10, 15]


def test_a_damaged_best_is_not_kept_in_place_of_a_good_one(tmp_path):
    checkpoints = Checkpoints(tmp_path, {}, keep_last=1)
    checkpoints.save(state_at(1), 0.1)
    flip(largest(next(tmp_path.glob("*-step-1"))))
    for step, score in ((2, 0.2), (3, 0.5), (4, 0.6)):
        checkpoints.save(state_at(step), score)
    assert steps_in(tmp_path) == [2, 4] and int(checkpoints.restore_best(LIKE).step) == 2


def test_a_damaged_last_one_is_not_kept_in_place_of_a_good_one(two):
    flip(largest(next(two.glob("*-step-20"))))
    checkpoints = Checkpoints(two, {"size": 3}, keep_last=2, keep_best=0)
    checkpoints.save(state_at(30))
    assert steps_in(two) == [10, 30]


def test_where_nothing_is_good_nothing_is_removed(two, monkeypatch):
    monkeypatch.setattr(checkpoint, "trouble_with", lambda saved: checkpoint_files.Damaged("a bad disk"))
    checkpoints = Checkpoints(two, {"size": 3}, keep_last=1)
    checkpoints.save(state_at(30))
    assert steps_in(two) == [10, 20, 30]
    with pytest.raises(ValueError, match=r"step 30 \(000003-step-30\), which is damaged \(a bad disk\); step 20"):
        checkpoints.restore(LIKE)


def test_files_that_somebody_else_laid_into_a_checkpoint_do_not_matter(two):
    (newest,) = two.glob("*-step-20")
    for folder in (newest, newest / "arrays", newest / "arrays" / "d"):
        (folder / ".DS_Store").write_text("")
    checkpoints = Checkpoints(two, {"size": 3}, keep_last=1)
    assert int(checkpoints.restore(LIKE).step) == 20
    checkpoints.save(state_at(30))
    assert steps_in(two) == [20, 30]  # the best still


@pytest.mark.parametrize("name", ["SHA256SUMS", "manifest.json", "arrays/manifest.ocdbt"])
def test_what_cannot_be_read_just_now_is_passed_over_and_never_removed(two, monkeypatch, name):
    unreadable, opened = next(two.glob("*-step-20")) / name, Path.open

    def open_others(path, *arguments, **options):
        if path == unreadable:
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, *arguments, **options)

    checkpoints = Checkpoints(two, {"size": 3}, keep_last=1)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_others)
        with pytest.warns(UserWarning, match=r"step 20 .* cannot be read \(.*Too many open files\); took step 10"):
            assert int(checkpoints.restore_best(LIKE).step) == 10
        for step in (30, 40):
            checkpoints.save(state_at(step), 1.0)
        assert steps_in(two) == [10, 20, 40]
        shutil.rmtree(next(two.glob("*-step-10")))
        shutil.rmtree(next(two.glob("*-step-40")))
        with pytest.raises(ValueError, match=r"nothing in .* step 20 .* cannot be read .* make them readable"):
            checkpoints.restore(LIKE)
    assert int(checkpoints.restore_best(LIKE).step) == 20


# Another process writes


@pytest.mark.parametrize("best", [False, True], ids=["last", "best"])
@pytest.mark.parametrize(
    ("where", "what", "after"),
    [
        (checkpoint_files, "_read_manifest", False),
        (checkpoint_files, "_read_manifest", True),
        (checkpoint, "trouble_with", True),
        (checkpoint, "read", True),
    ],
)
def test_what_is_removed_under_the_hands_of_a_reader_gives_way_to_the_next(two, monkeypatch, where, what, after, best):
    checkpoints, writer = (Checkpoints(two, {"size": 3}, keep_last=1, keep_best=int(best)) for _ in range(2))
    do, done = getattr(where, what), []

    def removed_meanwhile(*arguments):
        found = do(*arguments) if after else None
        if not done:
            done.append(True)
            writer.save(state_at(30), score=0.0)
        return found if after else do(*arguments)

    monkeypatch.setattr(where, what, removed_meanwhile)
    got = (checkpoints.restore_best if best else checkpoints.restore)(LIKE)
    assert done and int(got.step) == 30 and (got.params["w"] == 30).all()  # and no warning


# Crashes and disks


@pytest.fixture(scope="module")
def processes():
    """Starts a function of killed_run in a process of its own, with one end of a pipe besides its arguments."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.killed_run"])
    started = []

    def start(target, *arguments):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=target, args=(*arguments, sender), daemon=True)
        process.start()
        sender.close()
        started.append(process)
        return process, receiver

    yield start
    for process in started:
        process.kill()
        process.join(60)
        process.close()


class Crash(BaseException):
    """Stands for the end of the process: nothing catches it, nothing is tidied up."""


def crash(*_args, **_kwargs):
    raise Crash


@pytest.mark.parametrize(
    ("where", "what", "survivor"),
    [
        (checkpoint_files, "write_arrays", 20),
        (checkpoint_arrays.ocp.Checkpointer, "save", 20),
        (checkpoint_files, "_sums", 20),
        (checkpoint_files, "_force_to_disk", 20),
        (Path, "rename", 20),
        (checkpoint, "trouble_with", 30),
        (shutil, "rmtree", 30),
    ],
)
def test_a_crash_at_any_moment_leaves_the_earlier_ones_whole(two, monkeypatch, where, what, survivor):
    before = contents(two)
    checkpoints = Checkpoints(two, {"size": 3}, keep_last=1, keep_best=0)
    with monkeypatch.context() as patch:
        patch.setattr(where, what, crash)
        with pytest.raises(Crash):
            checkpoints.save(state_at(30))
    resumed = Checkpoints(two, {"size": 3}, keep_last=1, keep_best=0)
    assert int(resumed.restore(LIKE).step) == survivor
    if survivor == 20:
        assert before.items() <= contents(two).items()
    resumed.save(state_at(40))
    assert steps_in(two) == [40]  # nothing is left of what was half written or half removed
    assert int(resumed.restore(LIKE).step) == 40


def test_a_checkpoint_half_removed_by_a_crash_is_not_taken_for_a_damaged_one(two, monkeypatch):
    def remove_half(path, **_kwargs):
        (Path(path) / "SHA256SUMS").unlink()
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", remove_half)
        with pytest.raises(Crash):
            Checkpoints(two, {"size": 3}, keep_last=1).save(state_at(30))
    checkpoints = Checkpoints(two, {"size": 3}, keep_last=1)
    assert int(checkpoints.restore_best(LIKE).step) == 20  # without a warning
    checkpoints.save(state_at(40))
    assert steps_in(two) == [20, 40]


def test_an_array_file_half_written_by_a_crash_is_never_read(two):
    (newest,) = two.glob("*-step-20")
    partial = Path(shutil.copytree(newest, two / f"000003-step-30-{'0' * 32}.partial"))
    cut(partial / "manifest.json")
    assert int(Checkpoints(two, {"size": 3}).restore(LIKE).step) == 20


def test_a_full_disk_is_an_error_and_harms_nothing(two, processes):
    before = contents(two)
    process, answer = processes(killed_run.save_on_a_full_disk, two, 30)
    assert answer.poll(60)
    message = r"cannot save step 30 in .*File too large\). Make room, .* are unharmed\.$"
    assert re.search(message, answer.recv(), re.DOTALL)
    process.join(60)
    assert process.exitcode == 0 and before.items() <= contents(two).items()
    checkpoints = Checkpoints(two, {"size": 3})
    assert int(checkpoints.restore(LIKE).step) == 20
    checkpoints.save(state_at(40))
    assert steps_in(two) == [10, 20, 40]


@pytest.mark.parametrize("what", ["mkdir", "write_text", "rename"])
def test_a_disk_that_cannot_be_written_is_an_error_and_harms_nothing(two, monkeypatch, what):
    checkpoints, before = Checkpoints(two, {"size": 3}), contents(two)

    def refuse(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, what, refuse)
        with pytest.raises(OSError, match=r"cannot save step 30 in .*No space left on device.* are unharmed"):
            checkpoints.save(state_at(30))
    assert contents(two) == before and steps_in(two) == [10, 20]


def test_an_old_one_that_cannot_be_removed_does_not_fail_the_save(two, monkeypatch):
    checkpoints = Checkpoints(two, {"size": 3}, keep_last=1, keep_best=0)

    def busy(path, ignore_errors=False):
        if not ignore_errors:
            raise OSError(errno.EBUSY, "Device or resource busy")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", busy)
        with pytest.warns(UserWarning, match=r"step 30 is saved .* could not be removed \(.*resource busy\); the next"):
            checkpoints.save(state_at(30))
    assert int(checkpoints.restore(LIKE).step) == 30
    checkpoints.save(state_at(40))
    assert steps_in(two) == [40]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_an_error(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot make the folder .*file.* Give one that can be written to"):
        Checkpoints(tmp_path / name, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder_can_be_read_and_not_written(two):
    two.chmod(0o555)
    checkpoints = Checkpoints(two, {"size": 3})
    assert int(checkpoints.restore(LIKE).step) == 20
    with pytest.raises(OSError, match="cannot save step 30 .*Permission denied"):
        checkpoints.save(state_at(30))
    two.chmod(0o755)


def test_nothing_is_written_to_the_console(two, capfd, caplog):
    caplog.set_level(logging.INFO)
    checkpoints = Checkpoints(two, {"size": 3})
    checkpoints.save(state_at(30))
    checkpoints.restore(LIKE)
    assert capfd.readouterr() == ("", "") and not [r for r in caplog.records if r.name == "absl"]
    logging.getLogger("absl").warning("of somebody else")
    assert "of somebody else" in caplog.text


# A run that is killed


def finish(process, progress):
    """Reads what the process tells until it ends."""
    with pytest.raises(EOFError):
        while progress.poll(60):
            progress.recv()
    process.join(60)
    assert process.exitcode == 0


def test_a_run_killed_ten_times_ends_bit_for_bit_like_one_never_stopped(tmp_path, processes):
    moments, until = np.random.default_rng(2024), 40
    folders, cache = [str(tmp_path / name) for name in ("never stopped", "killed")], str(tmp_path / "cache")
    finish(*processes(killed_run.train, folders[0], until, until, cache))
    alive = inside_a_save = 0
    for _ in range(10):
        process, progress = processes(killed_run.train, folders[1], until, 2, cache)
        for _ in range(moments.integers(1, 5)):
            assert progress.poll(60), "the run does not move"
            progress.recv()
        time.sleep(moments.uniform(0, 0.06))
        process.kill()
        process.join(60)
        alive += process.exitcode == -signal.SIGKILL
        inside_a_save += any(Path(folders[1]).glob("*.partial"))
    assert alive >= 8 and inside_a_save >= 2
    finish(*processes(killed_run.train, folders[1], until, 2, cache))
    like = killed_run.initial()
    expected, got = (Checkpoints(folder, killed_run.CONFIGURATION).restore(like) for folder in folders)
    assert int(got.step) == until and not jnp.array_equal(got.params["w"], like.params["w"])
    assert jax.tree.map(bits, got) == jax.tree.map(bits, expected)
    expected, got = (Path(folder, "log.jsonl").read_text() for folder in folders)
    assert got == expected and [json.loads(line)["step"] for line in got.splitlines()] == list(range(until))
