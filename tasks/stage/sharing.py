"""What the first of several machines has in its cache, the others get: they need not share a disk.

Checkpoints, scores and cached logits are written by the first process of all. Before any of it is read, every process
calls `share`. On a disk that the machines do share, all have the same already, and nothing is sent.
"""

import hashlib
import json
from pathlib import Path

from stillhouse.errors import InputError
from stillhouse.training import processes

PIECE = 2**25  # bytes of a file that are sent at a time


def agree(name: str, what: str) -> None:
    """See that all machines have the same; every process must call it.

    Args:
        name: that stands for it.
        what: it is.

    Raises:
        InputError: this machine, or another, has something else than the first.
    """
    if processes.machines() == 1:
        return
    differs = processes.said_by(0, name.encode()) != name.encode()
    here = [differs and number == processes.machine() for number in range(processes.machines())]
    if any(found := processes.any_of_each(here)):
        names = ", ".join(str(number) for number, each in enumerate(found) if each)
        raise InputError(f"machine {names} has other {what} than machine 0: give both the same")


def share(path: Path) -> None:
    """Give all machines what the first has at a place in its cache: a file, a folder or nothing.

    Every process must call it. What another machine has there besides is removed: it is from a run that the first knows
    nothing of.
    """
    if processes.machines() == 1:
        return
    processes.wait()  # the first may still be writing it
    listed: dict[str, str] = json.loads(processes.said_by(0, json.dumps(_digests(path)).encode()))
    writes = processes.is_first_here() and not processes.is_first()
    mine = _digests(path) if writes else listed
    for name in mine.keys() - listed.keys():
        (path / name).unlink(missing_ok=True)
    if writes:
        _remove_empty(path)
    lacking = [mine.get(name) != digest for name, digest in listed.items()]
    for name, mine_lacks, sent in zip(listed, lacking, processes.any_of_each(lacking), strict=True):
        if sent:
            _send(path / name, mine_lacks)
    processes.wait()


def _remove_empty(path: Path) -> None:
    """Folders in which nothing is left: whether a folder is there says whether its contents were made."""
    for folder in sorted((one for one in path.rglob("*") if one.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def _send(file: Path, takes: bool) -> None:
    """A file of the first process, to those that take it."""
    size = int(processes.said_by(0, str(file.stat().st_size if processes.is_first() else 0).encode()))
    draft = file.with_name(f"{file.name}.arriving")
    if takes:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(b"")
    for start in range(0, size, PIECE):
        piece = processes.said_by(0, _piece(file, start) if processes.is_first() else b"")
        if takes:
            with draft.open("ab") as stream:
                stream.write(piece)
    if takes:
        draft.replace(file)


def _piece(file: Path, start: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(start)
        return stream.read(PIECE)


def _digests(path: Path) -> dict[str, str]:
    """Of each file of a folder, by its place there; of a file alone as '.'."""
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
    found = {}
    for file in files:
        with file.open("rb") as stream:
            found[str(file.relative_to(path))] = hashlib.file_digest(stream, "blake2b").hexdigest()
    return found
