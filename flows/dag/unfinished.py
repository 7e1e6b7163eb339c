"""The checkpoints of a stage that a runner did not finish, in the DVC remote: the next runner goes on from them.

A stage keeps them in its workspace, whose name says what it computes (`tasks.stage.workspace`), on its runner. From
there they go to `unfinished/KEY` of the remote, where KEY is what DVC's run cache knows the stage's result by: whenever
the runner is stopped, and every STILLHOUSE_SEND_CHECKPOINTS seconds while the stage works, for a machine may die. One
archive a key; it goes once the result is there, and after two weeks in which nobody finished the stage.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flows.dag.fetched import key_of
from flows.dag.graph import reading
from flows.dag.remote import is_away
from stillhouse.errors import InputError
from stillhouse.training.checkpoints import last_checkpoint
from tasks.stage import program
from tasks.stage.secrets import hidden
from tasks.stage.workspace import LISTED

if TYPE_CHECKING:
    from dvc.fs import FileSystem
    from dvc.repo import Repo

EVERY = "STILLHOUSE_SEND_CHECKPOINTS"
USUALLY = 600  # seconds
UNFINISHED = "unfinished"  # the folder's name here and there
KEPT = 14 * 24 * 3600.0  # seconds
ARCHIVE = re.compile(r"(?P<milliseconds>\d{13})-(?P<sha256>[0-9a-f]{64})\.zip")
# A file of a workspace, as `workspace` names it; no part begins with a dot, so none leads out.
MEMBER = re.compile(r"(?P<workspace>\w[\w.@-]*-[0-9a-f]{16})(/\w[\w.@+-]*)+")
TRIES = 5  # of a snapshot beside a stage that replaces its checkpoints meanwhile


class Unfinished:
    """The checkpoints of one stage that a runner runs.

    Args:
        root: the copy of the project that the stage runs in.
        name: the stage's.
        cache: where stages of this runner keep their workspaces.
    """

    def __init__(self, root: Path, name: str, cache: Path) -> None:
        self.root, self.name, self.folder = root, name, cache / UNFINISHED
        self.key = key_of(root, name)
        self.list = self.folder / f".of-{os.getpid()}"
        self._sent: tuple[str, ...] = ()

    def bring(self) -> None:
        """Take up what another runner has sent, unless this one has newer itself."""
        self._try(partial(bring, to=self.folder))

    @contextmanager
    def sent(self) -> Iterator[dict[str, str]]:
        """The variables of a stage whose checkpoints are sent while it works, and when it is stopped or may try again.

        What ends well has none left; what failed for good would fail again from them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        done = threading.Event()
        # In this context, in which Prefect finds what is printed.
        words = (self._send_now_and_then, done, seconds_between())
        sender = threading.Thread(target=copy_context().run, args=words)
        sender.start()
        try:
            yield {LISTED: str(self.list)}
        except BaseException as end:
            done.set()
            sender.join()
            if getattr(end, "transient", True):
                self._send()
            raise
        finally:
            done.set()
            sender.join()
            self.list.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what was sent: the result is there."""
        self._try(clear)

    def _send_now_and_then(self, done: threading.Event, seconds: float) -> None:
        while not done.wait(seconds or None):
            self._send()

    def _send(self) -> None:
        names = self.list.read_text(encoding="utf-8").split() if self.list.exists() else []
        folders = [folder for name in dict.fromkeys(names) if (folder := self.folder / name).is_dir()]
        try:
            state = tuple(f"{path} {path.stat().st_mtime_ns}" for folder in folders for path in worth_sending(folder))
        except FileNotFoundError:
            return  # the stage replaces a checkpoint right now: the next look finds the new one
        if not self.key or not state or state == self._sent:
            return
        self._sent = state
        done = subprocess.run(
            [sys.executable, "-m", "flows.dag.unfinished", self.key, *map(str, folders)],
            cwd=self.root,
            env=program.environment(),
            capture_output=True,
            text=True,
            check=False,
            # A runner that is stopped is given seconds, its last checkpoint may take a minute.
            start_new_session=True,
        )
        lines = hidden(done.stdout + done.stderr).strip().splitlines()
        if done.returncode:
            reason = (lines or ["no message"])[-1].removeprefix("error: network: ")
            self._say_away(reason.removesuffix("; run the same command again"))
        elif lines:
            print(f"[{self.name}] {lines[-1]}", flush=True)

    def _try(self, ask: Callable[["FileSystem", str], str]) -> None:
        """Ask the remote something, and print its line; a remote that is away stops nothing."""
        if not self.key:
            return
        try:
            with reading(self.root) as repo:
                line = ask(*_place(repo, self.key))
        except Exception as error:
            if not is_away(error):
                raise
            self._say_away(f"the remote cannot be used: {type(error).__name__}: {error}")
        else:
            if line:
                print(f"[{self.name}] {line}", flush=True)

    def _say_away(self, reason: str) -> None:
        print(f"[{self.name}] its checkpoints do not travel: {hidden(reason)}", flush=True)


def seconds_between() -> float:
    """How long a runner waits between two sends; 0: it sends when it is stopped alone.

    Raises:
        InputError: the variable is no number of seconds.
    """
    given = os.environ.get(EVERY, str(USUALLY))
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < threading.TIMEOUT_MAX:
        raise InputError(f"{EVERY} = {given!r}: give seconds, or 0: only when a runner is stopped")
    return seconds


def worth_sending(folder: Path) -> list[Path]:
    """A workspace's files, in order: of each training the newest whole checkpoint, and all that is no checkpoint."""
    trainings = {path.parent for path in folder.rglob("checkpoint-*")}
    newest = {last_checkpoint(training) for training in trainings}
    files = []
    for path in sorted(folder.rglob("*")):
        within = [parent for parent in path.parents if parent.parent in trainings and parent.match("checkpoint-*")]
        # What is being written has a name with a dot in front.
        drafts = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and newest.issuperset(within) and not drafts:
            files.append(path)
    return files


