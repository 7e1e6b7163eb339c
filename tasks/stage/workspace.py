"""A stage's private folder, outside its outputs, named after everything that decides its result.

DVC clears a stage's outputs before it runs, so what a killed run wants to find again lives in `.cache/unfinished`. The
same inputs, parameters and code give the same folder; anything else gives another, so no run resumes a stranger's work.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from stillhouse.errors import InputError
from stillhouse.training import processes
from tasks.stage.sharing import agree, share

CODE = ("stillhouse", "tasks")
LISTED = "STILLHOUSE_WORKSPACES"  # a file that names the folders, for a runner that sends them to another


def workspace(stage: str, inputs: Iterable[Path], params: Iterable[BaseModel | str]) -> Path:
    """The folder of this stage for these inputs and parameters and the code that is loaded now; made if missing.

    Of several machines all get what the first's holds: it alone says from where a killed run goes on.

    Raises:
        InputError: an input is missing, or another machine's are not the same.
    """
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(Path(module.__file__) for module in _project_modules()):
        digest.update(file.read_bytes())
    for block in params:
        tree = block if isinstance(block, str) else block.model_dump(mode="json")
        digest.update(json.dumps(tree, sort_keys=True).encode())
    for path in inputs:
        digest.update(content_digest(path).encode())
    folder = cache_dir() / "unfinished" / f"{stage}-{digest.hexdigest()}"
    agree(folder.name, "code, parameters or inputs")
    folder.mkdir(parents=True, exist_ok=True)
    if names := os.environ.get(LISTED):
        with Path(names).open("a", encoding="utf-8") as listed:
            listed.write(f"{folder.name}\n")
    share(folder)
    return folder


def clear(folder: Path) -> None:
    """Remove a workspace once its result is in place."""
    processes.wait()  # others may still read in it
    shutil.rmtree(folder, ignore_errors=True)


def cache_dir() -> Path:
    """`STILLHOUSE_CACHE`, else `.cache`: what may be deleted at any time, at the price of computing it again."""
    return Path(os.environ.get("STILLHOUSE_CACHE", ".cache"))


def content_digest(path: Path) -> str:
    """Digest of a file, or of a folder's names and contents.

    Raises:
        InputError: there is nothing at `path`.
    """
    if not path.exists():
        raise InputError(f"'{path}' is missing: run the stage that makes it")
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(str(file.relative_to(path)).encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()


def _project_modules() -> list:
    return [m for name, m in sys.modules.items() if name.split(".")[0] in CODE and getattr(m, "__file__", None)]
