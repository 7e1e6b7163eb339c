"""Score and measure a model, a student together with its teacher.

    python -m tasks.evaluate teacher --data data/task --model models/teacher --onnx models/onnx/teacher --out …
    python -m tasks.evaluate hinton --data … --model … --onnx … --teacher reports/evaluated/teacher --teacher-onnx …
    python -m tasks.evaluate hinton --finished --data … (its student after its last links)

The score is of the task's test split, which no other stage reads, and of validation where it has none. Writes
metrics.json (the same each time), latency.json (times: never quite the same), predictions.csv (`dvc plots`) and the
folder details: rows.csv, what the gate's bootstrap reads of each row; validation.csv, the same of validation, where the
score is of test; served.json, what the model is served with; and what else its kind of task keeps. With `--exported` it
also writes the folder that leaves the project: see `tasks.exported.folder`. A student is held against the block
`budget` too; that it is missed is written, and is no error.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.evaluation.budget import against, sentence
from tasks.evaluation.costs import latency_figures, rounded, size_figures
from tasks.evaluation.forms import FINISHED, PLAIN, shown_name
from tasks.evaluation.predictions import write_pairs
from tasks.evaluation.reference import read_metrics
from tasks.evaluation.rows import FILE, VALIDATION, write_rows
from tasks.exported.folder import write_exported
from tasks.kinds.find import load_task
from tasks.kinds.judging import Judged, judge
from tasks.stage import program
from tasks.stage.json_files import write_json
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import PARAMS, BudgetParams, EvaluateParams, TrainParams, load
from tasks.tracking.journal import StageRun, stage_run


def main() -> None:
    args = arguments()
    params = load("evaluate", EvaluateParams, args.params)
    train = load("train", TrainParams, args.params)
    budget = load("budget", BudgetParams, args.params) if args.teacher else None
    task = load_task(args.data, args.params)
    kind = task.kind
    kind.check_metric(params.metric)
    logged = {"evaluate": params, "train": {"max_length": train.max_length}, "kinds": {kind.name: kind.numbers}}
    logged |= {"budget": budget} if budget else {}
    with stage_run("evaluate", logged, [args.data, args.model, args.onnx]) as run:
        teacher = read_metrics(args.teacher, params.metric) if args.teacher else None
        judged = judge(task, args.model, args.onnx, train.eval_batch_size)
        figures = all_figures(args.recipe, args.finished, params, judged, args.model, teacher)
        if teacher and budget:
            figures["budget"] = held_against(budget, figures, teacher)
        times = all_times(args.onnx, args.teacher_onnx, params, judged, teacher)
        files = write(judged, figures, times, args.out)
        if args.exported:
            write_exported(judged, rounded(figures), args.model, args.onnx, args.exported)
        print("\n".join(summary(figures, times)), flush=True)
        log(run, figures, times, files)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("recipe", help="slug of the recipe, or teacher")
    parser.add_argument("--finished", action="store_true", help="the recipe's student after its last links")
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--model", type=Path, required=True, help="the checkpoint")
    parser.add_argument("--onnx", type=Path, required=True, help="folder of its model.onnx")
    parser.add_argument("--teacher", type=Path, help="the teacher's report: a student keeps a share of its score")
    parser.add_argument("--teacher-onnx", type=Path, help="folder of the teacher's model.onnx: timed in turns with it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--exported", type=Path, help="folder that anyone can run, which is written too")
    parser.add_argument("--params", type=Path, default=PARAMS)
    args = parser.parse_args()
    if (args.teacher is None) != (args.teacher_onnx is None):
        raise InputError("--teacher and --teacher-onnx go together: give both, or neither for the teacher itself")
    return args


def all_figures(
    recipe: str,
    finished: bool,
    params: EvaluateParams,
    judged: Judged,
    checkpoint: Path,
    teacher: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What metrics.json says of a model: its score, its size and its cost.

    Args:
        recipe: its slug.
        finished: whether it is the student after its last links.
        judged: what its kind of task says of it.
        checkpoint: its folder.
        teacher: the teacher's metrics.json; None for the teacher itself.

    Raises:
        InputError: the teacher was scored on another split.
    """
    if teacher and teacher.get("split") != judged.split:
        raise InputError(
            f"the teacher's score is of {teacher.get('split')}, the student's of {judged.split}: "
            "evaluate the teacher again (dvc repro evaluate-teacher)"
        )
    value = judged.metrics[params.metric]
    figures: dict[str, Any] = {
        "recipe": recipe,
        "form": FINISHED if finished else PLAIN,
        "kind": judged.kind.name,
        "split": judged.split,
        "task_metric": params.metric,
        "value": value,
        "kept": kept(value, teacher["value"]) if teacher else 1.0,
        **size_figures(judged.model, checkpoint, params.tokens, judged.kind.pair),
        **judged.onnx,
        "examples": len(judged.examples.rows),
        "vocabulary": judged.vocabulary,
        "metrics": judged.metrics,
    }
    if judged.validation:
        metrics, rows = judged.validation
        examples = len(next(iter(rows.values())))
        figures["validation"] = {"value": metrics[params.metric], "examples": examples, "metrics": metrics}
    return figures


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
    params: EvaluateParams,
    judged: Judged,
    teacher: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What latency.json says of a model, timed in turns with its teacher if it has one.

    Args:
        onnx: folder of its model.onnx.
        teacher_onnx: folder of the teacher's.
        judged: what its kind of task says of it.
        teacher: the teacher's metrics.json.
    """
    folders = {"student": onnx} | ({"teacher": teacher_onnx} if teacher_onnx else {})
    # Teacher and student are timed on the same token ids, so on those that both know.
    vocabulary = min(judged.vocabulary, teacher["vocabulary"]) if teacher else judged.vocabulary
    return latency_figures(folders, params, vocabulary, judged.kind.pair)


def write(judged: Judged, figures: Mapping[str, Any], times: Mapping[str, Any], out: Path) -> list[Path]:
    """Write all files into `out`; give what was written."""
    out.mkdir(parents=True, exist_ok=True)
    kind, predictions, examples = judged.kind, judged.predictions, judged.examples
    write_pairs(out / "predictions.csv", kind.pairs(predictions, examples))
    with fresh_dir(out / "details") as details:
        write_rows(judged.rows, details / FILE)
        if judged.validation:
            write_rows(judged.validation[1], details / VALIDATION)
        write_json(details / "served.json", judged.served)
        kind.write_details(details, predictions, examples)
    write_json(out / "metrics.json", rounded(figures))
    write_json(out / "latency.json", times)
    return [out / name for name in ("metrics.json", "latency.json", "predictions.csv", "details")]


def summary(figures: Mapping[str, Any], times: Mapping[str, Any]) -> list[str]:
    """What the stage prints at its end: a line of the model, and one of the budget if it was held against one."""
    size, row = next(iter(times["batches"].items()))
    line = (
        f"{shown_name(figures)}: {figures['split']} {figures['task_metric']} {figures['value']:.4f} "
        f"({figures['kept']:.1%} of the teacher), "
        f"{figures['parameters'] / 1e6:.2f} M parameters, {figures['onnx_bytes'] / 1e6:.1f} MB, "
        f"p50 {row['p50_ms']:.2f} ms at batch {size} ({times['speedup'][size]:.2f}×)"
    )
    return [line, f"budget on {figures['split']} {sentence(figures['budget'])}"] if "budget" in figures else [line]


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
