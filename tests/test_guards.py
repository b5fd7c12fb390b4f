"""What holds for the package as a whole: who imports whom, what is exported, what a bare import loads."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

import jaxrnn
from tests import oracles
from tests.examples import exported

ROOT = Path(jaxrnn.__file__).parent
MODULES = {
    ".".join(p.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): p for p in ROOT.rglob("*.py")
}

# The floors of the house, ground floor first. A file imports from lower floors only, and inside one floor from files
# named before it; a folder stands for all its files, which do not import one another, but for those named before it.
FLOORS = [
    ["typing", "errors", "numerics", "activations", "files"],
    ["initializers", "cell", "network"],
    ["cells"],
    [
        "backends.base",
        "backends.scan",
        "backends.sizes",
        "backends.shared",
        "backends.chunk",
        "backends.traced",
        "backends.plain",
        "backends.linear",
        "backends.meeting",
        "backends.in_chunks",
        "kernels.chips",
        "kernels.grid",
        "kernels.plan",
        "kernels.gated",
        "kernels.linear",
        "kernels.mosaic",
        "kernels.warpgroups",
        "kernels",
        "backends.rows",
        "backends.fused",
        "backends.fused_linear",
        "backends.cudnn",
        "backends.problem",
        "backends",
    ],
    ["validation", "unroll"],
    ["sequence", "stochastic", "debug"],
    ["gradients", "tasks", "data", "nn", "decoding"],
    ["train", "models"],
    ["interop"],
]
ORDER = [f"jaxrnn.{name}" for floor in FLOORS for name in floor]
FREE_WITHIN = {
    "jaxrnn.gradients",
    "jaxrnn.tasks",
    "jaxrnn.data",
    "jaxrnn.decoding",
    "jaxrnn.stochastic",
    "jaxrnn.train",
    "jaxrnn.models",
    "jaxrnn.interop",
}


def place(module: str) -> str:
    """The entry of ORDER that a module belongs to: the longest name that covers it."""
    covering = [name for name in ORDER if module == name or module.startswith(name + ".")]
    assert covering, f"{module} stands on no floor: name it in FLOORS"
    return max(covering, key=len)


def imports(module: str) -> list[tuple[str, ast.AST]]:
    """Modules of jaxrnn that a file imports, each with its node in the syntax tree."""
    found: list[tuple[str, ast.AST]] = []
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} line {node.lineno}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name if name in MODULES else str(node.module), node) for name in names]
    return [(name, node) for name, node in found if name.split(".")[0] == "jaxrnn"]


def is_package(module: str) -> bool:
    return MODULES[module].name == "__init__.py"


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"jaxrnn"}))
def test_a_file_imports_from_lower_floors_only(module):
    own = place(module)
    for target, node in imports(module):
        where = f"{module} line {getattr(node, 'lineno', '?')} imports {target}"
        assert target in MODULES, f"{where}, which is no module"
        if place(target) == own:
            inside = is_package(module) and target.startswith(module + ".")
            assert inside or own in FREE_WITHIN, f"{where} of its own folder"
        else:
            assert ORDER.index(place(target)) < ORDER.index(own), f"{where} from a higher floor"


def test_no_import_goes_round_in_a_circle():
    visited: dict[str, bool] = {}  # False while the files that a file imports are still being looked at

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert visited.get(module, True), " -> ".join((*path, module))
        if module not in visited:
            visited[module] = False
            for target, _ in imports(module):
                visit(target, (*path, module))
            visited[module] = True

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_import_inside_a_function(module):
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, f"{module} line {inner[0].lineno}"


def test_a_bare_import_is_light():
    code = "import sys, jaxrnn; print(*sorted({name.split('.')[0] for name in sys.modules}), *sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert "jax" in loaded and "jaxrnn.sequence" in loaded
    assert not loaded & {"flax", "orbax", "matplotlib", "sklearn", "grain", "pooch", "rich", "tyro"}
    high = {name for name in MODULES if name != "jaxrnn" and ORDER.index(place(name)) > ORDER.index("jaxrnn.sequence")}
    assert not loaded & high


@pytest.mark.parametrize(
    "floor", ["data", "debug", "decoding", "gradients", "models", "nn", "stochastic", "tasks", "train"]
)
def test_higher_floors_load_on_first_access(floor):
    code = f"import sys, jaxrnn; jaxrnn.{floor}; assert 'jaxrnn.{floor}' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_cell_is_exported_and_has_an_oracle():
    written = {
        name
        for path in (ROOT / "cells").glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        for name in [node.name]
        if {"step", "init_carry"} <= set(dir(getattr(sys.modules[f"jaxrnn.cells.{path.stem}"], name)))
    }
    assert written == {cell.__name__ for cell in exported()} == set(oracles.STEPS)
    assert all(getattr(jaxrnn, name) is getattr(jaxrnn.cells, name) for name in written)


@pytest.mark.parametrize("cell", exported(), ids=lambda cell: cell.__name__)
def test_every_cell_says_its_equations_shapes_and_errors(cell):
    text = inspect.getdoc(cell)
    for part in ("' =" if "' =" in text else "_t =", "Shapes:", "Defaults:", "Raises:", "Example:"):
        assert part in text, f"the docstring of {cell.__name__} lacks {part!r}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_stay_small(module):
    assert len(MODULES[module].read_text().splitlines()) < 600


def test_shares_hold_every_test_once_and_differ_from_cell_to_cell(request):
    plugin = request.config.pluginmanager.get_plugin(str(ROOT.parent / "conftest.py"))

    class Item(NamedTuple):
        nodeid: str
        smoke: bool

        def get_closest_marker(self, name):
            return self.smoke or None

    def chosen(share, smokes):
        items = [Item(f"test_{test}[{cell}]", test == 19) for cell in range(19) for test in range(20)]
        asked = {"--share": share, "--smokes": smokes}
        hook = SimpleNamespace(pytest_deselected=lambda items: None)
        plugin.pytest_collection_modifyitems(SimpleNamespace(getoption=asked.get, hook=hook), items)
        return items

    everything = chosen(None, None)
    assert len(everything) == 19 * 20
    shares = [chosen((which, 5), None) for which in range(5)]
    for share in shares:
        cells = [sum(item.nodeid.startswith(f"test_{test}[") for item in share) for test in range(19)]
        assert max(cells) < 12 and cells.count(0) <= 2
    for smoke, parts in ((False, shares), (True, [chosen(None, (which, 3)) for which in range(3)])):
        found = sorted(item for part in parts for item in part if item.smoke == smoke)
        assert found == sorted(item for item in everything if item.smoke == smoke)
