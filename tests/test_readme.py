"""The README says what is so: its Python blocks run, its tables hold every export, its links lead somewhere."""

import inspect
import os
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

import pytest

import jaxrnn
from jaxrnn import backends, cells

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


class Block(NamedTuple):
    line: int
    code: str
    skipped: str | None


def python_blocks(text: str) -> list[Block]:
    """Blocks fenced as python; a comment `<!-- not run: reason -->` right above one keeps it from running."""
    pattern = re.compile(r"(?:<!-- not run: (?P<reason>.+?) -->\n+)?^```python\n(?P<code>.*?)^```$", re.M | re.S)
    return [
        Block(text.count("\n", 0, match.start("code")) + 1, match["code"], match["reason"])
        for match in pattern.finditer(text)
    ]


BLOCKS = python_blocks(README)
RUN = [block for block in BLOCKS if block.skipped is None]


def run(code: str) -> subprocess.CompletedProcess:
    """Runs a block as a reader would: a fresh interpreter, JAX's own defaults but quick to compile; warnings fail."""
    command = [sys.executable, "-W", "error", "-c", code]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("block", RUN, ids=lambda block: f"line-{block.line}")
def test_block_runs(block):
    done = run(block.code)
    assert done.returncode == 0, f"README.md, line {block.line}:\n{done.stderr}"
    assert "nan" not in done.stdout.lower()


def test_enough_blocks_run_and_each_skip_has_a_reason():
    assert len(RUN) >= 2
    assert README.count("```python") == len(BLOCKS)
    assert README.count("<!-- not run") == len(BLOCKS) - len(RUN)


def test_blocks_are_found_and_failures_seen():
    text = "```python\na = 1\n```\n\n<!-- not run: needs a GPU -->\n```python\nb\n```\n```bash\nmake\n```\n"
    assert python_blocks(text) == [Block(2, "a = 1\n", None), Block(7, "b\n", "needs a GPU")]
    assert run("import warnings; warnings.warn('old')").returncode != 0


def rows(name: str) -> dict[str, list[str]]:
    """A table of the README by the name in its first column."""
    section = README.split(f"## {name}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| `(\w+).*?` \| (.*) \|$", section, re.M)
    return {key: rest.split(" | ") for key, rest in lines}


def exports(module, base: type) -> dict[str, type]:
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and not inspect.isabstract(value)
    }


def test_table_of_cells_holds_every_export_with_its_contract():
    def contract(cell: type) -> str:
        if issubclass(cell, jaxrnn.GatedCell):
            return "gated"
        return "linear" if issubclass(cell, jaxrnn.LinearCell) else "plain"

    expected = {name: contract(cell) for name, cell in exports(cells, jaxrnn.Cell).items()}
    assert {name: row[0] for name, row in rows("Cells").items()} == expected


def test_table_of_backends_holds_every_export():
    assert set(rows("Backends")) == set(exports(backends, backends.Backend))


def test_files_that_are_linked_exist():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    missing = [link for link in links if not (ROOT / link).exists()]
    assert links and not missing, f"README.md links to {missing}"
