"""Classes and scores, as a kind of task: sentences, pairs, regression."""

from pathlib import Path

from transformers import AutoModelForSequenceClassification

from stillhouse.encoders.checkpoint import load_tokenizer
from stillhouse.training.classify import classify
from tasks.data.dataset import load_task
from tasks.kinds.contract import Kind, check_head
from tasks.phases.run import Given, load_teacher
from tasks.phases.task_loss import soft_and_hard
from tasks.stage.params import EvaluateParams, load


def labels(file: Path) -> Kind:
    """The kind, with its numbers from `file`, a params.yaml."""
    tokens = load("evaluate", EvaluateParams, file).tokens
    return Kind(
        {"evaluate": {"tokens": tokens}},
        tokens,
        AutoModelForSequenceClassification,
        load_labels,
        classify,
        soft_and_hard,
    )


def load_labels(data: Path, teacher: Path) -> Given:
    """A task and its teacher.

    Raises:
        InputError: one of them is of another kind.
    """
    task = load_task(data)
    check_head(teacher, "ForSequenceClassification", "models/teacher")
    return Given(task.train, task, load_tokenizer(teacher), load_teacher(teacher, task), [teacher])
