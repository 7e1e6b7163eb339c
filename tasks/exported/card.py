"""The card of a compressed model, as hubs show it: metadata in YAML, then what it is, what it scores, how to run it.

What `evaluate` knows of a model is the same each time, and the card that it writes too. Times, the commit and the data
never are, or are not its affair: they are `Made`, and stand in the cards of the registry and of what is published.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

SENTENCES = ("classes", "multi-label", "scores")
AUTO = {
    "classes": "AutoModelForSequenceClassification",
    "multi-label": "AutoModelForSequenceClassification",
    "scores": "AutoModelForSequenceClassification",
    "tokens": "AutoModelForTokenClassification",
    "answers": "AutoModelForQuestionAnswering",
}
PIPELINES = {"tokens": "token-classification", "answers": "question-answering"}
DOES = {
    "classes": "gives a text one of several labels",
    "multi-label": "gives a text any number of labels, none included",
    "scores": "gives a text a number",
    "tokens": "gives each word of a sentence a label",
    "answers": "finds the answer to a question in its context, or says that it is not there",
}
# What hubs call some metrics.
METRICS = {"matthews": "matthews_correlation", "pearson": "pearsonr", "spearman": "spearmanr", "exact": "exact_match"}
SHOWN = 30  # labels

# README.md has these lines too, and a test runs them.
RUN = """\
import json
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder, rows = {folder}, {rows}
with open(f"{{folder}}/inference.json", encoding="utf-8") as file:
    told = json.load(file)
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.x64quantprecision", "1")  # int8 without VNNI; nothing to other models
session = onnxruntime.InferenceSession(f"{{folder}}/model.onnx", options)
read = Tokenizer.from_file(f"{{folder}}/tokenizer.json").encode_batch(rows)  # a row is a text, or a pair of texts
tensors = {{"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}}
feed = {{put.name: np.array([getattr(row, tensors[put.name]) for row in read]) for put in session.get_inputs()}}
(logits,) = session.run(None, feed)
if told["kind"] == "classes":
    given = [told["labels"][place] for place in logits.argmax(axis=1)]
elif told["kind"] == "multi-label":
    marks = 1 / (1 + np.exp(-logits.astype(float))) >= told["thresholds"]
    given = [[label for label, mark in zip(told["labels"], row) if mark] for row in marks]
elif told["kind"] == "scores":
    given = logits[:, 0].tolist()
"""
EXAMPLES = ["Compute the eigenvalues of a matrix.", "Plot a histogram."]
# What more than these lines it takes.
MORE = {
    "tokens": """\
`tokenizer.json` neither cuts nor pads. Put one space between the words of a sentence and encode it. A word has the
likeliest label (`labels` of `inference.json`, in the order of the logits) at its first piece: at the first token whose
offsets begin inside the word. A sentence of more than `max_length` tokens, special ones included, is read in windows
that begin and end between words and share at least `overlap` tokens; a word counts in the window that shows the most
around it. Rows of a batch are filled up with `padding`.""",
    "answers": """\
`tokenizer.json` neither cuts nor pads. Cut the question to `question_length` tokens, and encode it with its context,
which is read in windows (`enable_truncation(max_length, stride=overlap, strategy="only_second")`, then `overflowing`).
The answer is the span of at most `max_answer_length` tokens of the context, in any window, with the greatest
`start_logits + end_logits`; there is none where the sum of the first token's, the smallest of all windows, exceeds that
by more than `null_threshold` (all numbers are in `inference.json`). Rows of a batch are filled up with `padding`.""",
}


@dataclass(frozen=True)
class Made:
    """Where a model comes from, as its registry knows it.

    Args:
        name: of the registered model.
        data: what the task's rows are, in words; `dataset`: their id on the hub, if they come from there.
        teacher: in words; `base_model`: its id on the hub, if it has one.
        license: of the teacher's weights, which a student's are made of, where it is known.
        latency: latency.json.
        facts: by their names: commit, hashes, libraries.
    """

    name: str
    data: str
    dataset: str | None
    teacher: str
    base_model: str | None
    license: str | None
    latency: Mapping[str, Any]
    facts: Mapping[str, str] = field(default_factory=dict)


def card(
    told: Mapping[str, Any], figures: Mapping[str, Any], config: Mapping[str, Any], made: Made | None = None
) -> str:
    """The whole card, metadata first.

    Args:
        told: inference.json.
        figures: metrics.json.
        config: the checkpoint's config.json.
        made: None: nothing is said of it, and the folder is the exported one, not the hub's.
    """
    return f"---\n{metadata(told, figures, config, made)}\n---\n\n{text(told, figures, config, made)}"


def metadata(told: Mapping[str, Any], figures: Mapping[str, Any], config: Mapping[str, Any], made: Made | None) -> str:
    """The YAML between the dashes."""
    kind = told["kind"]
    pipeline = PIPELINES.get(kind, "text-classification")
    data = ModelCardData(
        license=made.license if made else None,
        base_model=made.base_model if made else None,
        datasets=[made.dataset] if made and made.dataset else None,
        library_name="transformers" if plain(config) else "onnx",
        pipeline_tag=pipeline,
        tags=["stillhouse", "onnx", "model-compression", figures["recipe"], kind],
        metrics=sorted({METRICS.get(name, name) for name in figures["metrics"]}),
        model_name=made.name if made else None,
        eval_results=[_result(name, value, pipeline, figures, made) for name, value in figures["metrics"].items()]
        if made
        else None,
    )
    return data.to_yaml()


def text(told: Mapping[str, Any], figures: Mapping[str, Any], config: Mapping[str, Any], made: Made | None) -> str:
    """What follows them, in Markdown."""
    parts = [
        _what(told, figures, made),
        _scores(figures),
        _size(figures),
        _speed(made),
        _run(told, config, made),
        _origin(figures, made),
        _limits(told, figures, made),
    ]
    return "\n\n".join(parts) + "\n"


def plain(config: Mapping[str, Any]) -> bool:
    """Whether transformers alone loads a checkpoint."""
    return config.get("model_type") in CONFIG_MAPPING_NAMES


def _result(name: str, value: float, pipeline: str, figures: Mapping[str, Any], made: Made) -> EvalResult:
    return EvalResult(
        task_type=pipeline,
        dataset_type=made.dataset or made.name,
        dataset_name=made.data,
        dataset_split=figures["split"],
        metric_type=METRICS.get(name, name),
        metric_name=name,
        metric_value=value,
    )


def _what(told: Mapping[str, Any], figures: Mapping[str, Any], made: Made | None) -> str:
    name = made.name if made else figures["recipe"]
    student = f"A compressed encoder that {DOES.get(told['kind'], 'was made for ' + told['kind'])}"
    teacher = f" Its teacher is {made.teacher}; its task is {made.data}." if made else ""
    lines = f"# {name}\n\n{student}, made by Stillhouse's recipe `{figures['recipe']}`.{teacher}"
    labels = told.get("labels", [])
    if not labels:
        return lines
    more = f", … ({len(labels)})" if len(labels) > SHOWN else ""
    return f"{lines} Its labels: {', '.join(map(_code, labels[:SHOWN]))}{more}."


def _scores(figures: Mapping[str, Any]) -> str:
    lines = [f"## Scores\n\nOn the {figures['examples']:,} rows of the {figures['split']} split:\n"]
    if figures["split"] == "validation":
        lines = [
            f"## Scores\n\nOn the {figures['examples']:,} rows of the validation split, as the task has no test split; "
            "what was chosen in training was chosen on them or on training rows:\n"
        ]
    lines += ["| metric | value |", "|:--|--:|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in figures["metrics"].items()]
    lines.append(f"\nIt keeps {figures['kept']:.1%} of its teacher's {figures['task_metric']}.")
    return "\n".join(lines)


def _size(figures: Mapping[str, Any]) -> str:
    return (
        f"## Size\n\n{figures['parameters']:,} parameters ({figures['nonzero_parameters']:,} not zero); "
        f"{figures['onnx_bytes'] / 1e6:.1f} MB as ONNX, {figures['checkpoint_bytes'] / 1e6:.1f} MB as a checkpoint; "
        f"{figures['flops'] / 1e9:.3g} GFLOPs for {figures['tokens']} tokens. The ONNX graph's outputs differ "
        f"from the checkpoint's by {figures['onnx_max_difference']:.1g} at most."
    )


def _speed(made: Made | None) -> str:
    if made is None:
        return "## Speed\n\nTimes differ from run to run: `latency.json` has them, beside the scores that it reports."
    times = made.latency
    lines = ["## Speed\n", "| batch | p50 ms | p99 ms | rows/s | teacher's p50 ms |", "|--:|--:|--:|--:|--:|"]
    for size, row in times["batches"].items():
        teacher = times["teacher"][size]["p50_ms"]
        lines.append(
            f"| {size} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {row['throughput_per_s']:.0f} | {teacher:.2f} |"
        )
    where = f"{times['runtime']}, {times['threads']} threads, {times['hardware']}"
    where += f", {times['tokens']} tokens a row, {times['date']}"
    return "\n".join([*lines, f"\n{where}; student and teacher in turns."])


def _run(told: Mapping[str, Any], config: Mapping[str, Any], made: Made | None) -> str:
    onnx = "`onnx/`" if made else "This folder"
    if told["kind"] in SENTENCES:
        rows = [(text, "Draw its columns.") for text in EXAMPLES] if len(told["columns"]) > 1 else EXAMPLES
        lines = RUN.format(folder='"onnx"' if made else '"."', rows=repr(rows).replace("'", '"'))
        use = f"{onnx} needs `pip install onnxruntime tokenizers numpy` and no more:\n\n```python\n{lines}```"
    else:
        use = f"{onnx} needs `onnxruntime`, `tokenizers` and `numpy` and no more. {MORE.get(told['kind'], '')}"
    return f"## Use\n\n{use.strip()}\n\n{_checkpoint(told, config, made)}"


def _checkpoint(told: Mapping[str, Any], config: Mapping[str, Any], made: Made | None) -> str:
    auto = AUTO.get(told["kind"], "AutoModel")
    where = "This repository" if made else "The checkpoint that the graph was made of"
    if plain(config):
        return f"{where} loads in transformers: `{auto}.from_pretrained(…)`."
    return (
        f"{where} is of the shape `{config.get('model_type')}`, which transformers does not know: install Stillhouse "
        f"(`pip install` on a clone or a wheel of it), `import stillhouse`, then `{auto}.from_pretrained(…)`. No code "
        "comes with the model, and `trust_remote_code` is not needed."
    )


def _origin(figures: Mapping[str, Any], made: Made | None) -> str:
    first = f"## How it was made\n\nBy the recipe `{figures['recipe']}` of Stillhouse, whose page names its paper."
    if made is None:
        return first
    return "\n".join([first, "", *(f"- {name}: {_code(value)}" for name, value in made.facts.items() if value)])


def _limits(told: Mapping[str, Any], figures: Mapping[str, Any], made: Made | None) -> str:
    data = made.data if made else "its task's data"
    cut = "longer ones are cut" if told["kind"] in SENTENCES else "longer ones are read in windows"
    return (
        "## Intended use and limits\n\n"
        f"It is meant for texts like those of {data}, of which it reads {told['max_length']} tokens at a time: {cut}. "
        "The scores say nothing of other texts, domains or languages. What its teacher and the data get wrong, it may "
        "get wrong too, and what a compressed model has lost is not spread evenly over labels and groups of people: "
        "look at yours before you rely on it. It was not examined for fairness or against attacks."
    )


def _code(value: object) -> str:
    """As code on one line, whatever is in it."""
    return f"`{' '.join(str(value).replace('`', chr(39)).split())}`"
