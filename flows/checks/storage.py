"""DVC's cache and its remote: reachable, writable."""

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


def cache(setup: Setup) -> Iterator[Finding]:
    """The cache takes files."""
    folder = cache_folder(setup.root)
    try:
        check_writable(folder)
    except OSError as error:
        yield fault("cache", f"'{folder}' cannot be written ({reason(error)})", "free it, or dvc cache dir FOLDER")
        return
    yield ok("cache", f"{folder} can be written")


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
            # fsspec's word for what a kind of remote cannot do at all, such as deleting over plain http. It is shown
            # as a warning, not a fault: flows only fetch and send, and say themselves what could not be sent.
            yield warning("remote", f"'{name}' ({url}): this kind of remote gives no file back or deletes none", remedy)
        except Exception as error:  # noqa: BLE001 - each kind of remote has a library with errors of its own
            yield fault("remote", f"'{name}' ({url}) cannot be written and read ({reason(error)})", remedy)
        else:
            yield ok("remote", f"'{name}' ({url}): written, read back, deleted")


def cache_folder(root: Path) -> Path:
    """Where DVC keeps what stages made."""
    with Repo(str(root)) as repo:
        return Path(repo.cache.local.path)


def _new_folder(name: str, folder: Path) -> Finding:
    """A local remote that is not there: DVC would make it, even where a disk is missing that should be mounted."""
    try:
        check_writable(folder)
    except OSError as error:
        return fault(
            "remote", f"'{name}' ({folder}) cannot be made ({reason(error)})", f"dvc remote modify {name} url …"
        )
    above = existing_parent(folder)
    return warning("remote", f"'{name}' ({folder}) is not there", f"mount it, or let the first push make it in {above}")


def _write_read_delete(fs: Any, file: str) -> None:
    """As DVC pushes and pulls: from a local file, into a folder that is made where it is missing.

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