def pack(folders: list[Path], archive: Path) -> bool:
    """Write workspaces into an archive; False where there is nothing to send.

    Raises:
        FileNotFoundError: a stage went on replacing what was read.
    """
    for left in reversed(range(TRIES)):
        try:
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
                for folder in folders:
                    for path in worth_sending(folder):
                        packed.write(path, path.relative_to(folder.parent).as_posix())
                return bool(packed.namelist())
        except FileNotFoundError:
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def unpack(archive: Path, sent: float, to: Path) -> list[str]:
    """Put an archive's workspaces into a folder, but for those that were worked in here later; the names of those put.

    Args:
        sent: when, in seconds since the epoch.
    """
    put = []
    with zipfile.ZipFile(archive) as packed:
        members: dict[str, list[str]] = {}
        for name in packed.namelist():
            if found := MEMBER.fullmatch(name):
                members.setdefault(found["workspace"], []).append(name)
        for workspace, names in members.items():
            place = to / workspace
            here = max((path.stat().st_mtime for path in place.rglob("*")), default=0.0)
            if here >= sent:
                continue
            draft = to / f".{workspace}.{os.getpid()}.tmp"
            for name in names:
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                with packed.open(name) as member, (draft / name).open("wb") as file:
                    shutil.copyfileobj(member, file)
            shutil.rmtree(place, ignore_errors=True)
            (draft / workspace).rename(place)
            draft.rmdir()
            put.append(workspace)
    return put


def send(fs: "FileSystem", place: str, folders: list[Path]) -> str:
    """Replace the archive at a place of the remote; a line about it."""
    with tempfile.TemporaryDirectory(dir=folders[0].parent, prefix=".send-") as scratch:
        archive = Path(scratch) / "archive"
        if not pack(folders, archive):
            return ""
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{time.time_ns() // 10**6:013d}-{digest}.zip"
        fs.makedirs(place, exist_ok=True)
        fs.put_file(str(archive), fs.join(place, name))
        size = archive.stat().st_size
    clear(fs, place, but=name)
    return f"its checkpoint was sent, {size / 1e6:.1f} MB"


def bring(fs: "FileSystem", place: str, to: Path) -> str:
    """Unpack the newest whole archive at a place of the remote; a line about it."""
    for name, sent, digest in reversed(archives(fs, place)):
        to.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to, prefix=".bring-") as scratch:
            archive = Path(scratch) / "archive"
            fs.get_file(fs.join(place, name), str(archive))
            with archive.open("rb") as file:
                # Its runner may have died while it sent it.
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    continue
            put = unpack(archive, sent, to)
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(sent))
        return f"goes on from the checkpoint that another runner sent at {when}" if put else ""
    return ""


def clear(fs: "FileSystem", place: str, but: str = "") -> str:
    """Remove the archives at a place, and whatever nobody finished in two weeks at those beside it; no line."""
    for name, _, _ in archives(fs, place):
        if name != but:
            fs.remove(fs.join(place, name))
    beside = fs.parent(place)
    for path in fs.find(beside) if fs.exists(beside) else ():
        found = ARCHIVE.fullmatch(fs.name(path))
        if found and time.time() - int(found["milliseconds"]) / 1000 > KEPT:
            fs.remove(path)
    return ""


def archives(fs: "FileSystem", place: str) -> list[tuple[str, float, str]]:
    """Name, time in seconds since the epoch and digest of each archive at a place, the oldest first."""
    names = [fs.name(path) for path in fs.find(place)] if fs.exists(place) else []
    found = [match for name in sorted(names) if (match := ARCHIVE.fullmatch(name))]
    return [(each[0], int(each["milliseconds"]) / 1000, each["sha256"]) for each in found]


def _place(repo: "Repo", key: str) -> tuple["FileSystem", str]:
    """Where in the default remote a stage's archive lies."""
    remote = repo.cloud.get_remote_odb(None, UNFINISHED, hash_name="md5-dos2unix")
    return remote.fs, remote.fs.join(remote.path, UNFINISHED, key)


def main() -> None:
    """Send the checkpoints of a stage to the default remote of the project in this folder."""
    from dvc.repo import Repo

    parser = ArgumentParser("flows.dag.unfinished", description=main.__doc__)
    parser.add_argument("key", help="of the stage in DVC's run cache")
    parser.add_argument("folders", nargs="+", type=Path, help="its workspaces")
    args = parser.parse_args()
    try:
        with Repo() as repo:
            print(send(*_place(repo, args.key), args.folders))
    except Exception as error:
        if not is_away(error):
            raise
        raise ConnectionError(f"the remote cannot be used: {type(error).__name__}: {error}") from error


if __name__ == "__main__":
    program.run(main)
