"""A source that params.yaml names is never what a stage writes: DVC would clear it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.outside import SOURCES, refuse_outputs, stage_outputs
from tasks.stage.params import read_yaml
from tests.tasks.project import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def with_source(clone: Path, key: str, value: str) -> dict:
    tree = read_yaml(clone / "params.yaml")
    *path, last = key.split(".")
    place = tree
    for part in path:
        place = place[part]
    place[last] = value
    return tree


@pytest.mark.parametrize("key", SOURCES)
@pytest.mark.parametrize("value", ["models/teacher", "models/teacher/kept", "models", "./data/../models/teacher/"])
def test_a_source_that_is_holds_or_lies_in_an_output_is_refused(clone, key, value):
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
    (clone / folder).mkdir(parents=True)
    (clone / folder / "mine").write_text("years of work")
    tree = with_source(clone, key, folder)
    with (clone / "params.yaml").open("w") as stream:
        YAML().dump(tree, stream)
    path = f"{Path(sys.executable).parent}:{program.environment()['PATH']}"
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
