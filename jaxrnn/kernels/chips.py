"""The accelerators that kernels are planned for."""

from typing import NamedTuple

import jax


class Chip(NamedTuple):
    """An accelerator. `memory`: bytes on the chip that a kernel may use, for one core.

    `rows`: rows of a matrix that its matrix unit multiplies at once. `kind`: what JAX calls it. `topology`: what the
    TPU compiler calls a smallest machine of it, to compile for without one.
    """

    name: str
    platform: str
    memory: int
    rows: int
    kind: str
    topology: str

    def __str__(self):  # noqa: D105
        return self.name


# Memory of TPUs: what their compiler, libtpu 0.0.52, names when it runs out.
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", "tpu", 16 << 20, 128, "TPU v4", "v4:2x2x1"),
        Chip("v5e", "tpu", 128 << 20, 128, "TPU v5 lite", "v5e:2x2"),
        Chip("v5p", "tpu", (64 << 20) - (64 << 10), 128, "TPU v5", "v5p:2x2x1"),
        Chip("v6e", "tpu", (128 << 20) - (64 << 10), 256, "TPU v6 lite", "v6e:2x2"),
        Chip("7x", "tpu", (64 << 20) - (64 << 10), 256, "TPU7x", "tpu7x:2x2x1"),
    )
}


def chip_at_hand() -> Chip | None:
    """The chip of the first device; None where kernels know none such."""
    kind = jax.devices()[0].device_kind
    return next((chip for chip in CHIPS.values() if chip.kind == kind), None)
