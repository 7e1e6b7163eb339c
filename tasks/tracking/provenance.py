"""Where something came from: the git commit, and DVC's hashes of what was read."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stillhouse.errors import InputError
from tasks.stage.params import PARAMS
from tasks.stage.workspace import CODE
from tasks.tracking.store import COPIES

LOCK = Path("dvc.lock")


def git_tags() -> dict[str, str]:
    """The commit, and whether tracked files differ from it; empty outside a git repository."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}
    # Every stage writes dvc.lock: counting it would call every run dirty.
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{LOCK}")
    return {"git_commit": commit, "git_dirty": str(bool(changed)).lower()}


def commit_of(root: Path) -> str:
    """The commit that is checked out; empty outside a git repository."""
    return _git("rev-parse", "HEAD", here=root)


def changed_code(root: Path) -> list[str]:
    """What of the project differs from its commit, but for params.yaml and dvc.lock; of new files only modules."""
    tracked = ["--untracked-files=no", "--", ".", f":!{LOCK}", f":!{PARAMS}"]
    new = ["--untracked-files=all", "--", *(f"{package}/*.py" for package in CODE)]
    lines = [line for which in (tracked, new) for line in _git("status", "--porcelain", *which, here=root).splitlines()]
    return sorted({line.split(maxsplit=1)[1] for line in lines})


def data_tags(reads: Sequence[Path], lock: Path = LOCK) -> dict[str, str]:
    """`md5.PATH` for each of `reads` that is an output of a stage, or lies in one."""
    hashes = dvc_hashes(lock)
    tags = {}
    for path in reads:
        for part in (path, *path.parents):
            if digest := hashes.get(part.as_posix()):
                tags[f"md5.{part.as_posix()}"] = digest
                break
    return tags


def dvc_hashes(lock: Path = LOCK) -> dict[str, str]:
    """The md5 of every output in a dvc.lock, by its path; empty where there is no such file yet.

    Raises:
        InputError: the file is damaged.
    """
    for _ in range(20):
        try:
            # The parser that DVC reads it with: the pure one takes two seconds for that of all recipes.
            tree = YAML(typ="safe").load(lock.read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            return {}
        except YAMLError:
            # A stage that ends at the same moment is writing it, in place.
            time.sleep(0.1)
            continue
        outs = [out for stage in tree.get("stages", {}).values() for out in stage.get("outs", ())]
        return {out["path"]: out["md5"] for out in outs if "md5" in out}
    raise InputError(f"{lock}: not valid YAML: restore it from version control, then run dvc repro")


def project(here: Path) -> Path:
    """The folder that git knows: of a copy, which git ignores, the project that it is of."""
    return next((place.parent for place in (here, *here.parents) if place.name in COPIES), here)


def _git(*arguments: str, here: Path | None = None) -> str:
    where = project(here or Path.cwd())
    try:
        done = subprocess.run(["git", *arguments], cwd=where, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
