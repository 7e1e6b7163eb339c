"""Toy projects: git and DVC repositories whose stages sleep, copy and fail."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Toy = Callable[..., Path]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Make a project of the given stages in an empty folder, and go there: `toy({"name": {"cmd": …}}, seed="text")`."""

    def make(stages: dict[str, dict], **files: str) -> Path:
        root = tmp_path / "project"
        root.mkdir()
        for command in ("git init -q", "dvc init -q", "dvc config core.analytics false"):
            subprocess.run(command.split(), cwd=root, check=True)
        for name, text in files.items():
            (root / name).write_text(text)
        # JSON is YAML too.
        (root / "dvc.yaml").write_text(json.dumps({"stages": stages}))
        monkeypatch.chdir(root)
        return root

    for name in ("STILLHOUSE_TRACKING", "MLFLOW_TRACKING_URI", "STILLHOUSE_RECIPE", "STILLHOUSE_PARENT_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return make
