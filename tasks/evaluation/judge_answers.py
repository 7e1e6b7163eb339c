"""The part of `tasks.evaluate` that knows question answering.

In addition to predictions.csv (was there an answer, was one given) it writes a folder `answers`: answers.json and
null_odds.json, which SQuAD 2.0's official script reads, and n_best.json.
"""

from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerBase

from stillhouse.answers.spans import OUTPUTS, Answer, span_logits_onnx
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.errors import InputError
from stillhouse.onnx import latency
from stillhouse.onnx.sessions import open_session
from tasks.data.questions import QaData, load_questions
from tasks.evaluation.answer_scoring import Answered, answer_all
from tasks.evaluation.costs import rounded, sample
from tasks.evaluation.judged import Judged, write_pairs
from tasks.stage.json_files import write_json
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import EvaluateQaParams, TrainParams, WindowParams


def judge_answers(
    data: Path, checkpoint: Path, onnx: Path, params: EvaluateQaParams, train: TrainParams, windows: WindowParams
) -> Judged:
    """Score an extractive model on the questions in `data`.

    Raises:
        InputError: model, ONNX file and data do not fit together.
    """
    questions = load_questions(data)
    tokenizer = load_tokenizer(checkpoint)
    model = load_model(checkpoint, AutoModelForQuestionAnswering)
    found = answer_all(model, tokenizer, questions.validation, windows, params, train.eval_batch_size)
    agreement = onnx_figures(onnx / "model.onnx", found, tokenizer, train.eval_batch_size)

    def write(folder: Path) -> list[str]:
        return write_answers(folder, found, questions, params.null_threshold)

    examples = len(questions.validation)
    return Judged(model, len(tokenizer), True, examples, found.scores, found.scores[params.metric], agreement, write)


def onnx_figures(file: Path, found: Answered, tokenizer: PreTrainedTokenizerBase, batch_size: int) -> dict[str, float]:
    """Size of the exported file, and how far its logits are from torch's, on windows spread over the split."""
    session = open_session(file, latency.usable_cores())
    outputs = [output.name for output in session.get_outputs()]
    if outputs != list(OUTPUTS):
        raise InputError(f"'{file}' has the outputs {outputs}, not {list(OUTPUTS)}: export it again")
    chosen = sample(len(found.windows))
    given = span_logits_onnx(session, found.windows.select(chosen), tokenizer, batch_size=batch_size)
    differences = [float(np.abs(ours - found.logits[i]).max()) for i, ours in zip(chosen, given, strict=True)]
    return {"onnx_bytes": file.stat().st_size, "onnx_max_difference": max(differences), "onnx_rounding": 0.0}


def write_answers(folder: Path, found: Answered, questions: QaData, threshold: float) -> list[str]:
    """Write what the model answers, by the questions' ids; give the names of what it wrote."""
    rows = questions.validation
    answers = list(zip(rows["id"][:], found.answers, rows["context"][:], strict=True))
    texts = {name: answer.text(context, threshold) for name, answer, context in answers}
    said = {False: "no answer", True: "answer"}
    there = [bool(right["text"]) for right in rows["answers"][:]]
    pairs = zip(there, texts.values(), strict=True)
    write_pairs(folder / "predictions.csv", ((said[actual], said[bool(text)]) for actual, text in pairs))
    with fresh_dir(folder / "answers") as out:
        write_json(out / "answers.json", texts)
        write_json(out / "null_odds.json", rounded({name: answer.null_odds for name, answer, _ in answers}))
        write_json(out / "n_best.json", {name: n_best(answer, context) for name, answer, context in answers})
    return ["predictions.csv", "answers"]


def n_best(answer: Answer, context: str) -> list[dict[str, Any]]:
    """The best spans of a question, with their scores."""
    return [{"text": context[span.start : span.end], "score": rounded(span.score)} for span in answer.spans]
