"""DVC's cache and its remote: reachable, writable; and the disks that they and the project lie on."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo

from flows.checks.finding import (
    PATIENCE,
    Finding,
    Setup,
    check_writable,
    existing_parent,
    fault,
    ok,
    reason,
    warning,
    within,
)

PROBE = b"stillhouse: written by a check, to be deleted\n"
FULL, TIGHT = 10**8, 10**9  # bytes free, below which a disk is a fault, a warning


def cache(setup: Setup) -> Iterator[Finding]:
    """The cache can be written."""
    folder = cache_folder(setup.root)
    try:
        check_writable(folder)
    except OSError as error:
        yield fault("cache", f"'{folder}' cannot be written ({reason(error)})", "free it, or dvc cache dir FOLDER")
        return
    yield ok("cache", f"{folder} can be written")


def disk(setup: Setup) -> Iterator[Finding]:
    """Room on each disk that the project writes to."""
    folders = {existing_parent(path) for path in (setup.root, cache_folder(setup.root))}
    for folder in {path.stat().st_dev: path for path in sorted(folders, reverse=True)}.values():
        free = shutil.disk_usage(folder).free
        text = f"{free / 1e9:.1f} GB free at {folder}" if free >= 1e8 else f"{free / 1e6:.1f} MB free at {folder}"
        remedy = "free some (dvc gc --workspace), or dvc cache dir on another disk"
        if free < FULL:
            yield fault("disk", text, remedy)
        elif free < TIGHT:
            yield warning("disk", f"{text}: that is tight", remedy)
        else:
            yield ok("disk", text)


def remote(setup: Setup) -> Iterator[Finding]:
    """The default remote takes a file, gives it back, and deletes it, through DVC's own file system."""
    with Repo(str(setup.root)) as repo:
        name = repo.config["core"].get("remote")
        if not name:
            yield warning(
                "remote",
                "no default remote: what is made here stays here",
                "to share it, dvc remote add -d NAME URL, then python -m flows.dag.remote",
            )
            return
        remedy = f"correct it (dvc remote modify {name} …), its credentials, or the network"
        try:
            found = repo.cloud.get_remote()
        except DvcException as error:
            yield fault("remote", f"'{name}' cannot be used ({reason(error)})", remedy)
            return
        except ImportError as error:
            yield fault("remote", f"'{name}': {error}", "pip install -c constraints.txt what it names")
            return
        url = repo.config["remote"][name].get("url", "")
        if found.fs.protocol == "local" and not Path(found.path).exists():
            yield _new_folder(name, Path(found.path))
            return
        try:
            _write_read_delete(found.fs, found.fs.join(found.path, f".stillhouse-doctor-{uuid.uuid4().hex}"))
        except TimeoutError:
            yield fault("remote", f"'{name}' ({url}) does not answer in {PATIENCE:.0f} s", remedy)
        except NotImplementedError:
            # fsspec raises this for what a kind of remote cannot do at all, such as deleting over plain http. It is
            # a warning, not a fault: flows only fetch and send, and report what could not be sent.
            yield warning("remote", f"'{name}' ({url}): this kind of remote gives no file back or deletes none", remedy)
        except Exception as error:  # noqa: BLE001 - each kind of remote has a library with errors of its own
            yield fault("remote", f"'{name}' ({url}) cannot be written and read ({reason(error)})", remedy)
        else:
            yield ok("remote", f"'{name}' ({url}): written, read back, deleted")


def cache_folder(root: Path) -> Path:
    """DVC's cache of what stages made."""
    with Repo(str(root)) as repo:
        return Path(repo.cache.local.path)


def _new_folder(name: str, folder: Path) -> Finding:
    """A local remote that does not exist: DVC would make it, even where its disk is not mounted."""
    try:
        check_writable(folder)
    except OSError as error:
        return fault(
            "remote", f"'{name}' ({folder}) cannot be made ({reason(error)})", f"dvc remote modify {name} url …"
        )
    above = existing_parent(folder)
    return warning("remote", f"'{name}' ({folder}) is not there", f"mount it, or let the first push make it in {above}")


def _write_read_delete(fs: Any, file: str) -> None:
    """Do what DVC does to push and pull: put a local file into a folder, which is made if missing, and read it.

    Raises:
        TimeoutError: one of the steps took too long. And whatever the file system raises.
    """
    with tempfile.NamedTemporaryFile() as probe:
        probe.write(PROBE)
        probe.flush()
        within(PATIENCE, lambda: fs.makedirs(fs.parent(file)))
        within(PATIENCE, lambda: fs.put_file(probe.name, file))
    try:
        if within(PATIENCE, lambda: fs.cat_file(file)) != PROBE:
            raise OSError("it gives back other bytes than it was given")
    finally:
        within(PATIENCE, lambda: fs.remove(file))
