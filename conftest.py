"""Strict JAX for tests and docstrings alike: 64 bits, no silent promotion, every run the same. Imports no jaxrnn."""

import os

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
    parser.addoption("--share", type=_share, metavar="K/N", help="of the other tests every Nth, from K on")
    parser.addoption("--smokes", type=_share, metavar="K/N", help="of the smoke runs every Nth, from K on")


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: a whole smoke run of an application, half a minute of one core")


def pytest_collection_modifyitems(config, items):
    """With --share 0/N to N-1/N every test runs once; the same for --smokes."""
    smokes = [item for item in items if item.get_closest_marker("smoke")]
    others = [item for item in items if not item.get_closest_marker("smoke")]
    left_out = _left_out(others, config.getoption("--share")) | _left_out(smokes, config.getoption("--smokes"))
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


def _left_out(items, share):
    """All but every Nth."""
    which, of = share or (0, 1)
    return set(items) - set(items[which::of])


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_go_with_their_module():
    """A process may map only so many pieces of memory, and thousands of compiled programs reach the limit."""
    yield
    jax.clear_caches()
