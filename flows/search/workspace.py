"""Where trials run: a copy of the project beside it, which shares its DVC cache, run cache and MLflow store.

One copy serves all trials of a search, one after the other, each with a params.yaml of its own: what two of them have
in common is up to date for the second, and what the project has made already is taken from the cache. The project's
own params.yaml, dvc.lock, models and reports stay as they are.
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


def make(root: Path, name: str, tree: dict[str, Any]) -> Path:
    """The copy of the project in `root` for the search of this name, made or brought up to date.

    Args:
        tree: of the project's params.yaml.

    Raises:
        InputError: no git repository, or a source of params.yaml is a path that the copy cannot have.
    """
    folder = root / SEARCHES / name / "project"
    copies.fill(root, folder, tree, KEPT)
    if (root / LOCK).exists() and not (folder / LOCK).exists():
        with fresh_file(folder / LOCK) as draft:
            shutil.copy(root / LOCK, draft)
    return folder


def write_params(file: Path, tree: dict[str, Any]) -> None:
    """Write parameters as a params.yaml."""
    with fresh_file(file) as draft:
        draft.write_text(json.dumps(tree, indent=1), encoding="utf-8")  # which is YAML, and read faster
