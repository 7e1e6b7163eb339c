"""Where trials run: copies of the project beside it, which share its DVC cache, run cache and MLflow store.

In a copy trials run one after the other, each with a params.yaml of its own: what two of them have in common is up to
date for the second, and what the project has made already is taken from the cache. One copy is enough for a search on
this machine; over a pool there are as many as trials at once, and all but the first are removed at the end. The
project's own params.yaml, dvc.lock, models and reports stay as they are.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from flows.dag import copies
from tasks.stage.outputs import fresh_file
from tasks.stage.params import PARAMS
from tasks.tracking.provenance import LOCK
from tasks.tracking.store import SEARCHES

KEPT = (LOCK, PARAMS)  # the copy's own, once it has them


def make(root: Path, name: str, tree: dict[str, Any], number: int = 1) -> Path:
    """A copy of the project in `root` for the search of this name, made or brought up to date.

    Args:
        tree: of the project's params.yaml.
        number: which of the copies, from 1.

    Raises:
        InputError: no git repository, or a source of params.yaml is a path that the copy cannot have.
    """
    folder = root / SEARCHES / name / ("project" if number == 1 else f"project-{number}")
    copies.fill(root, folder, tree, KEPT)
    if (root / LOCK).exists() and not (folder / LOCK).exists():
        with fresh_file(folder / LOCK) as draft:
            shutil.copy(root / LOCK, draft)
    return folder


def remove_all_but_one(root: Path, name: str) -> None:
    """Remove the copies of this search but for the first; what they have made is in the cache."""
    for folder in (root / SEARCHES / name).glob("project-*"):
        shutil.rmtree(folder)


def write_params(file: Path, tree: dict[str, Any]) -> None:
    """Write parameters as a params.yaml."""
    with fresh_file(file) as draft:
        draft.write_text(json.dumps(tree, indent=1), encoding="utf-8")  # which is YAML, and read faster
