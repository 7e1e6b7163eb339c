"""Score and measure a model, a student beside its teacher.

    python -m tasks.evaluate teacher --data data/task --model models/teacher --onnx models/onnx/teacher --out …
    python -m tasks.evaluate hinton --data … --model … --onnx … --teacher reports/teacher --teacher-onnx … --out …

Writes metrics.json (the same each time), latency.json (times: never quite the same) and predictions.csv (`dvc plots`).
"""

import argparse
import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

import stillhouse.models.modeling_bilstm
import stillhouse.models.modeling_compact  # noqa: F401 - what the model may be, so that DVC knows of it
from stillhouse import latency, measure
from stillhouse.checkpoint import load_model, load_tokenizer
from stillhouse.errors import InputError
from stillhouse.labels import label_order, model_labels
from stillhouse.predict import predict
from stillhouse.runtime import feed, open_session, predict_onnx
from tasks import program
from tasks.dataset import TaskData, load_task, tokenize
from tasks.metrics import compute, headline
from tasks.outputs import fresh_file
from tasks.params import PARAMS, EvaluateParams, TrainParams, load
from tasks.tracking import stage_run

COMPARED = 64  # sentences whose ONNX logits are compared with torch's
DIGITS = 6  # kept of floating-point results: beyond them, the order of a sum shows


def main() -> None:
    args = arguments()
    params = load("evaluate", EvaluateParams, args.params)
    train = load("train", TrainParams, args.params)
    batch_size = train.eval_batch_size
    blocks = {"evaluate": params, "train": {"max_length": train.max_length}}
    with stage_run("evaluate", blocks, [args.data, args.model, args.onnx]) as run:
        teacher = read_metrics(args.teacher, params.metric) if args.teacher else None
        task = load_task(args.data)
        tokenizer = load_tokenizer(args.model)
        model = load_model(args.model, AutoModelForSequenceClassification)
        columns = label_columns(model, task, args.model)
        data = tokenize(task.validation, tokenizer, train.max_length)
        logits = predict(model, data, tokenizer, batch_size=batch_size)  # (N, C), C in the model's order
        agreement = onnx_figures(args.onnx / "model.onnx", logits, data, tokenizer, batch_size)
        scores = compute(logits[:, columns], task.validation["label"][:], task.regression)
        value = headline(scores, params.metric)
        figures = {
            "recipe": args.recipe,
            "task_metric": params.metric,
            "value": value,
            "kept": kept(value, teacher["value"]) if teacher else 1.0,
            **size_figures(model, args.model, params.tokens, task.pair),
            **agreement,
            "examples": len(data),
            "vocabulary": len(tokenizer),
            "metrics": scores,
        }
        files = {"student": args.onnx} | ({"teacher": args.teacher_onnx} if args.teacher_onnx else {})
        # Teacher and student are timed on the same token ids, so on those that both know.
        vocabulary = min(len(tokenizer), teacher["vocabulary"]) if teacher else len(tokenizer)
        times = latency_figures(files, params, vocabulary, task.pair)
        args.out.mkdir(parents=True, exist_ok=True)
        write_predictions(args.out / "predictions.csv", logits[:, columns], task)
        write_json(args.out / "metrics.json", rounded(figures))
        write_json(args.out / "latency.json", times)
        print(summary_line(figures, times), flush=True)
        run.log_metrics({name: number for name, number in figures.items() if isinstance(number, (int, float))})
        run.log_metrics(scores)
        run.log_metrics({f"latency_p50_ms_batch_{size}": row["p50_ms"] for size, row in times["batches"].items()})
        for name in ("metrics.json", "latency.json", "predictions.csv"):
            run.log_artifact(args.out / name)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("recipe", help="slug of the recipe, or teacher")
    parser.add_argument("--data", type=Path, required=True, help="the task")
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


def read_metrics(folder: Path, metric: str) -> dict[str, Any]:
    """The teacher's metrics.json.

    Raises:
        InputError: it is missing, or of another metric.
    """
    file = folder / "metrics.json"
    if not file.is_file():
        raise InputError(f"'{file}' is missing: evaluate the teacher first (dvc repro evaluate-teacher)")
    figures = json.loads(file.read_text(encoding="utf-8"))
    if figures["task_metric"] != metric:
        raise InputError(
            f"'{file}' is of {figures['task_metric']}, evaluate.metric = '{metric}': evaluate the teacher again"
        )
    return figures


