"""What a model's weights were before: its teacher's start and its own, by their ids on the hub, and their licence."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.stage.params import PARAMS, read_yaml

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
# Teachers that come as packages: what the hub calls them, and the licence of their weights.
PUBLISHED: dict[Any, tuple[str, str]] = {
    "builtin": ("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0"),
    "mpnet-base": ("sentence-transformers/all-mpnet-base-v2", "apache-2.0"),
}


@dataclass(frozen=True)
class Starts:
    """What the weights of a recipe's model, and of its teacher, were before.

    Args:
        models: ids on the hub; a folder has none.
        license: of those weights, where it is known of all of them.
    """

    models: tuple[str, ...]
    license: str | None


def starts_of(recipe: str) -> Starts:
    """Those of a recipe's model, by params.yaml."""
    params = read_yaml(PARAMS)
    names = [(params.get("teacher") or {}).get("model"), *_students(params, recipe, set())]
    known = [PUBLISHED.get(name) or (name if _on_hub(name) else None, None) for name in dict.fromkeys(names)]
    licenses = {each for _, each in known}
    models = tuple(model for model, _ in known if model)
    return Starts(models, licenses.pop() if len(licenses) == 1 else None)


def _students(params: Mapping[str, Any], recipe: str, seen: set[str]) -> list[str]:
    """What students are made of that are not made of their teacher: `student.from` of a recipe and of its sources."""
    seen.add(recipe)
    found: list[str] = []
    parts = [params.get(recipe)]
    while parts:
        part = parts.pop()
        if isinstance(part, Mapping):
            found += [part["from"]] if part.get("from") else []
            parts += part.values()
        elif isinstance(part, str) and (source := part.removeprefix("models/")) != part:
            # models/theseus-replace is a phase of theseus.
            of = max((name for name in params if f"{source}-".startswith(f"{name}-")), key=len, default=source)
            found += _students(params, of, seen) if of not in seen else []
    return found


def _on_hub(name: Any) -> bool:
    return isinstance(name, str) and HUB_ID.fullmatch(name) is not None and not Path(name).exists()
