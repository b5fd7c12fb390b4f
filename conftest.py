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


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_go_with_their_module():
    """A process may map only so many pieces of memory, and thousands of compiled programs reach the limit."""
    yield
    jax.clear_caches()
