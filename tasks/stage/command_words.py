"""What params.yaml puts into the commands of dvc.yaml must be one plain word: DVC gives them to a shell as they are."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.stage.outside import items_of, value_at
from tasks.stage.params import read_yaml

HOLE = re.compile(r"\$\{([^}]+)\}")
# A word that no shell changes, and no program takes for an option. Letters of any language are plain.
PLAIN = re.compile(r"(?!-)[\w@%+=:,./-]+")


def refuse_words(params: dict[str, Any], root: Path) -> None:
    """Raise for a parameter that the shell would not pass on as the one word that it is.

    Args:
        params: the tree of params.yaml.
        root: the project's folder, with dvc.yaml.

    Raises:
        InputError: there is one, with a space, a quote, `$` or the like in it, or that is no text and no number.
    """
    if not (root / "dvc.yaml").is_file():
        return
    for name, key, value in command_words(read_yaml(root / "dvc.yaml"), params):
        text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
        if not PLAIN.fullmatch(text):
            raise InputError(
                f"{key} = {repr(value)[:200]}: it is a word of the command of stage '{name}', which a shell reads: "
                "give a name of letters, digits and _ . / - + = : , @ %, that does not begin with -"
            )


def command_words(dvc: dict[str, Any], params: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(stage, key, value) of each `${key}` in the commands of a dvc.yaml; of a `foreach`, the key that lists it."""
    for name, stage in dvc.get("stages", {}).items():
        foreach, body = stage.get("foreach"), stage.get("do", stage)
        commands = body.get("cmd") or []
        for hole in HOLE.findall(" ".join([commands] if isinstance(commands, str) else commands)):
            for key, item in items_of(foreach, params):
                own = hole.split(".")[0] in ("key", "item")
                listed = foreach.strip("${}") if isinstance(foreach, str) else f"dvc.yaml: foreach of '{name}'"
                yield name, listed if own else hole, value_at(params | {"key": key, "item": item}, hole)
