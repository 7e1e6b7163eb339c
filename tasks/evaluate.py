"""Score and measure a model, a student beside its teacher.

    python -m tasks.evaluate teacher --data data/task --model models/teacher --onnx models/onnx/teacher --out …
    python -m tasks.evaluate hinton --data … --model … --onnx … --teacher reports/teacher --teacher-onnx … --out …

What kind of task it is, the checkpoint says: one of question answering is judged by the block `evaluate-qa`, all others
by `evaluate`. Writes metrics.json (the same each time), latency.json (times: never quite the same) and predictions.csv
(`dvc plots`). A student is held against the block `budget` too; that it is missed is written, and is no error.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stillhouse.answers.spans import is_question_answering
from stillhouse.errors import InputError
from tasks.evaluation.budget import against, sentence
from tasks.evaluation.costs import latency_figures, rounded, size_figures, write_json
from tasks.evaluation.judge_answers import judge_answers
from tasks.evaluation.judge_labels import judge_labels
from tasks.evaluation.judged import Judged
from tasks.stage import program
from tasks.stage.params import PARAMS, BudgetParams, EvaluateParams, EvaluateQaParams, TrainParams, WindowParams, load
from tasks.tracking.journal import stage_run


@dataclass(frozen=True)
class Kind:
    """How a kind of task is judged.

    Args:
        block: its block of params.yaml.
        params: what stands there.
        logged: all numbers that decide the result, by block.
        judge: scores the model of a checkpoint: (data, checkpoint, folder of the ONNX file).
    """

    block: str
    params: EvaluateParams | EvaluateQaParams
    logged: dict[str, Any]
    judge: Callable[[Path, Path, Path], Judged]


def main() -> None:
    args = arguments()
    kind = kind_of(args.model, args.params)
    params = kind.params
    budget = load("budget", BudgetParams, args.params) if args.teacher else None
    with stage_run(
        "evaluate", kind.logged | ({"budget": budget} if budget else {}), [args.data, args.model, args.onnx]
    ) as run:
        teacher = read_metrics(args.teacher, kind) if args.teacher else None
        judged = kind.judge(args.data, args.model, args.onnx)
        figures = {
            "recipe": args.recipe,
            "task_metric": params.metric,
            "value": judged.value,
            "kept": kept(judged.value, teacher["value"]) if teacher else 1.0,
            **size_figures(judged.model, args.model, params.tokens, judged.pair),
            **judged.onnx,
            "examples": judged.examples,
            "vocabulary": judged.vocabulary,
            "metrics": judged.scores,
        }
        if teacher and budget:
            sizes = figures["onnx_bytes"], teacher["onnx_bytes"]
            figures["budget"] = against(*sizes, figures["kept"], smaller_asked=budget.smaller, kept_asked=budget.kept)
        files = {"student": args.onnx} | ({"teacher": args.teacher_onnx} if args.teacher_onnx else {})
        # Teacher and student are timed on the same token ids, so on those that both know.
        vocabulary = min(judged.vocabulary, teacher["vocabulary"]) if teacher else judged.vocabulary
        times = latency_figures(files, params, vocabulary, judged.pair)
        args.out.mkdir(parents=True, exist_ok=True)
        predictions = judged.write(args.out)
        write_json(args.out / "metrics.json", rounded(figures))
        write_json(args.out / "latency.json", times)
        print(summary_line(figures, times), flush=True)
        if budget:
            print(f"budget {sentence(figures['budget'])}", flush=True)
            run.log_metrics({"budget_met": float(figures["budget"]["met"])})
        run.log_metrics({name: number for name, number in figures.items() if isinstance(number, (int, float))})
        run.log_metrics(judged.scores)
        run.log_metrics({f"latency_p50_ms_batch_{size}": row["p50_ms"] for size, row in times["batches"].items()})
        for name in ("metrics.json", "latency.json", *predictions):
            run.log_artifact(args.out / name)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("recipe", help="slug of the recipe, teacher or teacher-qa")
    parser.add_argument("--data", type=Path, required=True, help="the task, or the questions")
    parser.add_argument("--model", type=Path, required=True, help="the checkpoint")
    parser.add_argument("--onnx", type=Path, required=True, help="folder of its model.onnx")
    parser.add_argument("--teacher", type=Path, help="the teacher's report: a student keeps a share of its score")
    parser.add_argument("--teacher-onnx", type=Path, help="folder of the teacher's model.onnx: timed in turns with it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--params", type=Path, default=PARAMS)
    args = parser.parse_args()
    if (args.teacher is None) != (args.teacher_onnx is None):
        raise InputError("--teacher and --teacher-onnx go together: give both, or neither for the teacher itself")
    return args


def kind_of(checkpoint: Path, file: Path) -> Kind:
    """How a checkpoint's kind of task is judged, with its numbers from params.yaml."""
    train = load("train", TrainParams, file)
    if is_question_answering(checkpoint):
        answers = load("evaluate-qa", EvaluateQaParams, file)
        windows = load("windows", WindowParams, file)
        judge = partial(judge_answers, params=answers, train=train, windows=windows)
        return Kind("evaluate-qa", answers, {"evaluate-qa": answers, "windows": windows}, judge)
    params = load("evaluate", EvaluateParams, file)
    logged = {"evaluate": params, "train": {"max_length": train.max_length}}
    return Kind("evaluate", params, logged, partial(judge_labels, params=params, train=train))


def read_metrics(folder: Path, kind: Kind) -> dict[str, Any]:
    """The teacher's metrics.json.

    Raises:
        InputError: it is missing, or of another metric.
    """
    file = folder / "metrics.json"
    if not file.is_file():
        raise InputError(f"'{file}' is missing: evaluate the teacher first (dvc repro evaluate-{folder.name})")
    try:
        figures = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"'{file}' is not JSON ({error}): evaluate the teacher again") from None
    if figures["task_metric"] != kind.params.metric:
        raise InputError(
            f"'{file}' is of {figures['task_metric']}, {kind.block}.metric = '{kind.params.metric}': "
            "evaluate the teacher again"
        )
    return figures


def kept(value: float, teacher: float) -> float:
    """The share of the teacher's score that is left; a teacher at or below 0 leaves nothing to keep."""
    return value / teacher if teacher > 0 else 0.0


def summary_line(figures: Mapping[str, Any], times: Mapping[str, Any]) -> str:
    """What the stage prints at its end."""
    size, row = next(iter(times["batches"].items()))
    return (
        f"{figures['recipe']}: {figures['task_metric']} {figures['value']:.4f} ({figures['kept']:.1%} of the teacher), "
        f"{figures['parameters'] / 1e6:.2f} M parameters, {figures['onnx_bytes'] / 1e6:.1f} MB, "
        f"p50 {row['p50_ms']:.2f} ms at batch {size} ({times['speedup'][size]:.2f}×)"
    )


if __name__ == "__main__":
    program.run(main)
