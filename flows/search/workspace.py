"""Where trials run: a copy of the project beside it, which shares its DVC cache, run cache and MLflow store.

One copy serves all trials of a search, one after the other, each with a params.yaml of its own: what two of them have
in common is up to date for the second, and what the project has made already is taken from the cache. The project's
own params.yaml, dvc.lock, models and reports stay as they are.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from stillhouse.errors import InputError
from tasks.stage.outputs import fresh_file
from tasks.stage.outside import SOURCES, value_at
from tasks.stage.params import PARAMS
from tasks.tracking.provenance import LOCK
from tasks.tracking.store import SEARCHES

ASK_AGAIN = 1.0  # seconds
KEPT = (LOCK, PARAMS)  # the copy's own, once it has them


def make(root: Path, name: str, tree: dict[str, Any]) -> Path:
    """The copy of the project in `root` for the search of this name, made or brought up to date.

    Args:
        tree: of the project's params.yaml.

    Raises:
        InputError: no git repository, or a source of params.yaml is a path that the copy cannot have.
    """
    folder = root / SEARCHES / name / "project"
    folder.mkdir(parents=True, exist_ok=True)
    for path in _files(root):
        if path in KEPT and (folder / path).exists():
            continue
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with fresh_file(folder / path) as draft:
            shutil.copy(root / path, draft)
    if (root / LOCK).exists() and not (folder / LOCK).exists():
        with fresh_file(folder / LOCK) as draft:
            shutil.copy(root / LOCK, draft)
    _share_cache(root, folder)
    for key in SOURCES:
        _link(root, folder, key, value_at(tree, key))
    return folder


def write_params(file: Path, tree: dict[str, Any]) -> None:
    """Write parameters as a params.yaml."""
    with fresh_file(file) as draft:
        draft.write_text(json.dumps(tree, indent=1), encoding="utf-8")  # which is YAML, and read faster


def wait_until_quiet(folder: Path) -> None:
    """Wait until no process works below a folder.

    A stage whose search was killed goes on until it next says something. DVC notes the parameters that stand there when
    it ends: with others by then, it would keep a model under numbers that it was not trained with.
    """
    told = False
    while names := [
        process.info["name"] for process in psutil.process_iter(["name", "cwd"]) if _below(process, folder)
    ]:
        if not told:
            print(f"waiting for what a search before has left running ({', '.join(names)})", flush=True)
            told = True
        time.sleep(ASK_AGAIN)


def _below(process: psutil.Process, folder: Path) -> bool:
    # Other users' processes do not say where they are.
    where = process.info["cwd"]
    return bool(where) and process.pid != os.getpid() and Path(where).is_relative_to(folder.resolve())


def _files(root: Path) -> list[Path]:
    """What git tracks, and what it would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{root}: no git repository, so what belongs to the project is not known: git init")
    # What was deleted and not committed is listed too.
    return [path for path in map(Path, filter(None, done.stdout.split("\0"))) if (root / path).is_file()]


def _share_cache(root: Path, folder: Path) -> None:
    from configobj import ConfigObj
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        cache = Path(repo.stage_cache.cache_dir).parent
        # A relative one would lead elsewhere from the copy; as DVC has read them they are whole.
        remotes = {name: remote["url"] for name, remote in repo.config["remote"].items()}
    local = root / ".dvc" / "config.local"  # the key of a remote, say
    with fresh_file(folder / ".dvc" / "config.local") as draft:
        draft.touch(0o600)
        config = ConfigObj(str(local) if local.exists() else None)
        config.filename = str(draft)
        config.setdefault("core", {})["no_scm"] = "true"
        # Links, since a copy of each model would fill the disk; stages replace files and never change them.
        config.setdefault("cache", {}).update({"dir": str(cache), "type": "reflink,hardlink,copy"})
        for name, url in remotes.items():
            config.setdefault(f'remote "{name}"', {})["url"] = url
        config.write()


def _link(root: Path, folder: Path, key: str, value: Any) -> None:
    """Let a relative path of params.yaml lead to the project's file or folder from the copy as well."""
    path = Path(value) if isinstance(value, str) else None
    if path is None or path.is_absolute() or value.startswith("~") or not (root / path).exists():
        return
    if ".." in path.parts:
        raise InputError(f"{key} = '{value}' leads out of the project: give an absolute path to search with it")
    if not (folder / path).exists():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to((root / path).resolve())
