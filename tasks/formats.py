"""A student in other formats, each scored and timed where it runs: `python -m tasks.formats hinton --data … --out …`.

Writes FORMAT.onnx for each format of the block `export`, and formats.json: bytes, and in each runtime that the format
is for and that is installed, the score on validation (the test split is not read: this is where a format is chosen),
how far the logits are from torch's, and the times beside those of the teacher in fp32 in the same runtime, in turns.
A format that the model does not take, and a runtime that is not here, are named with the reason. It takes seconds to
minutes, so a killed run starts again.
"""

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.errors import InputError
from stillhouse.onnx import latency
from stillhouse.onnx.formats import FORMATS, write_format
from stillhouse.onnx.runtimes import RUNTIMES, Runtime
from stillhouse.surgery.quantizing import dequantize
from stillhouse.training.threads import usable_cores
from tasks.evaluation.costs import rounded, sample, times_of
from tasks.evaluation.reference import read_metrics
from tasks.exported.names import FORMATS_FILE
from tasks.exported.params import ExportParams
from tasks.kinds.contract import Examples, Kind, Predictions, Task, check_head
from tasks.kinds.find import load_task
from tasks.kinds.judging import difference
from tasks.links.rounding import ranges_of
from tasks.stage import program
from tasks.stage.json_files import write_json
from tasks.stage.outputs import fresh_dir, fresh_file
from tasks.stage.params import PARAMS, EvaluateParams, TrainParams, load
from tasks.tracking.journal import StageRun, stage_run


def main() -> None:
    args = arguments()
    export = load("export", ExportParams, args.params)
    formats = export.formats_of(args.recipe)
    params = load("evaluate", EvaluateParams, args.params)
    train = load("train", TrainParams, args.params)
    task = load_task(args.data, args.params)
    kind = task.kind
    kind.check_metric(params.metric)
    check_head(type(kind), args.model)
    logged = {"export": {"formats": formats, "calibration": export.calibration}, "evaluate": params}
    with stage_run("formats", logged, [args.data, args.model, args.teacher_onnx]) as run:
        tokenizer = load_tokenizer(args.model)
        model = load_model(args.model, kind.auto, whole=True)
        teacher = teacher_figures(args.teacher, params.metric)
        with fresh_dir(args.out) as out:
            sizes, refused = written(formats, model, tokenizer, task, export, out)
            measured = Measured(task, model, tokenizer, params, train.eval_batch_size, teacher, args.teacher_onnx)
            made = {
                name: {"bytes": size, "runtimes": measured.everywhere(name, out / f"{name}.onnx")}
                for name, size in sizes.items()
            }
        told = {
            "recipe": args.recipe,
            "split": "validation",
            "task_metric": params.metric,
            "date": datetime.now(UTC).date().isoformat(),
            "hardware": latency.hardware(),
            "threads": measured.threads,
            "tokens": params.tokens,
            "formats": made,
            "refused": refused,
            "missing": measured.missing,
        }
        args.report.mkdir(parents=True, exist_ok=True)
        with fresh_file(args.report / FORMATS_FILE) as file:
            write_json(file, told)
        log(run, made)
        run.log_artifact(args.report / FORMATS_FILE)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.formats", description=__doc__.split("\n")[0])
    parser.add_argument("recipe", help="its slug, which export.of names")
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--model", type=Path, required=True, help="the recipe's student")
    parser.add_argument("--teacher", type=Path, required=True, help="the teacher's report: what is kept of its score")
    parser.add_argument("--teacher-onnx", type=Path, required=True, help="folder of the teacher's model.onnx")
    parser.add_argument("--out", type=Path, required=True, help="folder for the ONNX files")
    parser.add_argument("--report", type=Path, required=True, help=f"folder for {FORMATS_FILE}")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


def teacher_figures(folder: Path, metric: str) -> dict[str, Any]:
    """The teacher's score on validation, and its vocabulary. Raises as `read_metrics` does."""
    figures = read_metrics(folder, metric)
    value = figures["value"] if figures["split"] == "validation" else figures["validation"]["value"]
    return {"value": value, "vocabulary": figures["vocabulary"]}


