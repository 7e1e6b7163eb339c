"""The teacher of question answering: `python -m tasks.finetune_qa --data data/qa --out models/teacher-qa`.

Fine-tunes the model of the block `teacher-qa` on the windows of all questions, scores it, and refuses one below the
floor.
"""

import argparse
from pathlib import Path

import torch
from pydantic import Field
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from stillhouse.answers.extract import extract
from stillhouse.encoders.checkpoint import load_model, load_tokenizer, save_model
from stillhouse.errors import InputError
from tasks.data.questions import check_length, load_questions, windows_to_train
from tasks.evaluation.answer_scoring import answer_all
from tasks.phases.plan import Plan, run_phase
from tasks.phases.teacher import teacher_source
from tasks.stage import launch
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import PARAMS, Block, EvaluateQaParams, Phase, TrainParams, WindowParams, load
from tasks.stage.workspace import clear, workspace
from tasks.tracking.journal import stage_run


class TeacherQaParams(Block):
    """`teacher-qa` in params.yaml."""

    model: str = Field(description="builtin, a hub id, or a folder")
    phase: Phase | None = Field(description="Fine-tuning; null for a model that is already fine-tuned")
    floor: float = Field(ge=0, le=1, description="A teacher below this value of evaluate-qa.metric is refused")


def main() -> None:
    args = arguments()
    params = load("teacher-qa", TeacherQaParams, args.params)
    windows = load("windows", WindowParams, args.params)
    train = load("train", TrainParams, args.params)
    judged = load("evaluate-qa", EvaluateQaParams, args.params)
    blocks = {"teacher-qa": params, "windows": windows, "train": train, "evaluate-qa": judged}
    with stage_run("finetune_qa", blocks, [args.data]) as run:
        work = workspace("teacher-qa", [args.data], [params, windows, train])
        questions = load_questions(args.data)
        source = teacher_source(params.model)
        tokenizer = load_tokenizer(source)
        model = load_span_start(source, params.phase.seed if params.phase else None)
        check_length(model, windows)
        data = windows_to_train(questions.train, tokenizer, windows)
        print(f"{len(questions.train):,} questions in {len(data):,} windows", flush=True)
        result = run_phase(Plan(model, model, extract, params.phase), data, tokenizer, train, work, run)
        scores = answer_all(model, tokenizer, questions.validation, windows, judged, train.eval_batch_size).scores
        score = scores[judged.metric]
        print(f"{args.out.name}: validation {judged.metric} {score:.4f} (floor {params.floor})", flush=True)
        run.log_metrics(scores | ({"train_loss": result.loss} if result else {}))
        if score < params.floor:
            raise InputError(
                f"the teacher's {judged.metric} is {score:.4f}, below teacher-qa.floor = {params.floor}: "
                "train it longer, or lower the floor if that is as good as it gets"
            )
        with fresh_dir(args.out) as out:
            save_model(model, tokenizer, out)
        clear(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.finetune_qa", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the questions")
    parser.add_argument("--out", type=Path, required=True, help="where the teacher goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


def load_span_start(source: str | Path, seed: int | None) -> PreTrainedModel:
    """A model as fine-tuning finds it, with its own head for spans if it has one, else a new one.

    Args:
        source: what `teacher_source` gave.
        seed: of a new head; None: it must have its own, for it is not to be fine-tuned.

    Raises:
        InputError: it has none and is not to be fine-tuned.
    """
    torch.manual_seed(seed or 0)
    model = load_model(source, AutoModelForQuestionAnswering)
    saved_from = model.config.architectures or []
    if seed is None and not any(name.endswith("ForQuestionAnswering") for name in saved_from):
        raise InputError(
            f"teacher-qa.phase = null, but '{source}' is not fine-tuned to answer questions: give a phase, "
            "or a model that is"
        )
    return model


if __name__ == "__main__":
    launch.run(main)
