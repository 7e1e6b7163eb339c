"""JSON files between stages: read with one clear line for a fault, written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.stage.outputs import fresh_file


def read_json(file: Path, remedy: str) -> Any:
    """What a JSON file holds.

    Args:
        file: written by a stage, in UTF-8.
        remedy: what the user can do where it is missing or damaged, such as "evaluate that model again".

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"'{file}' is missing: {remedy}") from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise InputError(f"'{file}' is damaged ({error}): {remedy}") from None


def write_json(file: Path, tree: Mapping[str, Any], indent: int | None = 2) -> None:
    """Write a JSON file with a newline at its end; `indent` None: all on one line."""
    with fresh_file(file) as out:
        out.write_text(json.dumps(tree, indent=indent) + "\n", encoding="utf-8")
