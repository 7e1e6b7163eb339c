"""Where something came from: the git commit, and DVC's hashes of what was read."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stillhouse.errors import InputError
from tasks.tracking.store import SEARCHES

LOCK = Path("dvc.lock")


def git_tags() -> dict[str, str]:
    """The commit, and whether tracked files differ from it; empty outside a git repository."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}
    # Every stage writes dvc.lock: counting it would call every run dirty.
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{LOCK}")
    return {"git_commit": commit, "git_dirty": str(bool(changed)).lower()}


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


def _project() -> Path:
    """The folder that git knows: of a search's copy, which git ignores, the project that it is of."""
    here = Path.cwd()
    return next((place.parent for place in (here, *here.parents) if place.name == SEARCHES.name), here)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=_project(), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
