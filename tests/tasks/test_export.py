"""The export program, run as DVC runs it."""

import os
import subprocess
import sys

import pytest

from stillhouse.onnx.export import export_onnx
from tasks import export
from tests import tiny
from tests.tasks.project import refused


def run(*words: object, **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tasks.export", *map(str, words)]
    env = os.environ | {"STILLHOUSE_TRACKING": "off"} | env
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.mark.slow
def test_another_process_in_another_place_writes_the_same_bytes(tmp_path):
    model = tiny.bert()
    checkpoint = tiny.save(model, tmp_path / "checkpoint")
    done = run("--kind", "classes", "--model", checkpoint, "--out", tmp_path / "onnx", PYTHONHASHSEED="7")
    assert done.returncode == 0, done.stderr
    assert [file.name for file in (tmp_path / "onnx").iterdir()] == ["model.onnx"]
    assert "model.onnx: 0.1 MB, opset 18" in done.stdout
    export_onnx(model, tiny.tokenizer(), tmp_path / "here.onnx")
    assert (tmp_path / "onnx/model.onnx").read_bytes() == (tmp_path / "here.onnx").read_bytes()


def test_a_missing_checkpoint_is_one_line_exit_2_and_no_output(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    line = refused(capsys, export, "--kind", "classes", "--model", tmp_path / "nowhere", "--out", tmp_path / "onnx")
    assert "nowhere': no such checkpoint folder" in line
    assert not (tmp_path / "onnx").exists()
