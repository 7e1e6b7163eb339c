"""Outputs appear whole or not at all: written to a hidden sibling, renamed at the end.

Of several processes that make the same, the first's are kept. What is written is noted in `.cache/written`, so that a
person's own files in an output's place are told from a stage's, and stay.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stillhouse.errors import InputError
from stillhouse.training import processes
from tasks.stage.workspace import cache_dir

FORGET = 3600.0  # seconds after which a note of what is not there any more goes: a folder is noted before it is there


@contextmanager
def fresh_dir(out: Path) -> Iterator[Path]:
    """Give an empty folder next to `out`; on success it takes the place of `out`, on any error it is removed.

    Raises:
        InputError: in `out` is what nobody wrote by this function: it would be lost.
    """
    if not processes.is_first():
        with tempfile.TemporaryDirectory() as unread:
            yield Path(unread)
        return
    _refuse_own_files(out)
    temporary = _sibling(out)
    temporary.mkdir()
    try:
        yield temporary
        _refuse_own_files(out)  # hours later
        _note(temporary, out)
        if out.exists():
            shutil.rmtree(out)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def fresh_file(out: Path) -> Iterator[Path]:
    """Give a path next to `out` to write to; on success it takes the place of `out`, on any error it is removed."""
    if not processes.is_first():
        with tempfile.TemporaryDirectory() as unread:
            yield Path(unread) / out.name
        return
    temporary = _sibling(out)
    try:
        yield temporary
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def _refuse_own_files(out: Path) -> None:
    """Raise for a file in a folder that is to be replaced, and that no program of this clone wrote as it is."""
    if own := own_files(out):
        raise InputError(
            f"'{own[0]}' was not written by this project, and would be lost with '{out}': move it elsewhere, "
            "or name another folder"
        )


def own_files(out: Path) -> list[Path]:
    """What is in a folder and was not written here as it is now: a person's files, or what DVC checked out.

    Nothing is a person's in the cache, which may be deleted at any time.
    """
    if not out.is_dir() or _place(out).is_relative_to(cache_dir().resolve()):
        return []
    noted = _noted(out)
    found = (path for path in sorted(out.rglob("*")) if path.is_symlink() or not path.is_dir())
    return [path for path in found if noted.get(str(path.relative_to(out))) != _looks(path)]


def _note(written: Path, out: Path) -> None:
    """Note the files of a folder that is about to become `out`."""
    notes = cache_dir() / "written"
    notes.mkdir(parents=True, exist_ok=True)
    for old in notes.glob("*.json"):
        _forget(old)
    files = {str(path.relative_to(written)): _looks(path) for path in written.rglob("*") if not path.is_dir()}
    place = _note_of(out)
    draft = place.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"of": str(_place(out)), "files": files}), encoding="utf-8")
    draft.replace(place)


def _forget(old: Path) -> None:
    try:
        if time.time() - old.stat().st_mtime > FORGET and not Path(json.loads(old.read_bytes())["of"]).exists():
            old.unlink()
    except (FileNotFoundError, ValueError):
        return  # another process was quicker


def _noted(out: Path) -> dict[str, list[int]]:
    try:
        return dict(json.loads(_note_of(out).read_bytes())["files"])
    except (FileNotFoundError, ValueError):
        return {}


def _note_of(out: Path) -> Path:
    name = hashlib.blake2b(str(_place(out)).encode(), digest_size=8).hexdigest()
    return cache_dir() / "written" / f"{name}.json"


def _place(out: Path) -> Path:
    return out.parent.resolve() / out.name


def _looks(path: Path) -> list[int]:
    """Size and time of a file: a rename keeps them."""
    found = path.lstat()
    return [found.st_size, found.st_mtime_ns]


def _sibling(out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    for stale in out.parent.glob(f".{out.name}.*.tmp"):
        pid = stale.name.split(".")[-2]
        if pid.isdigit() and alive(int(pid)) and int(pid) != os.getpid():
            raise InputError(f"'{out}' is being written by process {pid}: wait for it, or stop it first")
        # A killed run could not clean up after itself.
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    return out.with_name(f".{out.name}.{os.getpid()}.tmp")


def alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
