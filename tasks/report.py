"""Evaluated models beside each other: `python -m tasks.report reports/teacher reports/hinton … --out reports/compare`.

Writes report.md and report.png. The same inputs give the same bytes, so neither holds a date.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from stillhouse.errors import InputError
from tasks.evaluation.budget import sentence
from tasks.stage import program
from tasks.stage.outputs import fresh_file
from tasks.tracking.journal import stage_run

SLOWER, FASTER = 0.95, 1.05  # of the teacher's speed; in between, two runs of one model differ as much
SMALLER = 1.05  # times the model's ONNX file goes into the teacher's
TEACHERS = ("teacher", "teacher-qa")  # of classes and scores, of question answering


@dataclass(frozen=True)
class Evaluated:
    """What `tasks.evaluate` wrote about one model, and the curve of a pruning recipe."""

    figures: dict[str, Any]  # metrics.json
    times: dict[str, Any]  # latency.json
    curve: list[tuple[float, float, float]]  # share of weights pruned, score before recovery, after; [] for most

    @property
    def name(self) -> str:
        return self.figures["recipe"]

    @property
    def value(self) -> float:
        return self.figures["value"]


@dataclass(frozen=True)
class Comparison:
    """The teacher and its students, on the same task."""

    models: list[Evaluated]  # as given
    teacher: Evaluated
    metric: str
    small: str  # the smallest and the largest timed batch, as latency.json has them
    large: str

    def smaller(self, model: Evaluated) -> float:
        """How many times the model's ONNX file goes into the teacher's."""
        return self.teacher.figures["onnx_bytes"] / model.figures["onnx_bytes"]

    def latency_ms(self, model: Evaluated) -> float:
        """p50 at the small batch as it would be beside all others.

        Models are timed minutes or days apart, each in turns with the teacher. So what is compared is the teacher's p50
        (its median over all those runs) divided by the speedup, from which the mood of the machine cancels.
        """
        reference = median(other.times["teacher"][self.small]["p50_ms"] for other in self.models)
        return reference / model.times["speedup"][self.small]


def main() -> None:
    args = arguments()
    with stage_run("report", {}, args.reports) as run:
        from tasks.reports.picture import draw

        comparison = read(args.reports)
        args.out.mkdir(parents=True, exist_ok=True)
        with fresh_file(args.out / "report.png") as out:
            draw(comparison, out)
        with fresh_file(args.out / "report.md") as out:
            out.write_text(page(comparison, args.title), encoding="utf-8")
        print(f"{args.out / 'report.md'}, {args.out / 'report.png'}: {len(comparison.models)} models", flush=True)
        for name in ("report.md", "report.png"):
            run.log_artifact(args.out / name)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.report", description=__doc__.split("\n")[0])
    parser.add_argument("reports", type=Path, nargs="+", help="folders that tasks.evaluate wrote, the teacher's too")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.md and report.png")
    parser.add_argument("--title", default="What compression won and lost")
    return parser.parse_args()


def terminal_table(report_dirs: Sequence[Path]) -> str:
    """The table of the report as aligned plain text.

    Raises:
        InputError: as `read`.
    """
    comparison = read(report_dirs)
    rows = [headings(comparison), *(cells(comparison, model) for model in comparison.models)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def read(report_dirs: Sequence[Path]) -> Comparison:
    """Read the files of `tasks.evaluate`.

    Raises:
        InputError: one is missing or damaged, the teacher is not among them, or they are not of the same task.
    """
    models = [
        Evaluated(read_json(folder / "metrics.json"), read_json(folder / "latency.json"), report_curve(folder))
        for folder in report_dirs
    ]
    teachers = [model for model in models if model.name in TEACHERS]
    if len(teachers) != 1:
        raise InputError(
            f"{len(teachers)} of the reports are the teacher's: give reports/{TEACHERS[0]} once "
            f"(of question answering, reports/{TEACHERS[1]})"
        )
    for key in ("task_metric", "examples", "tokens"):
        found = {model.name: model.figures[key] for model in models}
        if len(set(found.values())) > 1:
            raise InputError(f"the reports differ in '{key}' ({found}): evaluate all of them again (dvc repro compare)")
    metrics = {model.name: sorted(model.figures["metrics"]) for model in models}
    # F1 of classes and F1 of answers have one name.
    other = [name for name, names in metrics.items() if names != metrics[teachers[0].name]]
    if other:
        raise InputError(f"{', '.join(other)}: of another kind of task than {teachers[0].name}: give its own teacher")
    batches = sorted(set.intersection(*(set(model.times["batches"]) for model in models)), key=int)
    if not batches:
        raise InputError("the reports share no batch size: evaluate all of them again (dvc repro compare)")
    return Comparison(models, teachers[0], teachers[0].figures["task_metric"], batches[0], batches[-1])


def headings(comparison: Comparison) -> list[str]:
    small, large = comparison.small, comparison.large
    return [
        *("recipe", comparison.metric, "kept", "parameters", "sparsity", "checkpoint", "ONNX", "smaller", "FLOPs"),
        *(f"p50 b{small}", f"p99 b{small}", "faster", f"sentences/s b{large}"),
    ]


def cells(comparison: Comparison, model: Evaluated) -> list[str]:
    """One row of the table."""
    figures, times = model.figures, model.times
    row = times["batches"][comparison.small]
    return [
        model.name,
        f"{model.value:.4f}",
        f"{figures['kept']:.1%}",
        f"{figures['parameters'] / 1e6:.2f} M",
        f"{figures['sparsity']:.0%}",
        f"{figures['checkpoint_bytes'] / 1e6:.1f} MB",
        f"{figures['onnx_bytes'] / 1e6:.1f} MB",
        f"{comparison.smaller(model):.2f}×",
        f"{figures['flops'] / 1e9:.3f} G",
        f"{row['p50_ms']:.2f} ms",
        f"{row['p99_ms']:.2f} ms",
        f"{times['speedup'][comparison.small]:.2f}×",
        f"{times['batches'][comparison.large]['throughput_per_s']:.0f}",
    ]


def page(comparison: Comparison, title: str) -> str:
    """The report in Markdown."""
    table = [headings(comparison), *(cells(comparison, model) for model in comparison.models)]
    metrics = sorted(comparison.teacher.figures["metrics"])
    scores = [["recipe", *metrics, "ONNX − torch"]] + [
        [model.name, *(f"{model.figures['metrics'][name]:.4f}" for name in metrics), _difference(model)]
        for model in comparison.models
    ]
    curves = [part for model in comparison.models if model.curve for part in _curve_section(comparison, model)]
    parts = [f"# {title}", _markdown(table), "![metric against size and latency](report.png)"]
    parts += [*_budget(comparison), _how(comparison)]
    return "\n\n".join([*parts, *curves, "## All metrics", _markdown(scores)]) + "\n"


def _budget(comparison: Comparison) -> list[str]:
    """Who meets the budget that stood in params.yaml at the evaluation, and who misses it."""
    beside = {model.name: model.figures.get("budget") for model in comparison.models}
    lines = [f"- **{name}** {sentence(figures)}" for name, figures in beside.items() if figures]
    return ["## The budget", "\n".join(lines)] if lines else []


def _how(comparison: Comparison) -> str:
    figures, examples = comparison.teacher.figures, comparison.teacher.figures["examples"]
    machines = sorted(
        {f"{m.times['hardware']}, {m.times['threads']} threads, {m.times['runtime']}" for m in comparison.models}
    )
    lines = [
        f"- **{comparison.metric}** over {examples} validation examples, from torch in fp32; *kept* is the share of "
        "the teacher's. The front is what nothing else beats in both metric and cost; dominated models are grey.",
        "- **Parameters** count zeros too. **Sparsity** is nominal, the share of zeros in the weight matrices: bytes, "
        "FLOPs and latency do not profit from it until rows, heads or layers are cut out.",
        "- **Bytes** are those of the safetensors checkpoint and of the ONNX file; *smaller* compares the ONNX files.",
        f"- **FLOPs** are of one sentence of {figures['tokens']} tokens: matrix products, two a multiply-add.",
        f"- **Latency** is of the ONNX file on sentences of {figures['tokens']} tokens, b{comparison.small} at batch "
        f"size {comparison.small}, on {'; '.join(machines)}. *Faster* is the ratio of the medians of teacher and "
        "student, timed in turns in one run. Each row was timed in a run of its own, so a quotient of two rows can "
        "differ from it. In the picture, latency is the teacher's divided by that ratio.",
    ]
    return "## How it was measured\n\n" + "\n".join(lines + _slower(comparison) + _no_faster(comparison))


def _slower(comparison: Comparison) -> list[str]:
    """A line for each model that the hardware runs no faster than the teacher, such as int8 without its kernels."""
    return [
        f"- **{model.name} is slower than the teacher** on this hardware at batch size {size}: {ratio:.2f}×."
        for model in comparison.models
        for size, ratio in model.times["speedup"].items()
        if ratio < SLOWER
    ]


def _no_faster(comparison: Comparison) -> list[str]:
    """A line for each model whose bytes are fewer and whose time is the teacher's, such as one of shared layers."""
    lines = []
    for model in comparison.models:
        sizes = [size for size, ratio in model.times["speedup"].items() if SLOWER <= ratio <= FASTER]
        if comparison.smaller(model) >= SMALLER and sizes:
            speeds = ", ".join(f"{model.times['speedup'][size]:.2f}× as fast at batch size {size}" for size in sizes)
            flops = model.figures["flops"] / comparison.teacher.figures["flops"]
            lines.append(
                f"- **{model.name} is smaller than the teacher, but not faster**: "
                f"{comparison.smaller(model):.2f}× smaller, {flops:.2f}× the FLOPs, {speeds}."
            )
    return lines


