"""What a measurement ran on: versions and the machine, without names of hosts, users or folders."""

import importlib.metadata
import os
import platform
import tomllib
from pathlib import Path

import jax


def versions() -> dict[str, str]:
    """Versions of what computes; that of jaxrnn is the source tree's."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    others = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
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
