"""A source that params.yaml names is never what a stage writes: DVC would clear it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.outside import IN_A_FOLDER, SOURCES, refuse_outputs, stage_outputs
from tasks.stage.params import read_yaml
from tests.tasks.project import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def with_source(clone: Path, key: str, value: str) -> dict:
    return with_value(read_yaml(clone / "params.yaml"), key, value)


def with_value(tree: dict, key: str, value: str) -> dict:
    *path, last = key.split(".")
    place = tree
    for part in path:
        place = place[part]
    place[last] = value
    return tree


@pytest.mark.parametrize("key", SOURCES)
@pytest.mark.parametrize(
    ("value", "there"),
    [
        ("models/teacher", True),
        ("models/teacher/kept", False),
        ("models", True),
        ("./data/../models/teacher/", False),
    ],
)
def test_a_source_that_is_holds_or_lies_in_an_output_is_refused(clone, key, value, there):
    if there:
        (clone / "models/teacher/kept").mkdir(parents=True)
        (clone / "data").mkdir()
    with pytest.raises(InputError, match=rf"{key} = '.*' is, holds or lies in 'models/.*', which stage '.*' writes"):
        refuse_outputs(with_source(clone, key, value), clone)


def test_a_link_to_an_output_is_refused_and_a_folder_elsewhere_is_not(clone):
    (clone / "models/teacher").mkdir(parents=True)
    (clone / "link").symlink_to(clone / "models/teacher")
    (clone / "mine").mkdir()
    with pytest.raises(InputError, match=r"teacher\.model = 'link'"):
        refuse_outputs(with_source(clone, "teacher.model", "link"), clone)
    refuse_outputs(with_source(clone, "teacher.model", "mine"), clone)
    refuse_outputs(with_source(clone, "teacher.model", "models/some-hub-id"), clone)


@pytest.mark.parametrize("key", IN_A_FOLDER)
def test_a_file_is_looked_for_where_its_folder_says(clone, key):
    tree = with_source(clone, "data.files.folder", "raw")
    with pytest.raises(InputError, match=rf"{key} = '../data/task/mine' is, holds or lies in 'data/task'"):
        refuse_outputs(with_value(tree, key, "../data/task/mine"), clone)
    refuse_outputs(with_value(tree, key, "data/task/mine"), clone)  # raw/data/task/mine
    (clone / "raw").symlink_to(clone / "data/task")
    with pytest.raises(InputError, match=r"data\.files\.folder = 'raw'"):
        refuse_outputs(with_value(tree, key, "mine"), clone)


@pytest.mark.parametrize("value", ["a\0b", "~nobody-of-this-name/x", "round"])
def test_what_can_be_no_path_is_one_line(clone, value):
    (clone / "round").symlink_to("round")
    with pytest.raises(InputError, match=r"teacher\.model = '.*': no file or model has such a name") as error:
        refuse_outputs(with_source(clone, "teacher.model", value), clone)
    assert "\n" not in str(error.value)


def test_one_place_under_two_names_is_told_by_what_the_file_system_says(clone, monkeypatch):
    # As where letters of either case are one, or a folder is mounted twice.
    (clone / "models/teacher").mkdir(parents=True)
    (clone / "Models/Teacher").mkdir(parents=True)
    refuse_outputs(with_source(clone, "teacher.model", "Models/Teacher"), clone)
    real = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **how: real(Path(str(path).lower()), **how))
    with pytest.raises(InputError, match=r"'Models/Teacher/mine' is, holds or lies in 'models/teacher'"):
        refuse_outputs(with_source(clone, "teacher.model", "Models/Teacher/mine"), clone)


def test_every_output_of_every_stage_is_known_with_its_names_filled_in():
    params = read_yaml(ROOT / "params.yaml") | {"ensemble": {"one": {"seed": 1}}}
    found = {path for _, path in stage_outputs(read_yaml(ROOT / "dvc.yaml"), params)}
    assert {
        "code",
        "data/task",
        "models/onnx/pkd",
        "reports/evaluated/pkd/metrics.json",
        "models/ensemble/one",
    } <= found
    assert "reports/evaluated/pkd/details" in found
    assert not [path for path in found if "$" in path or "None" in path] and len(found) > 140


def test_dvc_clears_nothing_that_is_named_as_a_source(clone):
    key, folder = "teacher.model", "models/teacher"
    for name in ("stillhouse", "tasks"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for command in ("git init -q", "dvc init -q", "dvc config core.analytics false"):
        subprocess.run(command.split(), cwd=clone, check=True)
    tree = with_source(clone, key, folder)
    with (clone / "params.yaml").open("w") as stream:
        YAML().dump(tree, stream)
    path = f"{Path(sys.executable).parent}:{program.environment()['PATH']}"
    # Named first and put there afterwards, as one does whom the first run has told that it is missing.
    for there in (False, True):
        if there:
            (clone / folder).mkdir(parents=True)
            (clone / folder / "mine").write_text("years of work")
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "repro", "teacher"],
            cwd=clone,
            env=program.environment(PATH=path, PYTHONPATH=str(clone)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0 and f"error: {key} = '{folder}' is, holds or lies in" in done.stdout + done.stderr
    assert (clone / folder / "mine").read_text() == "years of work"
