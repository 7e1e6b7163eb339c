"""Values laid over params.yaml by their dotted names, in a trial's copy or as a profile."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.stage.outputs import fresh_file

MARK = "# Found by a search: "


def changed(tree: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a tree, which has plain values only, with these in the place of its own."""
    tree = json.loads(json.dumps(tree))  # what is merged in several places is one object, and changed in one of them
    for name, value in values.items():
        *path, last = name.split(".")
        place = tree
        for part in path:
            place = place[part]
        place[last] = value
    return tree


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as nested mappings."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return tree


def refuse_own(file: Path) -> None:
    """Raise for a profile of this name that no search has written.

    Raises:
        InputError: there is one.
    """
    if not file.parent.is_dir():
        raise InputError(f"{file}: there is no folder {file.parent}: run from the project's folder")
    if file.exists() and not file.read_text(encoding="utf-8").startswith(MARK):
        raise InputError(f"{file} was written by somebody else: choose another name (--profile NAME)")


def write_profile(file: Path, values: Mapping[str, Any], about: str) -> None:
    """Write values as a profile, `python -m tasks.profile NAME`.

    Args:
        about: what it is, in a line.

    Raises:
        InputError: as `refuse_own`.
    """
    refuse_own(file)
    # A block a line. JSON in it is YAML too, and DVC reads its numbers alike.
    blocks = [f"{name}: {json.dumps(block)}" for name, block in nested(values).items()]
    with fresh_file(file) as draft:
        draft.write_text("\n".join([f"{MARK}{about}", *blocks]) + "\n", encoding="utf-8")
