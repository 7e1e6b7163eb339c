"""A version's card: what `evaluate` wrote, and what the registry knows besides: data, teacher, commit, times."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.registry.names import registered_model, task_word
from flows.registry.reports import again, read_report
from tasks.exported.card import Made, card, text
from tasks.exported.folder import INFERENCE
from tasks.phases import mpnet_base
from tasks.phases.teacher import BUILTIN
from tasks.stage.json_files import read_json
from tasks.stage.params import PARAMS, read_yaml

LONGEST = 5_000  # characters of a description: what a registry in a database keeps
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
# Teachers that come as packages: what the hub calls them, and the licence of their weights.
PUBLISHED = {
    BUILTIN: ("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0"),
    mpnet_base.NAME: ("sentence-transformers/all-mpnet-base-v2", "apache-2.0"),
}
# What of a version's facts a card says, and how it calls it.
FACTS = {
    "git_commit": "commit",
    "git_dirty": "files changed since that commit",
    "data_md5": "data (DVC's hash)",
    "weights_sha256": "weights (sha256)",
    "libraries": "libraries",
}


def version_card(recipe: str, facts: Mapping[str, str]) -> tuple[str, str]:
    """The card of a recipe's model, with its metadata and without: the latter no longer than a description may be.

    Args:
        facts: the version's tags.

    Raises:
        InputError: the model was not evaluated, or a report of it is damaged.
    """
    told = read_json(Path("models/exported") / recipe / INFERENCE, again(recipe))
    config = read_json(Path("models") / recipe / "config.json", again(recipe))
    figures = read_report(recipe, "metrics.json")
    made = _made(read_yaml(PARAMS), read_report(recipe, "latency.json"), facts)
    short = text(told, figures, config, made)
    if len(short) > LONGEST:
        short = f"{short[: LONGEST - 2].rstrip()} …"
    return card(told, figures, config, made), short


def _made(params: Mapping[str, Any], latency: Mapping[str, Any], facts: Mapping[str, str]) -> Made:
    data, teacher = params.get("data") or {}, (params.get("teacher") or {}).get("model")
    dataset = (data.get("hub") or {}).get("name") if data.get("source") == "hub" else None
    word = task_word()
    base_model, license_ = PUBLISHED.get(str(teacher), (None, None))
    if teacher and base_model is None and HUB_ID.fullmatch(teacher) and not Path(teacher).exists():
        base_model = teacher
    return Made(
        name=registered_model(),
        data=f"{word} (docstrings of Python libraries)" if data.get("source") == "docstrings" else word,
        dataset=dataset,
        # A folder's path says nothing to others, and may say too much.
        teacher=base_model or "a checkpoint of its maker's own",
        base_model=base_model,
        license=license_,
        latency=latency,
        facts={shown: facts[name] for name, shown in FACTS.items() if name in facts},
    )
