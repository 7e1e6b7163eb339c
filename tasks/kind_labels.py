"""Classes and scores, as a kind of task: sentences, pairs, regression."""

from pathlib import Path

from transformers import AutoModelForSequenceClassification

from stillhouse.checkpoint import load_tokenizer
from stillhouse.classify import classify
from tasks.dataset import load_task
from tasks.kind import Kind, check_head
from tasks.params import EvaluateParams, load
from tasks.phases import Given, load_teacher
from tasks.task_loss import soft_and_hard


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
