"""A recipe by its slug: its module, its phases and their numbers, and which kinds of task it does."""

import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from stillhouse.errors import InputError
from tasks.kinds.find import kind_class
from tasks.phases.moved import refuse_moved
from tasks.stage.params import load, read_yaml

SLUG = re.compile(r"[a-z0-9-]+")


def load_phase(slug: str, phase: str, params: Path) -> tuple[Callable, Any]:
    """The function of `tasks/recipes/SLUG.py` that plans a phase, and that phase's block of params.yaml.

    Raises:
        InputError: there is no such recipe or phase, a fault in the block, or a kind of task that it does not do.
    """
    recipe = load_recipe(slug)
    fields = recipe.Params.model_fields
    if phase not in fields:
        raise InputError(f"recipe '{slug}' has no phase '{phase}': it has {', '.join(fields)}")
    refuse_moved(slug, recipe.Params, params)
    check_kind(slug, params)
    return getattr(recipe, phase), load(f"{slug}.{phase}", fields[phase].annotation, params)


def check_kind(slug: str, params: Path) -> None:
    """Whether a recipe does the kind of task that params.yaml names.

    Raises:
        InputError: its mathematics does not allow it; the message says why.
    """
    recipe = load_recipe(slug)
    name = str(read_yaml(params).get("data", {}).get("kind"))
    if hasattr(recipe, "refuses") and (reason := recipe.refuses(kind_class(name))):
        raise InputError(f"recipe '{slug}' does not do data.kind = '{name}': {reason}: choose another recipe")


def load_recipe(slug: str) -> ModuleType:
    """A recipe's module, `tasks/recipes/SLUG.py`.

    Raises:
        InputError: there is no such recipe.
    """
    name = f"tasks.recipes.{slug.replace('-', '_')}"
    # A dot in it would be a module of another place.
    if not SLUG.fullmatch(slug) or importlib.util.find_spec(name) is None:
        raise InputError(f"recipe '{slug}' has no file tasks/recipes/{slug.replace('-', '_')}.py: check its spelling")
    return importlib.import_module(name)