def written(
    formats: Sequence[str],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    export: ExportParams,
    out: Path,
) -> tuple[dict[str, int], dict[str, str]]:
    """Write the formats that the model takes; give the bytes of each, and why it does not take the others.

    Raises:
        InputError: calibration does not fit the model.
    """
    kind = task.kind
    ranges = None
    if any(FORMATS[name].calibrated for name in formats):
        ranges = ranges_of(dequantize(model), export.calibration, kind, task.train, tokenizer)
    sizes, refused = {}, {}
    for name in formats:
        file = out / f"{name}.onnx"
        heads = {"outputs": kind.outputs, "per_token": kind.per_token}
        try:
            write_format(name, model, tokenizer, file, ranges=ranges, **heads)
        except InputError as error:
            refused[name] = str(error)
            print(f"{name} is left out: {error}", flush=True)
        else:
            sizes[name] = file.stat().st_size
            print(f"{name}: {sizes[name] / 1e6:.1f} MB, {FORMATS[name].does}", flush=True)
    return sizes, refused


class Measured:
    """Scores and times files of one student.

    Args:
        batch_size: rows a forward pass where it is scored.
        teacher: as `teacher_figures` gives it.
        teacher_onnx: folder of its model.onnx.
    """

    def __init__(
        self,
        task: Task,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        params: EvaluateParams,
        batch_size: int,
        teacher: Mapping[str, Any],
        teacher_onnx: Path,
    ) -> None:
        self.kind: Kind = task.kind
        self.kind.check_model(model, task.folder)
        self.model, self.tokenizer, self.params, self.batch_size = model, tokenizer, params, batch_size
        self.teacher, self.teacher_onnx = teacher, teacher_onnx
        self.vocabulary = min(len(tokenizer), teacher["vocabulary"])
        self.threads = params.threads or usable_cores()
        self.examples: Examples = self.kind.examples(task.validation, tokenizer)
        encoded = self.examples.encoded
        self.compared = encoded.select(sample(len(encoded)))
        self.ours: Predictions = self.kind.predict(dequantize(model), self.compared, tokenizer, 1)
        self.missing: dict[str, str] = {}

    def everywhere(self, name: str, file: Path) -> dict[str, dict[str, Any]]:
        """Scores and times in each runtime that the format is for and that is here; the others go into `missing`."""
        found = {}
        for place in FORMATS[name].runtimes:
            runtime = RUNTIMES[place]
            if why := runtime.missing():
                self.missing[place] = why
                continue
            found[place] = row = rounded(self.in_one(runtime, file))
            batch, ratio = next(iter(row["speedup"].items()))
            print(
                f"{name} in {row['described']}: validation {self.params.metric} {row['value']:.4f} "
                f"({row['kept']:.1%} of the teacher), {ratio:.2f}× its speed at batch {batch}",
                flush=True,
            )
        return found

    def in_one(self, runtime: Runtime, file: Path) -> dict[str, Any]:
        """Score and times of one file in one runtime."""
        session = runtime.open(file, self.threads)
        scored = self.kind.predict_onnx(session, self.examples.encoded, self.tokenizer, self.batch_size)
        predictions = self.kind.ordered(scored, self.model)
        value = self.kind.settled(predictions, self.examples).metrics(predictions, self.examples)[self.params.metric]
        compared = self.kind.predict_onnx(session, self.compared, self.tokenizer, 1)
        sessions = {"student": session, "teacher": runtime.open(self.teacher_onnx / "model.onnx", self.threads)}
        teacher = self.teacher["value"]
        return {
            "described": runtime.described(),
            "value": value,
            "kept": value / teacher if teacher > 0 else 0.0,
            "max_difference": difference(compared, self.ours),
            **times_of(sessions, self.params, self.vocabulary, self.kind.pair),
        }


def log(run: StageRun, made: Mapping[str, Mapping[str, Any]]) -> None:
    """Log the numbers of each format in each runtime."""
    for name, figures in made.items():
        run.log_metrics({f"{name}_bytes": figures["bytes"]})
        for place, row in figures["runtimes"].items():
            run.log_metrics({f"{name}_{place}_value": row["value"]})
            run.log_metrics(
                {f"{name}_{place}_p50_ms_batch_{size}": at["p50_ms"] for size, at in row["batches"].items()}
            )


if __name__ == "__main__":
    program.run(main)
