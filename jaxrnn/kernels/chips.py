"""The accelerators that kernels are planned for."""

from typing import NamedTuple

import jax


class Chip(NamedTuple):
    """An accelerator. `memory`: bytes on the chip that a kernel may use, for one core of a TPU or one block of a GPU.

    `platform`: what JAX lowers for. `rows`: sequences that its matrix unit multiplies at once. `kind`: what JAX calls
    it, of a GPU the first two words. `topology`: what the TPU compiler calls a smallest machine of it, to compile for
    without one; None for a GPU.
    """

    name: str
    platform: str
    memory: int
    rows: int
    kind: str
    topology: str | None = None

    def __str__(self):  # noqa: D105
        return self.name


# Memory of TPUs: what their compiler, libtpu 0.0.52, names when it runs out; of Hopper GPUs: what a block may have.
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", "tpu", 16 << 20, 128, "TPU v4", "v4:2x2x1"),
        Chip("v5e", "tpu", 128 << 20, 128, "TPU v5 lite", "v5e:2x2"),
        Chip("v5p", "tpu", (64 << 20) - (64 << 10), 128, "TPU v5", "v5p:2x2x1"),
        Chip("v6e", "tpu", (128 << 20) - (64 << 10), 256, "TPU v6 lite", "v6e:2x2"),
        Chip("7x", "tpu", (64 << 20) - (64 << 10), 256, "TPU7x", "tpu7x:2x2x1"),
        Chip("h100", "cuda", 227 << 10, 16, "NVIDIA H100"),
        Chip("h200", "cuda", 227 << 10, 16, "NVIDIA H200"),
    )
}


def chip_at_hand() -> Chip | None:
    """The chip of the first device; None where kernels know none such."""
    kind = jax.devices()[0].device_kind
    if kind.startswith("NVIDIA"):
        kind = " ".join(kind.split()[:2])  # what follows is its memory or its socket
    return next((chip for chip in CHIPS.values() if chip.kind == kind), None)
