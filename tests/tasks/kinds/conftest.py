"""A folder with a task of answers, at a tiny size."""

from pathlib import Path

import pytest

from tests import tiny
from tests.tasks import project

NUMBERS = {"max_length": 16, "overlap": 4, "question_length": 5}


def params(folder: Path, **changes: object) -> None:
    """params.yaml of answers; changes of the kind's own numbers by their names."""
    own = {f"kinds.answers.{name}": value for name, value in NUMBERS.items()}
    project.params(folder, **{**own, "evaluate.metric": "f1", "teacher.floor": 0.0, **changes})


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    tiny.write_questions(tmp_path / "data/task")
    params(tmp_path)
    tiny.save(tiny.bert(layers=2).bert, tmp_path / "start")
    tiny.save(tiny.answerer(layers=3, seed=3), tmp_path / "models/teacher")
    return tmp_path
