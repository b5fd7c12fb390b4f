import hashlib
import os
from pathlib import Path

import pytest

from jaxrnn.data.files import FILES, File


@pytest.fixture(scope="session")
def directory():
    """The folder of the real files: never one into which a test would download."""
    path = Path(os.environ.get("JAXRNN_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        pytest.skip(f"the real data are not on this machine: {path} lacks {missing[0]}")
    return path


@pytest.fixture
def pinned(tmp_path, monkeypatch):
    """Puts a small file in the place of one of a data set, under the content that `locate` is to expect."""

    def put(name, content):
        assert name in FILES
        monkeypatch.setitem(FILES, name, File(hashlib.sha256(content).hexdigest(), FILES[name].url))
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return tmp_path

    return put
