"""Strict JAX for tests and docstrings alike: 64 bits, no silent promotion, every run the same. Imports no jaxrnn."""

import collections
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
    words = "of the variants of a test, and of the tests of a file, every Nth, from K on"
    parser.addoption("--share", type=_share, metavar="K/N", help=words)
    parser.addoption("--smokes", type=_share, metavar="K/N", help="of the smoke runs every Nth, from K on")


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: a whole smoke run of an application, half a minute of one core")


def pytest_collection_modifyitems(config, items):
    """With --share at least one variant of each test that has some runs, and of each file one of those without."""
    groups, smokes = collections.defaultdict(list), []
    for item in items:
        test, varies, _ = item.nodeid.partition("[")
        smoke = item.get_closest_marker("smoke")
        (smokes if smoke else groups[test if varies else item.path]).append(item)
    left_out = _left_out(groups.values(), config.getoption("--share"))
    left_out |= _left_out([smokes], config.getoption("--smokes"))
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


def _left_out(groups, share):
    """Of each group all but every Nth, or all but one where there are fewer."""
    if share is None:
        return set()
    which, of = share
    parts = ((group, min(of, len(group))) for group in groups if group)
    return {item for group, count in parts for item in group if item not in group[which % count :: count]}


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_go_with_their_module():
    """A process may map only so many pieces of memory, and thousands of compiled programs reach the limit."""
    yield
    jax.clear_caches()
