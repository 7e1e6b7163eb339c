"""A phase of a recipe, from what its program loaded to the checkpoint that it writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset
from scipy.special import softmax
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import same_vocabulary, save_model
from stillhouse.errors import InputError
from stillhouse.training.loop import FitResult
from tasks.data.dataset import tokenize
from tasks.kinds.contract import Kind, Predictions, Task, Teachers
from tasks.phases.logit_targets import cached_logits, combined, with_logits
from tasks.phases.plan import Plan, run_phase
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import TrainParams
from tasks.tracking.journal import StageRun

# What a recipe's `untrained(params.yaml, given, tokens)` gives: its last checkpoint's shape, before anything is learnt.
Untrained = tuple[PreTrainedModel, PreTrainedTokenizerBase]


@dataclass(frozen=True)
class Given:
    """What a phase of a recipe works from, loaded by its program.

    Args:
        rows: the text to train on, not tokenized: of the task, augmented, or of the corpus.
        task: its splits and kind; None on the corpus.
        tokenizer: the teacher's.
        teacher: the fine-tuned teacher, or the model before fine-tuning; the last one where there are several.
        teachers: the checkpoint folders that the teacher's logits come from, in order.
        student: of the phase before; None in a recipe's first phase.
        student_tokenizer: its own, which may be another than the teacher's.
    """

    rows: Dataset
    task: Task | None
    tokenizer: PreTrainedTokenizerBase
    teacher: PreTrainedModel
    teachers: Sequence[Path] = ()
    student: PreTrainedModel | None = None
    student_tokenizer: PreTrainedTokenizerBase | None = None

    @property
    def kind(self) -> Kind:
        """The task's; a phase on the corpus has none."""
        assert self.task is not None
        return self.task.kind


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
    if plan.encode:
        data = plan.encode(given.rows, train.max_length)
    elif given.task:
        data = given.kind.encode(given.rows, tokenizer)
    else:
        data = tokenize(given.rows, tokenizer, train.max_length)
    if plan.teacher_logits and plan.phase:
        data = add_logits(plan, given, data, train)
    if plan.keep and plan.phase:
        data = plan.keep(data)
    return run_phase(plan, data, tokenizer, train, work, run)


def add_logits(plan: Plan, given: Given, data: Dataset, train: TrainParams) -> Dataset:
    """The student's encoded rows with the column `teacher_logits`, which `kind.taught` reads."""
    kind = given.kind
    tokenizer = plan.tokenizer or given.tokenizer
    if tokenizer is given.tokenizer or same_vocabulary(tokenizer, given.tokenizer):
        read = Teachers(data, lambda predictions: predictions)
    else:
        read = kind.for_teacher(given.rows, tokenizer, given.tokenizer)

    def of(folder: Path) -> Predictions:
        # Not `given.teacher`: what a method has around it may have cut it.
        return cached_logits(read.encoded, kind, folder, given.tokenizer, train.eval_batch_size)

    stated = "probabilities" in given.rows.column_names
    if stated and plan.route:
        raise InputError(
            "the rows state probabilities, and this recipe learns from a teacher on its way: set "
            "data.columns.probabilities to null"
        )
    alone = stated and train.soft_labels == "instead"
    said = [] if alone else [read.aligned(of(folder)) for folder in given.teachers]
    if stated:
        said.append(kind.stated(given.rows))
    if plan.combine is None and len(given.teachers) != 1:
        raise InputError(
            f"{len(given.teachers)} teachers for a recipe that learns from one: give one checkpoint folder"
        )
    combine = plan.combine or (mean_of_softmaxes if len(said) > 1 else None)
    if combine is None:
        return with_logits(data, said[0])
    return with_logits(data, combined(said, lambda logits: kind.combined(logits, combine)))


def mean_of_softmaxes(logits: np.ndarray) -> np.ndarray:
    """(N, C) whose softmax is the mean of those of (K, N, C)."""
    shares = softmax(logits.astype(np.float64), axis=-1).mean(axis=0)
    return np.log(shares).astype(np.float32)


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
