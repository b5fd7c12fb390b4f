import os
from pathlib import Path

import pytest

from jaxrnn.data.files import FILES


@pytest.fixture(scope="session")
def directory():
    """The folder of the real files: never one into which a test would download."""
    path = Path(os.environ.get("JAXRNN_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        pytest.skip(f"the real data are not on this machine: {path} lacks {missing[0]}")
    return path
