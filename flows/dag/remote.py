"""DVC's default remote, shared by runners: a stage that another has run is pulled, and what is made here is pushed.

`dvc repro --pull` does the first. `dvc push --run-cache` would do the second, but holds DVC's repository lock until all
is sent, so that no other stage starts or ends, and sends only the outputs that dvc.lock names now. Here, each entry of
the run cache that the remote lacks is sent after its outputs, without the lock. So the next push sends what a remote
that was away or a flow that was killed left over, and every entry in the remote has its outputs there.
"""

import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.secrets import hidden

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

STORES = ("botocore", "aiobotocore", "asyncssh")  # libraries whose errors are no OSError when a server is away
GRACE = 10.0  # seconds between asking a push to end and killing it


class Remote:
    """The remote of one flow.

    Attributes:
        asked: whether stages still look for their outputs there; no longer once it was away.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked = True
        self._pushes = ThreadPoolExecutor(1, thread_name_prefix="push")
        self._last: Future[str] | None = None
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def give_up(self, reason: str) -> None:
        """Stop using it in this flow, and say so once."""
        with self._lock:
            if self.asked:
                print(f"remote: cannot be used, going on without it: {reason}", flush=True)
            self.asked = False

    def push_soon(self) -> None:
        """Send what is new while stages run; one push that has not started yet is enough for all."""
        with self._lock:
            if not self._stopped and (self._last is None or self._last.running() or self._last.done()):
                self._last = self._pushes.submit(self._push)

    def finish(self) -> None:
        """Send what this run and earlier ones have left."""
        self.push_soon()
        self._pushes.shutdown()

    def send(self) -> None:
        """Send all that is new, now.

        Raises:
            ConnectionError: not all could be sent.
        """
        if fault := self._push():
            raise ConnectionError(f"not all was pushed: {fault}")

    def stop(self) -> None:
        """End a push that runs; the next flow sends the rest."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process and process.poll() is None:
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
        self._pushes.shutdown(cancel_futures=True)

    def _push(self) -> str:
        """Why not all was sent; empty where it was, or where nothing is to be sent any more."""
        with self._lock:
            if self._stopped:
                return ""
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows.dag.remote"],
                cwd=self.root,
                env=program.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # Ctrl-C is for the flow, which ends this one in order.
                start_new_session=True,
            )
        said, _ = self._process.communicate()
        lines = [line for line in said.splitlines() if line.strip()]
        if self._process.returncode and not self._stopped:
            reason = hidden(lines[-1]).removeprefix("error: ") if lines else "no message"
            print(f"remote: not all was pushed, the next run sends the rest: {reason}", flush=True)
            return reason
        if lines:
            print(f"remote: {hidden(lines[-1])}", flush=True)
        return ""


def is_away(error: Exception) -> bool:
    """Whether a remote cannot be used: its libraries have errors of their own."""
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in STORES


def remote_of(root: Path) -> Remote | None:
    """The project's default remote; None where it has none."""
    from dvc.config import Config

    return Remote(root) if Config(dvc_dir=str(root / ".dvc"))["core"].get("remote") else None


def main() -> None:
    """Send what the default remote lacks of the run cache."""
    from dvc.config import NoRemoteError
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            sent, left = push(repo)
    except NotDvcRepoError:
        raise InputError(f"{Path.cwd()}: not a DVC project: run from its folder") from None
    except NoRemoteError:
        raise InputError("DVC has no default remote: dvc remote add --default NAME URL") from None
    except Exception as error:
        if not is_away(error):
            raise
        raise ConnectionError(f"the remote cannot be used: {type(error).__name__}: {error}") from error
    if sent:
        print(f"{sent} new results pushed")
    if left:
        raise ConnectionError(f"{left} results could not be sent")


def push(repo: "Repo") -> tuple[int, int]:
    """Send the entries of the run cache that the remote lacks, each after its outputs; how many, and how many not."""
    from dvc_objects.fs.generic import copy

    cache = repo.cache.legacy
    remote = repo.cloud.get_remote_odb(None, "push", hash_name="md5-dos2unix")
    sent = left = 0
    for entry in sorted(_entries(cache) - _entries(remote)):
        _, _, key, value = entry.split("/")
        outputs = repo.stage_cache.get_used_objs([(key, value)])
        if any(repo.cloud.push(objects, odb=odb).failed for odb, objects in outputs.items()):
            left += 1
            continue
        copy(cache.fs, cache.fs.join(cache.path, entry), remote.fs, remote.fs.join(remote.path, entry))
        sent += 1
    return sent, left


def _entries(odb: "HashFileDB") -> set[str]:
    """`runs/KEY[:2]/KEY/VALUE` of all runs: KEY hashes a stage's command and inputs, VALUE its outputs too."""
    runs = odb.fs.join(odb.path, "runs")
    if not odb.fs.exists(runs):
        return set()
    found = (odb.fs.as_posix(odb.fs.relpath(path, odb.path)) for path in odb.fs.find(runs))
    return {path for path in found if path.count("/") == 3 and not path.endswith(".tmp")}


if __name__ == "__main__":
    program.run(main)
