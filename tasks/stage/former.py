"""Blocks of params.yaml that question answering had for itself, before it was a kind of task: where each is now."""

from collections.abc import Mapping
from typing import Any

from stillhouse.errors import InputError

FORMER = {
    "qa": "data, with data.kind = answers",
    "windows": "kinds.answers",
    "teacher-qa": "teacher",
    "evaluate-qa": "evaluate, and kinds.answers for how an answer is chosen",
    "structured-qa": "structured, which does every kind of task",
    "structured-qa-distil": "structured-distil, which does every kind of task",
}


def refuse_former(params: Mapping[str, Any]) -> None:
    """Raise for such a block: nothing reads it any more, so its numbers would be lost without a word.

    Args:
        params: the tree of params.yaml.

    Raises:
        InputError: there is one; the message says where each is now.
    """
    if found := [f"block '{name}' is now {place}" for name, place in FORMER.items() if name in params]:
        raise InputError(f"params.yaml: {'; '.join(found)}: move its numbers there")
