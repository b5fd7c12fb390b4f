"""Strict JAX for tests and docstrings alike: 64 bits, no silent promotion, every run the same. Imports no jaxrnn."""

import os
import zlib

import hypothesis
import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

# The suite compiles hundreds of tiny functions and runs each once: optimising them would be most of its time.
jax.config.update("jax_disable_most_optimizations", True)
if jax.__version_info__ < (0, 11):  # later versions know no such flag, and end the process on it
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_use_fusion_emitters=false"

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=12)
hypothesis.settings.load_profile("repeatable")


def _share(text: str) -> tuple[int, int]:
    which, of = map(int, text.split("/"))
    if not 0 <= which < of:
        raise ValueError(text)
    return which, of


def pytest_addoption(parser):
    words = "the Kth of N parts of {}, drawn by name"
    parser.addoption("--share", type=_share, metavar="K/N", help=words.format("the tests that are no smoke runs"))
    parser.addoption("--smokes", type=_share, metavar="K/N", help=words.format("the smoke runs of applications"))


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: a whole smoke run of an application, half a minute of one core")


def pytest_collection_modifyitems(config, items):
    """From 0/N to N-1/N every test runs once. By place in the list a share would hold one test of all cells alike."""

    def runs(item):
        which, of = config.getoption("--smokes" if item.get_closest_marker("smoke") else "--share") or (0, 1)
        return zlib.crc32(item.nodeid.encode()) % of == which

    config.hook.pytest_deselected(items=[item for item in items if not runs(item)])
    items[:] = [item for item in items if runs(item)]


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_go_with_their_module():
    """A process may map only so many pieces of memory, and thousands of compiled programs reach the limit."""
    yield
    jax.clear_caches()
