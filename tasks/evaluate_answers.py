"""The part of `tasks.evaluate` that knows question answering.

Beside predictions.csv (was there an answer, was one given) it writes answers.json and null_odds.json, which SQuAD 2.0's
official script reads, and n_best.json.
"""

from pathlib import Path

import numpy as np
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerBase

from stillhouse import latency
from stillhouse.checkpoint import load_model, load_tokenizer
from stillhouse.errors import InputError
from stillhouse.question_answering import OUTPUTS, span_logits_onnx
from stillhouse.runtime import open_session
from tasks.judged import Judged, write_pairs
from tasks.measuring import rounded, sample, write_json
from tasks.params import EvaluateQaParams, TrainParams, WindowParams
from tasks.qa_scoring import Answered, answer_all
from tasks.questions import QaData, load_questions


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
    return {"onnx_bytes": file.stat().st_size, "onnx_max_difference": max(differences)}


def write_answers(folder: Path, found: Answered, questions: QaData, threshold: float) -> list[str]:
    """Write what the model answers, by the questions' ids; give the files' names."""
    rows = questions.validation
    ids, contexts = rows["id"][:], rows["context"][:]
    answers = list(zip(ids, found.answers, contexts, strict=True))
    texts = {name: answer.text(context, threshold) for name, answer, context in answers}
    said = {False: "no answer", True: "answer"}
    pairs = [
        (said[bool(right["text"])], said[bool(texts[name])])
        for name, right in zip(ids, rows["answers"][:], strict=True)
    ]
    write_pairs(folder / "predictions.csv", pairs)
    write_json(folder / "answers.json", texts)
    write_json(folder / "null_odds.json", rounded({name: answer.null_odds for name, answer, _ in answers}))
    spans = {
        name: [{"text": context[each.start : each.end], "score": each.score} for each in answer.spans]
        for name, answer, context in answers
    }
    write_json(folder / "n_best.json", {name: [rounded(span) for span in best] for name, best in spans.items()})
    return ["predictions.csv", "answers.json", "null_odds.json", "n_best.json"]
