"""A registered model made again in a fresh folder: by stages that copy, and by a real recipe at the smallest size."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.promotion.decision import try_to_promote
from flows.registry.reproduction import reproduce
from flows.registry.versions import register
from flows.reproduce import main
from stillhouse.errors import InputError
from tasks.tracking.store import open_store

NAME = "stillhouse-docstrings"
COMMIT = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "all")


@pytest.mark.slow
def test_what_differs_is_said(
    recipe_project: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Stages that copy a folder of the test's own, which can change.
    mine = tmp_path / "made"
    shutil.copytree(made, mine)
    text = (recipe_project / "dvc.yaml").read_text()
    (recipe_project / "dvc.yaml").write_text(text.replace(str(made), str(mine)))
    (recipe_project / ".gitignore").write_text("/mlruns\n/reports\n")
    for command in (("git", "add", "-A"), COMMIT, ("dvc", "repro", "-q", "evaluate@hinton")):
        subprocess.run(command, check=True)
    register("hinton")
    client, _ = open_store()
    version = client.get_model_version(NAME, "1")

    assert reproduce(client, version, tmp_path / "same", ".") == []
    shown = capsys.readouterr().out
    assert "prepare: its data are pulled" in shown and f"commit {version.tags['git_commit']}" in shown
    assert (tmp_path / "same" / "dvc.lock").read_bytes() == (recipe_project / "dvc.lock").read_bytes()

    # Another teacher, other data (which no cache has any more), other libraries, and a commit that was dirty.
    weights = mine / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    shutil.copy(made / "report.md", mine / "task" / "more.md")
    shutil.rmtree(recipe_project / ".dvc" / "cache")
    for key, value in {"git_dirty": "true", "libraries": json.dumps({"torch": "1.0"}), "hardware": "an abacus"}.items():
        client.set_model_version_tag(NAME, "1", key, value)
    lines = reproduce(client, client.get_model_version(NAME, "1"), tmp_path / "other", ".")
    assert "prepare: is made again" in capsys.readouterr().out
    assert lines[0].startswith("models/hinton: sha256 ") and lines[0].endswith(" registered")
    assert lines[1].startswith("data hash of stage 'prepare', the first: data/task ")
    assert "the commit was dirty: tracked files differed from it" in lines
    assert any(line.startswith("torch 2") and line.endswith(" here, 1.0 there") for line in lines)
    assert lines[-1].startswith("hardware: ") and lines[-1].endswith(" here, an abacus there")

    with pytest.raises(InputError, match="it is there already"):
        reproduce(client, version, tmp_path / "same", ".")
    for tag, value, reason in (
        ("git_commit", "--upload-pack=touch x", r"its tag git_commit = '--upload-pack=touch x' is no commit"),
        ("git_commit", "0" * 40, f"commit {'0' * 40} is not in '.*: push it, or give --source"),
        ("recipe", "../../x", r"its tag recipe = '../../x' is no slug"),
    ):
        client.set_model_version_tag(NAME, "1", tag, value)
        with pytest.raises(InputError, match=reason):
            reproduce(client, client.get_model_version(NAME, "1"), tmp_path / "none", ".")
        assert not (tmp_path / "none").exists() and not (recipe_project / "x").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_finished_champion_of_a_real_recipe_has_the_same_hash_again(
    reproduced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = shutil.copytree(reproduced, tmp_path / "there", symlinks=True)
    monkeypatch.chdir(there)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    register("hinton", finished=True)
    # A teacher of some seconds is no better than chance, and rounding moves its students by as much as they say.
    text = Path("params.yaml").read_text()
    loose = text.replace("min_kept: 0.9 ", "min_kept: 0.01 ")
    loose = loose.replace("max_onnx_difference: 1.0e-3", "max_onnx_difference: 1.0")
    Path("params.yaml").write_text(loose)
    assert try_to_promote("hinton").promoted
    Path("params.yaml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["reproduce", f"models:/{NAME}@champion", "--to", str(tmp_path / "again")])
    main()
    shown = capsys.readouterr().out
    assert f"reproduced: {NAME} version 1, weights sha256 " in shown and "prepare: its data are pulled" in shown
    weights = [folder / "models/finished/hinton/model.safetensors" for folder in (there, tmp_path / "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert not weights[0].samefile(weights[1])
