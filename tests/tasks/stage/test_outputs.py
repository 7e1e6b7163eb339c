import os
import re
import shutil
import subprocess
import sys

import pytest

from stillhouse.errors import InputError
from tasks.stage.outputs import fresh_dir, fresh_file, own_files
from tasks.stage.workspace import cache_dir


@pytest.fixture(autouse=True)
def notes(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    out = tmp_path / "model"
    with fresh_dir(out) as folder:
        (folder / "old").touch()
    with fresh_dir(out) as folder:
        (folder / "new").touch()
        assert [p.name for p in out.iterdir()] == ["old"]
    assert [p.name for p in out.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_an_error_leaves_the_old_output_and_nothing_half_written(tmp_path):
    out = tmp_path / "table.csv"
    out.write_text("old")
    with pytest.raises(OSError, match="disk"), fresh_file(out) as file:
        file.write_text("ne")
        raise OSError("disk")
    assert out.read_text() == "old"
    with pytest.raises(OSError, match="disk"), fresh_dir(tmp_path / "model") as folder:
        (folder / "half").touch()
        raise OSError("disk")
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("own", ["notes.txt", "config.json", "deep/er/notes.txt"])
def test_a_folder_with_files_of_ones_own_is_left_as_it_is(tmp_path, own):
    out = tmp_path / "model"
    with fresh_dir(out) as folder:
        (folder / "config.json").write_text("{}")
        (folder / "deep").mkdir()
    (out / own).parent.mkdir(parents=True, exist_ok=True)
    (out / own).write_text("mine")
    with pytest.raises(InputError, match=re.escape(f"'{out / own}' was not written by this project")), fresh_dir(out):
        raise AssertionError("hours of work come after the look, not before it")
    assert (out / own).read_text() == "mine" and [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_file_that_came_while_a_folder_was_written_stays(tmp_path):
    out = tmp_path / "model"
    with pytest.raises(InputError, match="was not written by this project"), fresh_dir(out) as folder:
        (folder / "new").touch()
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    assert [p.name for p in out.iterdir()] == ["notes.txt"]


def test_a_folder_is_known_by_each_of_its_names_and_forgotten_when_it_is_gone(tmp_path, monkeypatch):
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to("place")
    with fresh_dir(tmp_path / "place" / "model") as folder:
        (folder / "new").touch()
    assert own_files(tmp_path / "link" / "model") == []
    shutil.rmtree(tmp_path / "place" / "model")
    monkeypatch.setattr("tasks.stage.outputs.FORGET", -1.0)
    with fresh_dir(tmp_path / "other"):
        pass
    assert len(list((cache_dir() / "written").iterdir())) == 1


def test_in_the_cache_nothing_is_ones_own():
    out = cache_dir() / "teachers" / "model"
    out.mkdir(parents=True)
    (out / "damaged").touch()
    with fresh_dir(out) as folder:
        (folder / "new").touch()
    assert [p.name for p in out.iterdir()] == ["new"]


def test_what_a_killed_run_left_is_cleared(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f".model.{gone.pid}.tmp").mkdir()
    with fresh_dir(tmp_path / "model") as folder:
        (folder / "new").touch()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_an_output_that_another_process_is_writing_is_refused(tmp_path):
    parent = os.getppid()
    (tmp_path / f".model.{parent}.tmp").mkdir()
    with (
        pytest.raises(InputError, match=re.escape(f"is being written by process {parent}")),
        fresh_dir(tmp_path / "model"),
    ):
        pass
