"""Extractive question answering, as a kind of task: its rows are windows of a question and its context."""

from functools import partial
from pathlib import Path

from torch import nn
from transformers import AutoModelForQuestionAnswering

from stillhouse.answers.extract import extract
from stillhouse.answers.soft_spans import span_distillation_loss
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.step import Step
from tasks.data.questions import check_length, load_questions, windows_to_train
from tasks.kinds.contract import Kind, check_head
from tasks.phases.run import Given
from tasks.phases.span_targets import add_spans
from tasks.stage.params import EvaluateQaParams, WindowParams, load


def answers(file: Path) -> Kind:
    """The kind, with its numbers from `file`, a params.yaml."""
    windows = load("windows", WindowParams, file)
    tokens = load("evaluate-qa", EvaluateQaParams, file).tokens
    numbers = {"windows": windows, "evaluate-qa": {"tokens": tokens}}
    return Kind(numbers, tokens, AutoModelForQuestionAnswering, partial(load_answers, windows=windows), extract, distil)


def load_answers(data: Path, teacher: Path, windows: WindowParams) -> Given:
    """Questions and their teacher.

    Raises:
        InputError: one of them is of another kind, or a window is longer than the teacher takes.
    """
    questions = load_questions(data)
    check_head(teacher, "ForQuestionAnswering", "models/teacher-qa")
    tokenizer, model = load_tokenizer(teacher), load_model(teacher, AutoModelForQuestionAnswering)
    check_length(model, windows)
    return Given(
        questions.train,
        None,
        tokenizer,
        model,
        [teacher],
        encode=lambda rows, _: windows_to_train(rows, tokenizer, windows),
        teach=partial(add_spans, folder=teacher, tokenizer=tokenizer),
    )


def distil(alpha: float, temperature: float) -> Step:
    """The step of Hinton's loss on starts and ends: the teacher's logits, and the places of the answer."""

    def step(model: nn.Module, batch: Batch) -> dict:
        outputs = model(**model_inputs(batch))
        return span_distillation_loss(
            (outputs.start_logits, outputs.end_logits),
            (batch["teacher_start"], batch["teacher_end"]),
            (batch["start"], batch["end"]),
            batch["attention_mask"],
            alpha,
            temperature,
        )

    return step
