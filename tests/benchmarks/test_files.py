"""Files that are whole or not there, and the exit codes of every command."""

import os
from dataclasses import dataclass

import pytest

from benchmarks.command import Failed, command, prepare_folder
from jaxrnn import files


def contents(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_all_files_are_written_in_place_of_the_old_ones(tmp_path):
    for content in ("old", "new"):
        files.write_all(tmp_path, {"a.csv": files.text(content), "b.md": files.text(content + " ü")})
    assert contents(tmp_path) == {"a.csv": "new", "b.md": "new ü"}


@pytest.mark.parametrize("raised", [KeyboardInterrupt, OSError, ValueError])
def test_a_write_that_is_cut_off_leaves_every_old_file(tmp_path, raised):
    files.write_all(tmp_path, {"a.csv": files.text("old"), "b.md": files.text("old")})

    def half(beside):
        beside.write_text("ne", encoding="utf-8")
        raise raised

    with pytest.raises(raised):
        files.write_all(tmp_path, {"a.csv": files.text("new"), "b.md": half})
    assert contents(tmp_path) == {"a.csv": "old", "b.md": "old"}


def test_a_folder_in_the_place_of_a_file_leaves_every_old_file(tmp_path):
    (tmp_path / "b.md").mkdir()
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(IsADirectoryError, match="b.md is a folder"):
        files.write_all(tmp_path, {"a.csv": files.text("new"), "b.md": files.text("new")})
    assert (tmp_path / "a.csv").read_text() == "old" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["x" * 300, "file/deep"])
def test_a_folder_that_cannot_be_made_is_refused_and_leaves_nothing(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="--out: cannot write to .*Choose a folder"):
        prepare_folder(tmp_path / "new" / name if "x" in name else tmp_path / name)
    assert os.listdir(tmp_path) == ["file"]


@dataclass(frozen=True)
class Settings:
    """Settings of a command that does nothing."""

    size: int = 1
    """A number."""


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (None, 0, "Results: {folder}\n"),
        (Failed("differs"), 1, "error: differs\n"),
        (OSError(28, "No space left"), 2, "error: cannot write to {folder}: No space left. Free space or choose"),
        (FileNotFoundError(2, "No such file", "/data/text"), 2, "error: /data/text: No such file.\n"),
        (KeyboardInterrupt(), 130, "Interrupted. The same command goes on from what is finished in {folder}.\n"),
    ],
)
def test_every_end_has_its_code_and_one_line(raised, code, said, tmp_path, capsys):
    def run(settings, folder, messages):
        assert settings == Settings(3) and folder == tmp_path
        if raised is not None:
            raise raised

    assert command(Settings, lambda settings: (settings, tmp_path), run, ["--size", "3"]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith(said.format(folder=tmp_path))


def test_settings_that_cannot_be_used_are_told_before_anything_runs(capsys):
    def plan(settings):
        raise ValueError(f"--size: too large, got {settings.size}. Give a smaller one.")

    assert command(Settings, plan, lambda *_: pytest.fail("ran"), ["--size", "9"]) == 2
    assert capsys.readouterr().err == "error: --size: too large, got 9. Give a smaller one.\n"
