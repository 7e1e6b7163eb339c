"""Copies of the project, below it, in which stages run with parameters of their own.

The project's files stay as they are. A copy shares the project's DVC cache, run cache and MLflow store. It is no git
repository: git ignores the folder.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import psutil

from stillhouse.errors import InputError
from tasks.stage.outputs import fresh_file
from tasks.stage.outside import SOURCES, value_at

ASK_AGAIN = 1.0  # seconds


def fill(root: Path, folder: Path, tree: Mapping[str, Any], kept: Collection[Path] = ()) -> None:
    """Make a folder below the project in `root` a copy of it, or bring that up to date: what git tracks, or would.

    Args:
        tree: of the copy's params.yaml, whose relative sources lead to the project's files.
        kept: files that stay as they are where the copy has them.

    Raises:
        InputError: no git repository, or a source is a path that the copy cannot have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in _files(root):
        if path in kept and (folder / path).exists():
            continue
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with fresh_file(folder / path) as draft:
            shutil.copy(root / path, draft)
    _share_cache(root, folder)
    for key in SOURCES:
        _link(root, folder, key, value_at(tree, key))


def wait_until_quiet(folder: Path) -> None:
    """Wait until no process works below a folder.

    A stage whose flow was killed goes on until it next says something. DVC notes the parameters that stand there when
    it ends: with others by then, it would keep a model under numbers that it was not trained with.
    """
    told = False
    while names := [
        process.info["name"] for process in psutil.process_iter(["name", "cwd"]) if _below(process, folder)
    ]:
        if not told:
            print(f"waiting for what was left running ({', '.join(names)}) in {folder}", flush=True)
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
        raise InputError(f"{key} = '{value}' leads out of the project: give an absolute path, as copies need")
    if not (folder / path).exists():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to((root / path).resolve())
