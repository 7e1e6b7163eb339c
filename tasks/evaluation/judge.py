"""Which code and which block of params.yaml judge a checkpoint: its kind of task decides."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stillhouse.answers.spans import is_question_answering
from tasks.evaluation.judge_answers import judge_answers
from tasks.evaluation.judge_labels import judge_labels
from tasks.evaluation.judged import Judged
from tasks.stage.params import EvaluateParams, EvaluateQaParams, TrainParams, WindowParams, load


@dataclass(frozen=True)
class Judge:
    """How a kind of task is judged.

    Args:
        block: its block of params.yaml.
        params: what stands there.
        logged: all numbers that decide the result, by block.
        score: scores the model of a checkpoint: (data, checkpoint, folder of the ONNX file).
    """

    block: str
    params: EvaluateParams | EvaluateQaParams
    logged: dict[str, Any]
    score: Callable[[Path, Path, Path], Judged]


def judge_of(checkpoint: Path, file: Path) -> Judge:
    """How a checkpoint's kind of task is judged, with its numbers from params.yaml."""
    train = load("train", TrainParams, file)
    if is_question_answering(checkpoint):
        answers = load("evaluate-qa", EvaluateQaParams, file)
        windows = load("windows", WindowParams, file)
        score = partial(judge_answers, params=answers, train=train, windows=windows)
        return Judge("evaluate-qa", answers, {"evaluate-qa": answers, "windows": windows}, score)
    params = load("evaluate", EvaluateParams, file)
    logged = {"evaluate": params, "train": {"max_length": train.max_length}}
    return Judge("evaluate", params, logged, partial(judge_labels, params=params, train=train))
