"""The sources of the main job: what a sequence and its target are, and what a constant prediction loses."""

import math
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.inputs import DATA_SETS, open_source
from benchmarks.recorded import Chorales, Images, Text
from benchmarks.source import doubling
from benchmarks.synthetic import SYNTHETIC
from jaxrnn.data.files import FILES
from jaxrnn.train import losses

KEY = jax.random.key(1)
OUTPUTS = {"squared error": losses.squared_error, "cross-entropy": losses.cross_entropy}


def test_text_is_read_byte_by_byte():
    source = Text(jnp.arange(50, dtype=jnp.uint8), "file")
    windows = source.sample(KEY, 10, 6)
    assert windows.inputs.shape == (10, 6, 256) and windows.inputs.dtype == np.float32
    letters = np.argmax(windows.inputs, axis=-1)
    assert (np.diff(letters, axis=0) == 1).all() and (np.sum(windows.inputs, axis=-1) == 1).all()
    np.testing.assert_array_equal(windows.targets, letters + 1)
    assert np.asarray(windows.mask).all()
    assert source.baseline(10) == pytest.approx(math.log(50))
    starts = np.argmax(source.sample(KEY, 48, 64).inputs[0], axis=-1)
    assert set(starts.tolist()) == {0, 1}  # the first and the last window that another byte follows
    assert source.limit[0] == 49


def test_images_are_read_pixel_by_pixel():
    images, labels = np.arange(2 * 4 * 6, dtype=np.uint8).reshape(2, 4, 6), np.array([7, 3], np.int32)
    source = Images(jnp.asarray(images), jnp.asarray(labels), "file", classes=10)
    whole = source.sample(KEY, 24, 5)
    assert whole.inputs.shape == (24, 5, 1) and source.objective.outputs == 10
    pixels = np.rint(np.asarray(whole.inputs) * 255).astype(int)[..., 0]
    for b in range(5):
        np.testing.assert_array_equal(pixels[:, b], images[labels.tolist().index(int(whole.targets[b]))].ravel())
    assert whole.mask.sum() == 5 and np.asarray(whole.mask[-1]).all()
    one = Images(jnp.asarray(images[:1]), jnp.zeros(1, jnp.int32), "file", classes=0)
    part = np.asarray(one.sample(KEY, 4, 1).inputs)
    np.testing.assert_array_equal(np.rint(part[:, 0, 0] * 255), [13, 14, 15, 16])
    assert source.baseline(24) == pytest.approx(math.log(2)) and one.objective is None


def test_windows_of_chorales_stay_inside_a_piece():
    pieces = [np.full((n, 2), value, np.float32) for n, value in ((3, 0.1), (6, 0.2), (5, 0.3))]
    for piece in pieces:
        piece[:, 1] = np.arange(len(piece))
    source = Chorales.of(pieces, "file")
    batch = source.sample(KEY, 4, 200)
    assert source.limit[0] == 5 and source.input_size == 2
    piece, step = np.rint(np.asarray(batch.inputs[0]) * [10, 1]).astype(int).T
    assert set(zip(piece.tolist(), step.tolist(), strict=True)) == {(2, 0), (2, 1), (3, 0)}  # each that leaves 5 frames
    np.testing.assert_array_equal(batch.inputs[1:], batch.targets[:-1])
    assert (np.diff(np.asarray(batch.targets)[:, :, 1], axis=0) == 1).all()
    half = Chorales.of([np.eye(2, dtype=np.float32)], "file")
    assert half.baseline(4) == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("name", SYNTHETIC)
def test_synthetic_sources_have_the_length_that_is_asked_for(name):
    source = SYNTHETIC[name]
    for length in (source.shortest, source.lengths[0]):
        batch = jax.eval_shape(lambda key, length=length: source.sample(key, length, 3), KEY)
        assert batch.inputs.shape == (length, 3, source.input_size) and batch.mask.shape == (length, 3)
        outputs = jax.ShapeDtypeStruct((length, 3, source.objective.outputs), jnp.float32)
        loss = jax.eval_shape(OUTPUTS[source.objective.loss], outputs, batch.targets, batch.mask)
        assert loss.shape == () and source.baseline(length) > 0
    assert source.lengths[-1] == 1024


def test_lengths_by_doubling():
    assert doubling(784) == (8, 16, 32, 64, 128, 256, 512, 784)
    assert doubling(5) == (5,)


@pytest.mark.parametrize("name", DATA_SETS)
def test_data_sets_are_found_in_a_folder(name):
    folder = Path(os.environ.get("JAXRNN_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    if not all((folder / file).is_file() for file in FILES if file.startswith(DATA_SETS[name].split("/")[0])):
        pytest.skip(f"the real data are not on this machine: {folder} lacks those of {name}")
    source, provenance = open_source(name, None, folder)
    shapes = {"text": (256, 256, 1115393), "mnist": (1, 10, 784), "jsb": (88, 88, 128)}
    assert (source.input_size, source.objective.outputs, source.limit[0]) == shapes[name]
    assert provenance["file"] == DATA_SETS[name] and len(provenance["sha256"]) == 64
    expected = {"text": 3.313, "mnist": math.log(10), "jsb": 11.09}[name]
    assert source.baseline(8) == pytest.approx(expected, rel=1e-3)
