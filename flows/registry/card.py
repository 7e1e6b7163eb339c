"""A version's card: what `evaluate` wrote, and what the registry knows besides: times, teacher, data, commit."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.registry.names import registered_model, task_word
from flows.registry.reports import again, exported_of, read_report
from flows.registry.starts import starts_of
from stillhouse.errors import InputError
from tasks.evaluation.forms import shown_name
from tasks.exported.names import CARD, metric_type
from tasks.stage.params import PARAMS, read_yaml

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

LONGEST = 5_000  # characters of a description: what a registry in a database keeps
# What of a version's facts a card says, and how it calls it.
FACTS = {
    "git_commit": "commit",
    "git_dirty": "files changed since that commit",
    "data_md5": "data (DVC's hash)",
    "weights_sha256": "weights (sha256)",
    "libraries": "libraries",
}


def version_card(recipe: str, facts: Mapping[str, str], finished: bool = False) -> tuple[str, str]:
    """The card of a form of a recipe's model, with metadata and without, which is no longer than a description may be.

    Args:
        facts: the version's tags.

    Raises:
        InputError: the model was not evaluated, or a report of it is damaged.
    """
    from huggingface_hub import ModelCard, ModelCardData

    file = exported_of(recipe, finished) / CARD
    if not file.is_file():
        raise InputError(f"'{file}' is missing: {again(recipe)}")
    page = ModelCard(file.read_text(encoding="utf-8"))
    figures, latency = (read_report(recipe, name, finished) for name in ("metrics.json", "latency.json"))
    name, data = registered_model(), _data()
    starts = starts_of(recipe)
    metadata = ModelCardData(
        **page.data.to_dict(),
        license=starts.license,
        base_model=list(starts.models) or None,
        datasets=[data["id"]] if data["id"] else None,
        model_name=name,
        eval_results=[_result(metric, value, figures, data, page) for metric, value in figures["metrics"].items()],
    )
    made = [
        # A folder's path says nothing to others, and may say too much.
        f"By Stillhouse's recipe `{shown_name(figures)}`. Its task is {data['name']}; its teacher and itself were made "
        f"from {' and '.join(starts.models) or 'a checkpoint that is not on the hub'}.",
        "",
        *(f"- {shown}: `{facts[fact]}`" for fact, shown in FACTS.items() if facts.get(fact)),
    ]
    text = re.sub(r"\A\s*# .*", lambda _: f"# {name}: {shown_name(figures)}", page.text)
    text = _with_section(text, "Speed", _speed(latency), file)
    text = _with_section(text, "How it was made", "\n".join(made), file)
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 2].rstrip()} …"
    return f"---\n{metadata.to_yaml()}\n---\n\n{text}", short


def _with_section(text: str, heading: str, body: str, file: Path) -> str:
    found, count = re.subn(rf"(?ms)^## {heading}\n.*?(?=^## |\Z)", lambda _: f"## {heading}\n\n{body}\n\n", text)
    if count != 1:
        raise InputError(f"'{file}' has no section '{heading}': evaluate the model again")
    return found


def _speed(times: Mapping[str, Any]) -> str:
    lines = ["| batch | p50 ms | p99 ms | rows/s | teacher's p50 ms |", "|--:|--:|--:|--:|--:|"]
    for size, row in times["batches"].items():
        teacher = times["teacher"][size]["p50_ms"]
        lines.append(
            f"| {size} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {row['throughput_per_s']:.0f} | {teacher:.2f} |"
        )
    threads = f"{times['threads']} thread{'' if times['threads'] == 1 else 's'}"
    where = f"{times['runtime']}, {threads}, {times['hardware']}, {times['tokens']} tokens a row"
    return "\n".join([*lines, f"\n{where}, {times['date']}; student and teacher in turns."])


def _data() -> dict[str, str | None]:
    """What the task's rows are called, and their id on the hub if they come from there."""
    data = read_yaml(PARAMS).get("data") or {}
    dataset = (data.get("hub") or {}).get("name") if data.get("source") == "hub" else None
    return {"name": task_word(), "id": dataset}


def _result(name: str, value: float, figures: Mapping[str, Any], data: Mapping[str, Any], page: Any) -> "EvalResult":
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type=page.data.pipeline_tag,
        dataset_type=data["id"] or data["name"],
        dataset_name=data["name"],
        dataset_split=figures["split"],
        metric_type=metric_type(name),
        metric_name=name,
        metric_value=value,
    )
