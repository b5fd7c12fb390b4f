"""What a measurement runs on: chosen at the start, and told without names of hosts, users or folders."""

import contextlib
import importlib.metadata
import os
import platform
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import jax

Device = Literal["cpu", "gpu", "tpu"]
PLATFORMS = {"gpu": ("cuda", "rocm")}  # JAX's names, where one kind of device has several


def use_device(device: Device | None) -> None:
    """Makes JAX compute on the first device of a kind; None leaves the choice to JAX.

    The platform itself is chosen, not a default device, so that whatever asks for the platform sees the same. To be
    called before the first computation, after which JAX keeps its platform.

    Raises:
        ValueError: there is no such device.
    """
    if device is None:
        return
    before = getattr(jax.config, "jax_platforms", None)
    for name in PLATFORMS.get(device, (device,)):
        jax.config.update("jax_platforms", name)
        with contextlib.suppress(RuntimeError, AssertionError):  # the latter of a platform without its plugin
            if jax.default_backend() == device:
                return
    jax.config.update("jax_platforms", before)
    raise ValueError(
        f"--device: there is no {device} that JAX can use here, it has {jax.default_backend()}. Leave the flag "
        f"out, or install JAX for a {device}."
    )


@contextlib.contextmanager
def little_optimisation(wanted: bool) -> Iterator[None]:
    """What is compiled within is hardly optimised: sooner ready, and slower when it runs (see benchmarks/NOTES.md)."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", before or wanted)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def versions() -> dict[str, str]:
    """Versions of what computes; that of jaxrnn is the source tree's."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    others = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", "optax")}
    return {"python": platform.python_version(), **others, "jaxrnn": project["project"]["version"]}


def machine() -> dict[str, str | int]:
    """Processor, cores that may be used, platform, and the device that JAX takes."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    device = jax.devices()[0].device_kind
    return {
        "cpu": _cpu_model(),
        "cores": usable,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
