"""Keys of params.yaml that stood elsewhere before recipes' blocks had a part for each phase: where each is now."""

import importlib.util
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stillhouse.errors import InputError
from tasks.stage.params import Phase, read_yaml

# Parts that have another name now; all others kept theirs.
RENAMED = {
    "prune-recover.recover": "prune",
    "magnitude.recover": "prune",
    "int8.train": "quantize",
    "smallest.hinton": "student",
    "smallest.lowrank": "factorize",
    "smallest.structured": "gates",
    "smallest.int8": "quantize",
}
# What held a phase's numbers of training within the parts of `smallest`.
TRAINING = ("distill", "gates", "retrain", "train")


def refuse_moved(slug: str, recipe: type[BaseModel], params: Path) -> None:
    """Raise for keys of a recipe's block that stand where they stood before; other blocks pass.

    Args:
        recipe: the model of today's block, with a field for each phase.
        params: a params.yaml.

    Raises:
        InputError: there is such a key; it says where each is now.
    """
    block: Any = read_yaml(params).get(slug)
    if not isinstance(block, dict) or importlib.util.find_spec(f"tasks.recipes.{slug.replace('-', '_')}") is None:
        return
    former = []
    for name, value in block.items():
        if name not in recipe.model_fields or value is None:
            former.append(f"{slug}.{name}")
        elif isinstance(value, dict):
            former += [f"{slug}.{name}.{key}" for key in value if key in _numbers(name, recipe)]
    found = [(key, places(key, recipe)) for key in former]
    if said := [f"{params}: {key} is now {' and '.join(now)}" for key, now in found if now]:
        raise InputError("; ".join(said))


def places(key: str, recipe: type[BaseModel]) -> list[str]:
    """Where a former key of a recipe's block is now; more than one where several phases read it, none if it never was.

    Args:
        key: with the recipe's slug, such as `hinton.student.layers`.
        recipe: the model of today's block.
    """
    slug, first, *rest = key.split(".")
    phase = RENAMED.get(f"{slug}.{first}") or (first if first in recipe.model_fields else None)
    if phase is None:
        inside = {name: field.annotation.model_fields for name, field in recipe.model_fields.items()}  # type: ignore[union-attr]
        return [".".join([slug, name, first, *rest]) for name, fields in inside.items() if first in fields]
    if rest and rest[0] in (*TRAINING, first) and rest[0] not in recipe.model_fields[phase].annotation.model_fields:  # type: ignore[union-attr]
        rest[0] = "phase"
    elif not rest or rest[0] in _numbers(phase, recipe):
        rest.insert(0, "phase")
    return [".".join([slug, phase, *rest])]


def _numbers(phase: str, recipe: type[BaseModel]) -> set[str]:
    """The numbers of training that are no keys of the phase's own."""
    return set(Phase.model_fields) - set(recipe.model_fields[phase].annotation.model_fields)  # type: ignore[union-attr]
