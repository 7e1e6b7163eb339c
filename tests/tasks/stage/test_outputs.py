import os
import re
import subprocess
import sys

import pytest

from stillhouse.errors import InputError
from tasks.stage.outputs import fresh_dir, fresh_file


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    (out / "old").touch()
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
