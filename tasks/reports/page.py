"""The page of a report: one table of all models, how it was measured, pruning curves and all metrics, in Markdown.

The same figures give the same bytes, so it holds no date.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.evaluation.budget import sentence
from tasks.reports.comparison import Comparison, Evaluated

SLOWER, FASTER = 0.95, 1.05  # of the teacher's speed; in between, two runs of one model differ as much
SMALLER = 1.05  # times the model's ONNX file goes into the teacher's


def page(comparison: Comparison, title: str) -> str:
    """The report in Markdown."""
    parts = [f"# {title}", table(comparison), "![metric against size and latency](report.png)", *sections(comparison)]
    return "\n\n".join(parts) + "\n"


def table(comparison: Comparison) -> str:
    """All models, in one table of Markdown."""
    return _markdown([headings(comparison), *(cells(comparison, model) for model in comparison.models)])


def sections(comparison: Comparison) -> list[str]:
    """What stands below the picture, in Markdown."""
    split = comparison.teacher.figures["split"]
    metrics = sorted(comparison.teacher.figures["metrics"])
    scores = [["recipe", *metrics, "ONNX − torch"]] + [
        [model.name, *(f"{model.figures['metrics'][name]:.4f}" for name in metrics), _difference(model)]
        for model in comparison.models
    ]
    curves = [part for model in comparison.models if model.curve for part in _curve_section(comparison, model)]
    parts = [*_budget(comparison), _how(comparison), *_formats(comparison), *curves]
    return [*parts, f"## All metrics of {split}", _markdown(scores), *_validation(comparison)]


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


def _validation(comparison: Comparison) -> list[str]:
    """What models were chosen on, where their scores are of the test split."""
    found = [(model.name, model.figures["validation"]) for model in comparison.models if "validation" in model.figures]
    if not found:
        return []
    metrics = sorted(found[0][1]["metrics"])
    rows = [[name, *(f"{figures['metrics'][metric]:.4f}" for metric in metrics)] for name, figures in found]
    return ["## All metrics of validation", _markdown([["recipe", *metrics], *rows])]


def _budget(comparison: Comparison) -> list[str]:
    """Who meets the budget that stood in params.yaml at the evaluation, and who misses it."""
    budgets = {model.name: model.figures.get("budget") for model in comparison.models if not model.link}
    lines = [f"- **{name}** {sentence(figures)}" for name, figures in budgets.items() if figures]
    split = comparison.teacher.figures["split"]
    return [f"## The budget, on {split}", "\n".join(lines)] if lines else []


def _formats(comparison: Comparison) -> list[str]:
    """Students in other formats, each in the runtime that it is for."""
    told = [(model.name, model.formats) for model in comparison.models if model.formats]
    if not told:
        return []
    small, large = comparison.small, comparison.large
    head = [
        *("recipe", "format", "runtime", "ONNX", f"{comparison.metric} of validation", "kept"),
        *(f"p50 b{small}", f"faster b{small}", f"faster b{large}", "ONNX − torch"),
    ]
    rows = [
        [
            *(
                name,
                form,
                row["described"],
                f"{made['bytes'] / 1e6:.1f} MB",
                f"{row['value']:.4f}",
                f"{row['kept']:.1%}",
            ),
            *(_at(row["batches"], small, "p50_ms", " ms"), _at(row["speedup"], small), _at(row["speedup"], large)),
            f"{row['max_difference']:.1e}",
        ]
        for name, formats in told
        for form, made in formats["formats"].items()
        for row in made["runtimes"].values()
    ]
    machines = sorted({f"{formats['hardware']}, {_threads(formats)}" for _, formats in told})
    lines = [
        "- *Faster* is the ratio of the medians of the teacher in fp32 and the student in this format, both in this "
        f"runtime, timed in turns in one run, on {'; '.join(machines)}."
    ]
    lines += [
        f"- **{name}** has no {form}: {why}." for name, formats in told for form, why in formats["refused"].items()
    ]
    missing = {place: why for _, formats in told for place, why in formats["missing"].items()}
    lines += [f"- Nothing was run in **{place}**: {why}." for place, why in sorted(missing.items())]
    return ["## Other formats, each in the runtime that it is for", _markdown([head, *rows]), "\n".join(lines)]


def _threads(figures: Mapping[str, Any]) -> str:
    """How many, of a latency.json or a formats.json."""
    return "1 thread" if figures["threads"] == 1 else f"{figures['threads']} threads"


def _at(figures: Mapping[str, Any], batch: str, key: str = "", unit: str = "×") -> str:
    """A figure of a batch size; a dash where it was not measured."""
    if batch not in figures:
        return "–"
    return f"{figures[batch][key] if key else figures[batch]:.2f}{unit}"


def _how(comparison: Comparison) -> str:
    figures, examples = comparison.teacher.figures, comparison.teacher.figures["examples"]
    machines = sorted({f"{m.times['hardware']}, {_threads(m.times)}, {m.times['runtime']}" for m in comparison.models})
    lines = [
        f"- **{comparison.metric}** over {examples} examples of {figures['split']}, from torch in fp32; *kept* is the "
        "share of the teacher's. The front is what nothing else beats in both metric and cost; dominated models are "
        "grey.",
        "- **Parameters** count zeros too. **Sparsity** is nominal, the share of zeros in the weight matrices: bytes, "
        "FLOPs and latency do not profit from it until rows, heads or layers are cut out.",
        "- **Bytes** are those of the safetensors checkpoint and of the ONNX file; *smaller* compares the ONNX files.",
        f"- **FLOPs** are of one sentence of {figures['tokens']} tokens: matrix products, two a multiply-add.",
        f"- **Latency** is of the ONNX file on sentences of {figures['tokens']} tokens, b{comparison.small} at batch "
        f"size {comparison.small}, on {'; '.join(machines)}. *Faster* is the ratio of the medians of teacher and "
        "student, timed in turns in one run. Each row was timed in a run of its own, so a quotient of two rows can "
        "differ from it. In the picture, latency is the teacher's divided by that ratio.",
    ]
    if links := [model.name for model in comparison.models if model.link]:
        lines.insert(0, f"- **On the way**: {', '.join(links)} are what the chain makes before its last link.")
    if any(model.finished for model in comparison.models):
        lines.insert(
            0,
            "- **Finished** is a recipe's student after the links of `finish` in `params.yaml`, none of which trains: "
            "a vocabulary of the pieces that the task uses, thinner word vectors, weights in eight bits. What a recipe "
            "has already is left out.",
        )
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