def _curve_section(comparison: Comparison, model: Evaluated) -> list[str]:
    rows = [["pruned", f"{comparison.metric} before recovery", "after", "kept"]] + [
        [f"{share:.0%}", f"{before:.4f}", f"{after:.4f}", f"{after / comparison.teacher.value:.1%}"]
        for share, before, after in model.curve
    ]
    return [f"## {model.name}: {comparison.metric} at each share of pruned weights", _markdown(rows)]


def _difference(model: Evaluated) -> str:
    difference = model.figures["onnx_max_difference"]
    return f"{difference:.1e}" if difference else "< 1e-6"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    line = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "|:--|" + "--:|" * (len(rows[0]) - 1)
    return "\n".join([line[0], rule, *line[1:]])


def read_json(file: Path) -> dict[str, Any]:
    """A file of `tasks.evaluate`.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"'{file}' is missing: evaluate that model first (dvc repro evaluate@NAME)") from None
    except json.JSONDecodeError as error:
        raise InputError(f"'{file}' is damaged ({error}): evaluate that model again") from None


def report_curve(folder: Path) -> list[tuple[float, float, float]]:
    """The curve of a recipe that has one; [] for the others."""
    file = folder / "curve.csv"
    return read_curve(file) if file.is_file() else []


def read_curve(file: Path) -> list[tuple[float, float, float]]:
    """Share of weights pruned, score before recovery, score after.

    Raises:
        InputError: there is no such file.
    """
    if not file.is_file():
        raise InputError(f"'{file}' is missing: run the stage that prunes first")
    with file.open(newline="", encoding="utf-8") as stream:
        return [(float(row["share"]), float(row["before"]), float(row["after"])) for row in csv.DictReader(stream)]


if __name__ == "__main__":
    program.run(main)