def label_columns(model: PreTrainedModel, task: TaskData, folder: Path) -> list[int]:
    """For each label of the data, in order, the model's output that stands for it; [0] for regression.

    Placeholder names (LABEL_0, …) are taken to be in the data's order.

    Raises:
        InputError: the model's labels are not the data's, or it is for another kind of task.
    """
    outputs = model.config.num_labels
    if outputs != (len(task.labels) or 1):
        wanted = f"the data has {len(task.labels)} labels" if task.labels else "a regression task wants 1"
        raise InputError(f"'{folder}' has {outputs} outputs, {wanted}: use a model of this task")
    names = None if task.regression else model_labels(model)
    return list(range(outputs)) if names is None else label_order(task.labels, names)


def kept(value: float, teacher: float) -> float:
    """The share of the teacher's score that is left; a teacher at or below 0 leaves nothing to keep."""
    return value / teacher if teacher > 0 else 0.0


def size_figures(model: PreTrainedModel, folder: Path, tokens: int, pair: bool) -> dict[str, float]:
    """What the model is, whatever it runs on."""
    return {
        "parameters": measure.parameters(model),
        "nonzero_parameters": measure.nonzero_parameters(model),
        "sparsity": measure.sparsity(model),
        "flops": measure.flops(model, tokens, pair),
        "tokens": tokens,
        "checkpoint_bytes": measure.checkpoint_bytes(folder),
    }


def onnx_figures(
    file: Path, logits: np.ndarray, data: Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int
) -> dict[str, float]:
    """Size of the exported file, and how far its logits are from torch's, on sentences spread over the split."""
    session = open_session(file, latency.usable_cores())
    sample = np.unique(np.linspace(0, len(data) - 1, COMPARED).round().astype(int)).tolist()
    given = predict_onnx(session, data.select(sample), tokenizer, batch_size=batch_size)
    if given.shape[1] != logits.shape[1]:
        raise InputError(f"'{file}' has {given.shape[1]} outputs, the model {logits.shape[1]}: export it again")
    return {"onnx_bytes": file.stat().st_size, "onnx_max_difference": float(np.abs(given - logits[sample]).max())}


def latency_figures(folders: Mapping[str, Path], params: EvaluateParams, vocabulary: int, pair: bool) -> dict[str, Any]:
    """Times of the exported models on sentences (or pairs) of `params.tokens` tokens, student and teacher in turns.

    `speedup` is the ratio of the two medians of this run; 1 for the teacher alone.
    """
    import onnxruntime

    threads = params.threads or latency.usable_cores()
    sessions = {name: open_session(folder / "model.onnx", threads) for name, folder in folders.items()}
    rows: dict[str, dict[str, Any]] = {name: {} for name in sessions}
    for batch_size in params.batch_sizes:
        batch = latency.token_batch(batch_size, params.tokens, vocabulary, pair)
        calls = {name: caller(session, batch) for name, session in sessions.items()}
        repeats = params.repeats if batch_size == 1 else max(1, params.repeats // 10)
        for name, seconds in latency.time_in_turns(calls, repeats).items():
            rows[name][str(batch_size)] = latency.summary(seconds, batch_size)
    student, teacher = rows["student"], rows.get("teacher", rows["student"])
    return {
        "hardware": latency.hardware(),
        "threads": threads,
        "runtime": f"ONNX Runtime {onnxruntime.__version__}, CPU",
        "tokens": params.tokens,
        "batches": student,
        "teacher": teacher,
        "speedup": {size: round(teacher[size]["p50_ms"] / row["p50_ms"], 3) for size, row in student.items()},
    }


def caller(session: Any, batch: dict[str, np.ndarray]) -> Callable[[], Any]:
    """One timed call: a forward pass of the batch."""
    inputs = feed(session, batch)
    return lambda: session.run(None, inputs)


def write_predictions(file: Path, logits: np.ndarray, task: TaskData) -> None:
    """`actual,predicted` of each validation row: label names (a confusion matrix to DVC), or scores (a scatter)."""
    truth = task.validation["label"][:]
    if task.regression:
        rows = [(f"{actual:.4f}", f"{given:.4f}") for actual, given in zip(truth, logits[:, 0], strict=True)]
    else:
        names = task.labels
        rows = [(names[actual], names[given]) for actual, given in zip(truth, logits.argmax(axis=1), strict=True)]
    with fresh_file(file) as out, out.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(("actual", "predicted"))
        lines.writerows(rows)


def rounded(value: Any) -> Any:
    """Floats of a tree to `DIGITS` places."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value


def write_json(file: Path, tree: Mapping[str, Any]) -> None:
    with fresh_file(file) as out:
        out.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")


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
