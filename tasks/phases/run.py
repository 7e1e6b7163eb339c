"""A phase of a recipe, from what its program loaded to the checkpoint that it writes."""

import importlib
import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import load_model, same_vocabulary, save_model
from stillhouse.encoders.labels import align_labels
from stillhouse.errors import InputError
from stillhouse.training.loop import FitResult
from tasks.data.dataset import TaskData, tokenize
from tasks.phases.logit_targets import cached_logits
from tasks.phases.moved import refuse_moved
from tasks.phases.plan import Plan, run_phase
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import TrainParams, load
from tasks.tracking.journal import StageRun

SLUG = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True)
class Given:
    """What a phase of a recipe works from, loaded by its program.

    Args:
        rows: the text to train on, not tokenized: of the task, augmented, or of the corpus.
        task: its labels and kind; None on the corpus.
        tokenizer: the teacher's.
        teacher: the fine-tuned teacher, or the model before fine-tuning; the last one where there are several.
        teachers: the checkpoint folders that the teacher's logits come from, in order.
        student: of the phase before; None in a recipe's first phase.
        student_tokenizer: its own, which may be another than the teacher's.
        encode: makes tokenized rows of `rows` and `train.max_length`; None: `tokenize`, of texts.
        teach: adds what the teacher says to tokenized rows; None: `add_logits`, (N, C).
    """

    rows: Dataset
    task: TaskData | None
    tokenizer: PreTrainedTokenizerBase
    teacher: PreTrainedModel
    teachers: Sequence[Path] = ()
    student: PreTrainedModel | None = None
    student_tokenizer: PreTrainedTokenizerBase | None = None
    encode: Callable[[Dataset, int], Dataset] | None = None
    teach: Callable[[Dataset, TrainParams], Dataset] | None = None


def load_phase(slug: str, phase: str, params: Path) -> tuple[Callable, Any]:
    """The function of `tasks/recipes/SLUG.py` that plans a phase, and that phase's block of params.yaml.

    Raises:
        InputError: there is no such recipe or phase, or a fault in the block.
    """
    recipe = load_recipe(slug)
    fields = recipe.Params.model_fields
    if phase not in fields:
        raise InputError(f"recipe '{slug}' has no phase '{phase}': it has {', '.join(fields)}")
    refuse_moved(slug, recipe.Params, params)
    return getattr(recipe, phase), load(f"{slug}.{phase}", fields[phase].annotation, params)


def load_recipe(slug: str) -> ModuleType:
    """A recipe's module, `tasks/recipes/SLUG.py`.

    Raises:
        InputError: there is no such recipe.
    """
    name = f"tasks.recipes.{slug.replace('-', '_')}"
    # A dot in it would be a module of another place.
    if not SLUG.fullmatch(slug) or importlib.util.find_spec(name) is None:
        raise InputError(f"recipe '{slug}' has no file tasks/recipes/{slug.replace('-', '_')}.py: check its spelling")
    return importlib.import_module(name)


def train_student(plan: Plan, given: Given, train: TrainParams, work: Path, run: StageRun, folder: Path) -> None:
    """Run one phase from text to the checkpoint in `folder`.

    Raises:
        InputError: as `train_plan`.
    """
    result = train_plan(plan, given, train, work, run)
    with fresh_dir(folder) as out:
        save_model(plan.finish(plan.student) if plan.finish else plan.student, plan.tokenizer or given.tokenizer, out)
        if plan.extras:
            plan.extras(out)
    if result:
        run.log_metrics({"train_loss": result.loss, "train_samples_per_second": result.samples_per_second})


def train_plan(plan: Plan, given: Given, train: TrainParams, work: Path, run: StageRun) -> FitResult | None:
    """Run one phase from text to trained weights; None if it is switched off.

    Raises:
        InputError: student and teacher read different token ids, and the plan has no tokenizer of the student's own.
    """
    if plan.tokenizer is None and given.student_tokenizer is not None:
        check_vocabulary(given.student_tokenizer, given.tokenizer)
    tokenizer = plan.tokenizer or given.tokenizer
    make = plan.encode or given.encode or (lambda rows, max_length: tokenize(rows, tokenizer, max_length))
    data = make(given.rows, train.max_length)
    if plan.teacher_logits and plan.phase:
        teach = given.teach or partial(add_logits, plan, given)
        data = teach(data, train)
    if plan.keep and plan.phase:
        data = plan.keep(data)
    return run_phase(plan, data, tokenizer, train, work, run)


def add_logits(plan: Plan, given: Given, data: Dataset, train: TrainParams) -> Dataset:
    """The student's tokenized rows with the column `teacher_logits`."""
    same = plan.encode is None and (plan.tokenizer or given.tokenizer) is given.tokenizer
    theirs = data if same else tokenize(given.rows, given.tokenizer, train.max_length)
    column = (plan.combine or _the_only_one)(teacher_logits(given, theirs, train.eval_batch_size))
    # Arrow takes rows of one dimension as they are; of more, as lists.
    return data.add_column("teacher_logits", list(column) if column.ndim == 2 else column.tolist())


def teacher_logits(given: Given, data: Dataset, batch_size: int) -> np.ndarray:
    """The logits of each teacher for each row, (K, N, C): computed once, then read from the cache.

    Args:
        data: the rows, tokenized for the teacher.
    """

    def of(folder: Path) -> np.ndarray:
        # Not `given.teacher`: what a method has around it may have cut it.
        return cached_logits(data, lambda: load_teacher(folder, given.task), folder, given.tokenizer, batch_size)

    return np.stack([of(folder) for folder in given.teachers])


def load_teacher(folder: str | Path, task: TaskData | None) -> PreTrainedModel:
    """A fine-tuned checkpoint with the task's number of outputs, in the task's order of labels."""
    model = load_model(folder, AutoModelForSequenceClassification)
    return model if task is None or task.regression else align_labels(model, task.labels)


def _the_only_one(logits: np.ndarray) -> np.ndarray:
    if len(logits) != 1:
        raise InputError(f"{len(logits)} teachers for a recipe that learns from one: give one checkpoint folder")
    return logits[0]


def check_vocabulary(ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase) -> None:
    """Student and teacher must read the same token ids.

    Raises:
        InputError: they do not.
    """
    if not same_vocabulary(ours, theirs):
        raise InputError(
            f"'{ours.name_or_path}' and '{theirs.name_or_path}' have different tokenizers: "
            "start the student from this teacher"
        )
