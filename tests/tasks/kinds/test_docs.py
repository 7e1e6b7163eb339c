"""The kind of task that docs/extending.md adds by one file: recipes run on it, and none of them knows of it."""

import importlib.util
import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch

from stillhouse.encoders.checkpoint import load_tokenizer
from stillhouse.training.losses import soft_target_loss
from tasks import finetune, structured, task_phase
from tasks.kinds.find import load_task
from tasks.kinds.judging import Scorer
from tests import tiny
from tests.tasks import project
from tests.tasks.project import ROOT, on_task, run


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose task is of the kind on the page."""
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    source = re.search(r"`tasks/kinds/levels.py`:\n\n```python\n(.*?)```", page, re.DOTALL)
    assert source, "the page has no such file"
    file = tmp_path / "levels.py"
    file.write_text(source[1], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("tasks.kinds.levels", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tasks.kinds.levels", module)
    spec.loader.exec_module(module)
    project.enter(tmp_path, monkeypatch)
    for split in ("train", "validation"):
        tiny.state_kind(tmp_path / f"data/task/{split}.parquet", "levels")
    project.params(tmp_path, **{"evaluate.metric": "accuracy"})
    params = json.loads(Path("params.yaml").read_text())
    params["kinds"]["levels"] = {}
    Path("params.yaml").write_text(json.dumps(params))
    run(finetune, "--data", "data/task", "--out", "models/teacher")
    return tmp_path


@pytest.mark.parametrize("recipe", ["hinton", "pkd", "structured"])
def test_recipes_run_on_a_kind_that_they_never_heard_of(clone, recipe):
    if recipe == "structured":
        run(*on_task(structured, recipe, "--phase", "gates", out="gates"))
        run(*on_task(structured, recipe, "--gates", "models/gates", out=recipe))
    else:
        run(*on_task(task_phase, recipe, out=recipe))
    task = load_task(Path("data/task"))
    assert task.kind.name == "levels" and task.kind.width == 1
    scorer = Scorer(task.kind, task.validation, load_tokenizer(Path("models") / recipe), "accuracy", 16)
    assert all(math.isfinite(score) for score in scorer(task.kind.load(Path("models") / recipe)))


def test_with_two_levels_its_soft_loss_is_that_of_two_classes(clone):
    kind = load_task(Path("data/task")).kind
    ours, theirs = torch.randn(5, 1), torch.randn(5, 1)

    def classes(logits: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(logits), logits], 1)

    batch = {"teacher_logits": theirs, "labels": torch.tensor([0, 1, 1, 0, 1])}
    outputs = type("Outputs", (), {"logits": ours})
    given = soft_target_loss(kind.predicted(outputs, batch), kind.taught(batch), 3.0)
    assert torch.allclose(given, soft_target_loss(classes(ours), classes(theirs), 3.0))
    assert kind.labels(batch).tolist() == [0, 1, 1, 0, 1]
