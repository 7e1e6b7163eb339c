"""Score and measure a model, a student together with its teacher.

    python -m tasks.evaluate teacher --data data/task --model models/teacher --onnx models/onnx/teacher --out …
    python -m tasks.evaluate hinton --data … --model … --onnx … --teacher reports/teacher --teacher-onnx … --out …

What kind of task it is, the checkpoint says: one of question answering is judged by the block `evaluate-qa`, all others
by `evaluate`. Writes metrics.json (the same each time), latency.json (times: never quite the same) and predictions.csv
(`dvc plots`). A student is held against the block `budget` too; that it is missed is written, and is no error.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.evaluation.budget import against, sentence
from tasks.evaluation.costs import latency_figures, rounded, size_figures
from tasks.evaluation.judge import Judge, judge_of
from tasks.evaluation.judged import Judged
from tasks.stage import program
from tasks.stage.json_files import read_json, write_json
from tasks.stage.params import PARAMS, BudgetParams, EvaluateParams, EvaluateQaParams, load
from tasks.tracking.journal import StageRun, stage_run


def main() -> None:
    args = arguments()
    judge = judge_of(args.model, args.params)
    budget = load("budget", BudgetParams, args.params) if args.teacher else None
    logged = judge.logged | ({"budget": budget} if budget else {})
    with stage_run("evaluate", logged, [args.data, args.model, args.onnx]) as run:
        teacher = read_metrics(args.teacher, judge) if args.teacher else None
        judged = judge.score(args.data, args.model, args.onnx)
        figures = all_figures(args.recipe, judge.params, judged, args.model, teacher)
        if teacher and budget:
            figures["budget"] = held_against(budget, figures, teacher)
        times = all_times(args.onnx, args.teacher_onnx, judge.params, judged, teacher)
        files = write(judged, figures, times, args.out)
        print("\n".join(summary(figures, times)), flush=True)
        log(run, figures, times, files)


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


def read_metrics(folder: Path, judge: Judge) -> dict[str, Any]:
    """The teacher's metrics.json.

    Raises:
        InputError: it is missing, damaged, or of another metric.
    """
    file = folder / "metrics.json"
    figures = read_json(file, f"evaluate the teacher first (dvc repro evaluate-{folder.name})")
    if figures["task_metric"] != judge.params.metric:
        raise InputError(
            f"'{file}' is of {figures['task_metric']}, {judge.block}.metric = '{judge.params.metric}': "
            "evaluate the teacher again"
        )
    return figures


def all_figures(
    recipe: str,
    params: EvaluateParams | EvaluateQaParams,
    judged: Judged,
    checkpoint: Path,
    teacher: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What metrics.json says of a model: its score, its size and its cost.

    Args:
        recipe: its slug.
        params: of its kind of task.
        judged: what its kind of task says of it.
        checkpoint: its folder.
        teacher: the teacher's metrics.json; None for the teacher itself.
    """
    return {
        "recipe": recipe,
        "task_metric": params.metric,
        "value": judged.value,
        "kept": kept(judged.value, teacher["value"]) if teacher else 1.0,
        **size_figures(judged.model, checkpoint, params.tokens, judged.pair),
        **judged.onnx,
        "examples": judged.examples,
        "vocabulary": judged.vocabulary,
        "metrics": judged.scores,
    }


def kept(value: float, teacher: float) -> float:
    """The share of the teacher's score that is left; a teacher at or below 0 leaves nothing to keep."""
    return value / teacher if teacher > 0 else 0.0


def held_against(budget: BudgetParams, figures: Mapping[str, Any], teacher: Mapping[str, Any]) -> dict[str, Any]:
    """What the budget asks of a student, and whether it is met."""
    sizes = figures["onnx_bytes"], teacher["onnx_bytes"]
    return against(*sizes, figures["kept"], smaller_asked=budget.smaller, kept_asked=budget.kept)


def all_times(
    onnx: Path,
    teacher_onnx: Path | None,
    params: EvaluateParams | EvaluateQaParams,
    judged: Judged,
    teacher: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What latency.json says of a model, timed in turns with its teacher if it has one.

    Args:
        onnx: folder of its model.onnx.
        teacher_onnx: folder of the teacher's.
        params: of its kind of task.
        judged: what its kind of task says of it.
        teacher: the teacher's metrics.json.
    """
    folders = {"student": onnx} | ({"teacher": teacher_onnx} if teacher_onnx else {})
    # Teacher and student are timed on the same token ids, so on those that both know.
    vocabulary = min(judged.vocabulary, teacher["vocabulary"]) if teacher else judged.vocabulary
    return latency_figures(folders, params, vocabulary, judged.pair)


def write(judged: Judged, figures: Mapping[str, Any], times: Mapping[str, Any], out: Path) -> list[Path]:
    """Write metrics.json, latency.json and the predictions into `out`; give what was written."""
    out.mkdir(parents=True, exist_ok=True)
    predictions = judged.write(out)
    write_json(out / "metrics.json", rounded(figures))
    write_json(out / "latency.json", times)
    return [out / name for name in ("metrics.json", "latency.json", *predictions)]


def summary(figures: Mapping[str, Any], times: Mapping[str, Any]) -> list[str]:
    """What the stage prints at its end: a line of the model, and one of the budget if it was held against one."""
    size, row = next(iter(times["batches"].items()))
    line = (
        f"{figures['recipe']}: {figures['task_metric']} {figures['value']:.4f} ({figures['kept']:.1%} of the teacher), "
        f"{figures['parameters'] / 1e6:.2f} M parameters, {figures['onnx_bytes'] / 1e6:.1f} MB, "
        f"p50 {row['p50_ms']:.2f} ms at batch {size} ({times['speedup'][size]:.2f}×)"
    )
    return [line, f"budget {sentence(figures['budget'])}"] if "budget" in figures else [line]


def log(run: StageRun, figures: Mapping[str, Any], times: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Log the numbers and the files."""
    if "budget" in figures:
        run.log_metrics({"budget_met": float(figures["budget"]["met"])})
    run.log_metrics({name: number for name, number in figures.items() if isinstance(number, (int, float))})
    run.log_metrics(figures["metrics"])
    run.log_metrics({f"latency_p50_ms_batch_{size}": row["p50_ms"] for size, row in times["batches"].items()})
    for file in files:
        run.log_artifact(file)


if __name__ == "__main__":
    program.run(main)
