"""What is compared: a cell with its initialisers, by name. Every exported cell is one; a few more are named here."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxrnn import cells
from jaxrnn.cell import Cell
from jaxrnn.initializers import BiasInitializer, Chrono, ForgetBias, Gaussian, Identity, Initializer, Orthogonal


class Sizes(NamedTuple):
    """What a cell may have to know to be built; `length` is that of the sequences, in steps."""

    input: int
    hidden: int
    length: int


class Configuration(NamedTuple):
    """A name for the command line and the data, a label for the figure, and how to build the cell."""

    name: str
    label: str
    build: Callable[[Sizes], Cell]


def _irnn(sizes: Sizes) -> Cell:
    return cells.Elman(sizes.hidden, "relu", Gaussian(0.001 * sizes.input**0.5), Identity())


def _lstm(bias_init: Callable[[Sizes], BiasInitializer]) -> Callable[[Sizes], Cell]:
    return lambda sizes: cells.LSTM(sizes.hidden, bias_init=bias_init(sizes))


NAMED = (
    Configuration("IRNN", "IRNN", _irnn),
    Configuration("LSTM-forget-0", "LSTM, forget bias 0", _lstm(lambda sizes: ForgetBias(0.0))),
    Configuration("LSTM-forget-1", "LSTM, forget bias 1", _lstm(lambda sizes: ForgetBias(1.0))),
    Configuration("LSTM-chrono", "LSTM, chrono", _lstm(lambda sizes: Chrono(sizes.length))),
)

OWN = "own"  # a configuration's own initialisers
DEFAULT = ("Elman", "IRNN", "LSTM-forget-0", "LSTM-forget-1", "LSTM-chrono", "GRU", "MinGRU", "LRU")


def _exported(name: str, cell_type: type[Cell]) -> Configuration:
    """An exported cell with its own defaults; its sizes are set by the names of the fields that have none."""

    def build(sizes: Sizes) -> Cell:
        known = {"hidden_size": sizes.hidden, "outputs": sizes.hidden, "features": sizes.input}
        required = [f.name for f in dataclasses.fields(cell_type) if f.default is dataclasses.MISSING]  # pyright: ignore[reportArgumentType]
        return cell_type(**{field: known[field] for field in required})

    return Configuration(name, name, build)


def available() -> dict[str, Configuration]:
    """Every configuration by name: the exported cells with their defaults, and the named ones."""
    exported = {name: value for name, value in vars(cells).items() if isinstance(value, type)}
    return {name: _exported(name, cell) for name, cell in exported.items()} | {named.name: named for named in NAMED}


INITS: dict[str, Callable[[float, Sizes], dict[str, Initializer | BiasInitializer]]] = {
    "orthogonal": lambda radius, sizes: {"recurrent_init": Orthogonal(radius)},
    "gaussian": lambda sigma_w, sizes: {"recurrent_init": Gaussian(sigma_w)},
    "identity": lambda scale, sizes: {"recurrent_init": Identity(scale)},
    "forget": lambda bias, sizes: {"bias_init": ForgetBias(bias)},
    "chrono": lambda part, sizes: {"bias_init": Chrono(max(2, round(part * sizes.length)))},
}


def _initialised(base: Configuration, init: str) -> Configuration | None:
    """A configuration with another initialiser, NAME or NAME:NUMBER; None where the cell has no place for it."""
    if init == OWN:
        return base
    kind, _, number = init.partition(":")
    try:
        make, value = INITS[kind], float(number or 1)
    except (KeyError, ValueError):
        raise ValueError(f"--inits: unknown {init}. Choose {OWN}, or NAME:NUMBER with {', '.join(INITS)}.") from None
    if not math.isfinite(value) or kind == "chrono" and value <= 0:
        least = " above 0" if kind == "chrono" else ""
        raise ValueError(f"--inits: the number must be finite{least}, got {init}. Give one such as {kind}:1.")

    def build(sizes: Sizes) -> Cell:
        return dataclasses.replace(base.build(sizes), **make(value, sizes))  # pyright: ignore[reportArgumentType]

    example = base.build(Sizes(2, 2, 2))
    fields = {field.name for field in dataclasses.fields(example)}  # pyright: ignore[reportArgumentType]
    needs_gate = "bias_init" in make(value, Sizes(2, 2, 2))
    if not fields >= make(value, Sizes(2, 2, 2)).keys() or needs_gate and getattr(example, "keep_gate", None) is None:
        return None
    return Configuration(f"{base.name}-{init}", f"{base.label}, {init.replace(':', ' ')}", build)


def select(names: Sequence[str], inits: Sequence[str] = (OWN,)) -> list[Configuration]:
    """The configurations of these names with each of these initialisers that the cell has a place for.

    Raises:
        ValueError: a name or an initialiser is not known, there is none, or no cell has a place for an initialiser.
    """
    known = available()
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        got = ", ".join(unknown) or "nothing"
        raise ValueError(f"--cells: unknown {got}. Choose from {', '.join(sorted(known))}.")
    if not inits:
        raise ValueError(f"--inits: got nothing. Choose {OWN}, or NAME:NUMBER with {', '.join(INITS)}.")
    found: dict[str, Configuration] = {}
    for init in inits:
        fitting = [c for c in (_initialised(known[name], init) for name in names) if c is not None]
        if not fitting:
            raise ValueError(f"--inits: {init} fits none of {', '.join(names)}. Add a cell that takes it.")
        found |= {c.name: c for c in fitting}
    return list(found.values())


def _dynamics(cell: Cell) -> tuple:
    """What a cell computes, whatever its parameters start from: its type and fields without the initialisers."""
    fields = [(f.name, getattr(cell, f.name)) for f in dataclasses.fields(cell)]  # pyright: ignore[reportArgumentType]
    return type(cell), *(item for item in fields if not isinstance(item[1], Initializer | BiasInitializer))


def by_dynamics(configurations: Sequence[Configuration], sizes: Sizes) -> list[list[Configuration]]:
    """Groups that differ in initialisers alone, so that one compiled call serves each."""
    groups: dict[tuple, list[Configuration]] = {}
    for configuration in configurations:
        groups.setdefault(_dynamics(configuration.build(sizes)), []).append(configuration)
    return list(groups.values())
