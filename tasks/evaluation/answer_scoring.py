"""The validation score of a question-answering model, and the answers behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.answers.spans import Answer, find_answers, span_logits
from stillhouse.errors import InputError
from tasks.data.questions import check_length, windows_to_answer
from tasks.evaluation import squad_metrics
from tasks.stage.params import EvaluateQaParams, WindowParams


@dataclass(frozen=True)
class Answered:
    """What a model makes of some questions."""

    windows: Dataset
    logits: list[np.ndarray]  # (2, L) of each window
    answers: list[Answer]  # of each question
    scores: dict[str, float]


def answer_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Dataset,
    windows: WindowParams,
    params: EvaluateQaParams,
    batch_size: int,
) -> Answered:
    """Answer and score questions; the model stays in its mode and on its device.

    Raises:
        InputError: a window is longer than the model takes, or the model gives a value that is not a number.
    """
    check_length(model, windows)
    cut = windows_to_answer(questions, tokenizer, windows)
    logits = span_logits(model, cut, tokenizer, batch_size=batch_size)
    bad = sum(not np.isfinite(each).all() for each in logits)
    if bad:
        raise InputError(f"{bad} of {len(logits)} predictions are not numbers")
    columns: Mapping[str, Sequence[Any]] = {name: cut[name][:] for name in ("example", "starts", "ends")}
    answers = find_answers(
        columns, logits, len(questions), n_best=params.n_best, max_answer_length=params.max_answer_length
    )
    return Answered(cut, logits, answers, score(questions, answers, params.null_threshold))


def score(questions: Dataset, answers: Sequence[Answer], threshold: float) -> dict[str, float]:
    """SQuAD 2.0's metrics of these answers: see `tasks.evaluation.squad_metrics`."""
    contexts = questions["context"][:]
    pairs = list(zip(answers, contexts, strict=True))
    return squad_metrics.compute(
        [right["text"] for right in questions["answers"][:]],
        [answer.text(context, threshold) for answer, context in pairs],
        [answer.best(context) for answer, context in pairs],
        [answer.null_odds for answer in answers],
    )
