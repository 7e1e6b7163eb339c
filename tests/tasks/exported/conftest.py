"""Evaluated tiny models, and the folders that `evaluate` exports of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from stillhouse.encoders.labels import set_labels
from stillhouse.onnx.export import export_onnx
from tasks import evaluate
from tasks.kinds.find import kind_class
from tests import tiny
from tests.tasks import project
from tests.tasks.exported.readme import FOLDER

METRICS = {"multi-label": "micro_f1", "scores": "spearman", "tokens": "micro_f1", "answers": "f1"}
Exported = Callable[..., Path]


def flipped() -> PreTrainedModel:
    """A classifier whose labels are in another order than the data's."""
    model = tiny.bert(seed=1)
    set_labels(model, ("good", "bad"))
    return model


# What each case is: the task, and the model.
CASES: dict[str, tuple[dict[str, Any], Callable[[], PreTrainedModel]]] = {
    "classes": ({}, lambda: tiny.bert(seed=1)),
    "pairs": ({"pair": True}, lambda: tiny.bert(seed=1)),
    "labels in another order": ({}, flipped),
    "multi-label": ({"several": True}, lambda: tiny.several_labels(seed=3)),
    "scores": ({"regression": True, "pair": True}, lambda: tiny.bert(labels=(), seed=1)),
    "tokens": ({"tags": True}, lambda: tiny.tagger(seed=3)),
    "answers": ({"answers": True}, lambda: tiny.answerer(seed=3)),
}


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """Evaluate the model of a case in an empty project, and go there: `exported("pairs")`."""

    def make(case: str) -> Path:
        task, model = CASES[case]
        root = tmp_path / case.replace(" ", "-")
        root.mkdir()
        monkeypatch.chdir(root)
        monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
        project.params(root)
        project.write_task(root, **task)
        kind = json.loads((root / "params.yaml").read_text())["data"]["kind"]
        # So few tokens that some texts are cut, and thresholds that differ.
        own = {"train.max_length": 8, "kinds.multi-label.threshold": "each"}
        own |= {f"kinds.answers.{name}": number for name, number in ANSWERS.items()}
        project.params(root, **own, **{"evaluate.metric": METRICS.get(kind, "accuracy")})
        save(model(), kind)
        words = ("--data", "data/task", "--model", "models/tinybert", "--onnx", "models/onnx/tinybert")
        project.run(evaluate, "tinybert", *words, "--out", "reports/tinybert", "--exported", FOLDER)
        return root

    return make


ANSWERS = {"max_length": 16, "overlap": 4, "question_length": 5}


def save(model: PreTrainedModel, kind: str) -> None:
    """A checkpoint, and its graph."""
    folder = tiny.save(model, Path("models/tinybert"))
    assert folder.is_dir()
    file = Path("models/onnx/tinybert/model.onnx")
    file.parent.mkdir(parents=True)
    of = kind_class(kind)
    with torch.no_grad():
        export_onnx(model, tiny.tokenizer(), file, outputs=of.outputs, per_token=of.per_token)
