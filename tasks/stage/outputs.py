"""Outputs appear whole or not at all: written to a hidden sibling, renamed at the end.

Of several processes that make the same, the first's are kept.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stillhouse.errors import InputError
from stillhouse.training import processes


@contextmanager
def fresh_dir(out: Path) -> Iterator[Path]:
    """Give an empty folder next to `out`; on success it takes the place of `out`, on any error it is removed."""
    if not processes.is_first():
        with tempfile.TemporaryDirectory() as unread:
            yield Path(unread)
        return
    temporary = _sibling(out)
    temporary.mkdir()
    try:
        yield temporary
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
