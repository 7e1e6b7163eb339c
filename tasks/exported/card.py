"""The card of a compressed model, as hubs show it: metadata in YAML, then what it is, what it scores, how to run it.

`evaluate` writes what it knows of a model, which is the same each time. Times, the commit, the teacher and where the
data come from are not: the registry puts them into the sections that are for them (`flows.registry.card`).
"""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCardData
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from tasks.evaluation.forms import shown_name
from tasks.exported.names import metric_type
from tasks.kinds.contract import Kind

SHOWN = 30  # labels


def card(kind: type[Kind], told: Mapping[str, Any], figures: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The whole card, metadata first.

    Args:
        told: inference.json.
        figures: metrics.json.
        config: the checkpoint's config.json.
    """
    metadata = ModelCardData(
        library_name="transformers" if plain(config) else "onnx",
        pipeline_tag=kind.pipeline,
        tags=["stillhouse", "onnx", "model-compression", figures["recipe"], kind.name],
        metrics=sorted({metric_type(name) for name in figures["metrics"]}),
    )
    parts = [
        _what(kind, told, figures),
        _scores(figures),
        _size(figures),
        "## Speed\n\nTimes differ from run to run: `latency.json` has them, beside the scores that it reports.",
        _use(kind, config),
        f"## How it was made\n\nBy Stillhouse's recipe `{shown_name(figures)}`.",
        _limits(kind, told),
    ]
    text = "\n\n".join(parts)
    return f"---\n{metadata.to_yaml()}\n---\n\n{text}\n"


def plain(config: Mapping[str, Any]) -> bool:
    """Whether transformers alone loads a checkpoint."""
    return config.get("model_type") in CONFIG_MAPPING_NAMES


def _what(kind: type[Kind], told: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    lines = (
        f"# {shown_name(figures)}\n\nA compressed encoder that {kind.does}, made by Stillhouse's recipe "
        f"`{shown_name(figures)}`."
    )
    labels = told.get("labels", [])
    if not labels:
        return lines
    more = f", … ({len(labels)})" if len(labels) > SHOWN else ""
    return f"{lines} Its labels: {', '.join(map(code, labels[:SHOWN]))}{more}."


def _scores(figures: Mapping[str, Any]) -> str:
    where = f"On the {figures['examples']:,} rows of the {figures['split']} split"
    if figures["split"] == "validation":
        where += ", as the task has no test split; what was chosen in training was chosen on them or on training rows"
    lines = [f"## Scores\n\n{where}:\n", "| metric | value |", "|:--|--:|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in figures["metrics"].items()]
    return "\n".join([*lines, f"\nIt keeps {figures['kept']:.1%} of its teacher's {figures['task_metric']}."])


def _size(figures: Mapping[str, Any]) -> str:
    return (
        f"## Size\n\n{figures['parameters']:,} parameters ({figures['nonzero_parameters']:,} not zero); "
        f"{figures['onnx_bytes'] / 1e6:.1f} MB as ONNX, {figures['checkpoint_bytes'] / 1e6:.1f} MB as a checkpoint; "
        f"{figures['flops'] / 1e9:.3g} GFLOPs for {figures['tokens']} tokens. The ONNX graph's outputs differ from the "
        f"checkpoint's by {figures['onnx_max_difference']:.1g} at most."
    )


def _use(kind: type[Kind], config: Mapping[str, Any]) -> str:
    lines = [
        "## Use",
        "`model.onnx`, `tokenizer.json` and `inference.json` (here, or in `onnx/` beside the checkpoint) need "
        "`pip install onnxruntime tokenizers numpy`, and no more:",
        kind.run,
    ]
    auto = kind.auto.__name__
    if plain(config):
        return "\n\n".join([*lines, f"The checkpoint loads in transformers: `{auto}.from_pretrained(…)`."])
    lines.append(
        f"The checkpoint is of the shape `{config.get('model_type')}`, which transformers does not know: install "
        "Stillhouse (`pip install` on a clone or a wheel of it), `import stillhouse`, then "
        f"`{auto}.from_pretrained(…)`. No code comes with the model, and `trust_remote_code` is not needed."
    )
    return "\n\n".join(lines)


def _limits(kind: type[Kind], told: Mapping[str, Any]) -> str:
    cut = "longer ones are read in windows" if kind.in_windows else "longer ones are cut"
    return (
        "## Intended use and limits\n\n"
        f"It is meant for texts like those that it was trained on, of which it reads {told['max_length']} tokens at a "
        f"time: {cut}. The scores say nothing of other texts, domains or languages. What its teacher and the data get "
        "wrong, it may get wrong too, and what a compressed model has lost is not spread evenly over labels and groups "
        "of people: look at yours before you rely on it. It was not examined for fairness or against attacks."
    )


def code(value: object) -> str:
    """As code on one line, whatever is in it."""
    return f"`{' '.join(str(value).replace('`', chr(39)).split())}`"
