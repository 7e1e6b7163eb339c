"""One promotion at a time, on this machine and on all others that use the same registry.

MLflow has no compare-and-set for tags or aliases, but a registered model's name is unique in any store: only one
process can create the model that serves as the lock. A file lock on this machine comes first. It ends with its process:
so a process that holds it knows that a lock in the registry made by this machine is left over from a dead one.
"""

import hashlib
import json
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from flows.registry.versions import known_to
from stillhouse.errors import InputError
from tasks.tracking.store import tracking_uri

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PATIENCE = 600.0  # seconds: scoring a champion takes some
ASK_AGAIN = 0.5  # seconds
HOLDER = "holder"  # the lock's tag


@contextmanager
def promotion_lock(client: "MlflowClient", name: str) -> Iterator[None]:
    """Hold a registered model's lock while its champion may change.

    Raises:
        InputError: another process has held it for too long.
    """
    deadline = time.monotonic() + PATIENCE
    with _on_this_machine(name, deadline) as place:
        holder = {"place": place, "host": socket.gethostname(), "pid": os.getpid()}
        _take(client, name, holder, deadline)
        try:
            yield
        finally:
            _remove(client, name)


def unlock(client: "MlflowClient", name: str) -> bool:
    """Remove a lock whose holder is gone; whether there was one."""
    if (holder := _holder(client, name)) is None:
        return False
    print(f"unlocked: {name} was held by {_shown(holder)}", flush=True)
    _remove(client, name)
    return True


def _take(client: "MlflowClient", name: str, holder: dict, deadline: float) -> None:
    from mlflow.exceptions import MlflowException

    waited = False
    while True:
        try:
            client.create_registered_model(_lock_of(name), tags={HOLDER: json.dumps(holder)})
            return
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        other = _holder(client, name)
        if other is None:
            continue
        if other.get("place") == holder["place"]:
            _remove(client, name)
            continue
        _wait(name, _shown(other), deadline, quiet=waited)
        waited = True


def _remove(client: "MlflowClient", name: str) -> None:
    # It is gone already where a first answer was lost and MLflow's client asked again, or a person removed it.
    known_to(partial(client.delete_registered_model, _lock_of(name)))


@contextmanager
def _on_this_machine(name: str, deadline: float) -> Iterator[str]:
    """Hold the lock on this machine; gives the file's own id, which no other machine or container has."""
    digest = hashlib.sha256(f"{tracking_uri()} {name}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"stillhouse-{os.getuid()}-{digest}.lock"
    # The folder is one that all users write to: filelock follows no link there, and leaves what the file holds.
    lock = FileLock(path, mode=0o600, fallback_to_soft=False)
    waited = False
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            _wait(name, "another process of this machine", deadline, quiet=waited)
            waited = True
    try:
        if not (place := path.read_text(encoding="utf-8")):
            place = uuid.uuid4().hex
            path.write_text(place, encoding="utf-8")
        yield place
    finally:
        lock.release()


def _wait(name: str, holder: str, deadline: float, quiet: bool) -> None:
    if time.monotonic() > deadline:
        raise InputError(
            f"the promotion of {name} is held by {holder}: wait for it, or, if that is gone, "
            "python -m flows.promote RECIPE --unlock"
        )
    if not quiet:
        print(f"{name}: {holder} promotes or rolls back: waiting", flush=True)
    time.sleep(ASK_AGAIN)


def _holder(client: "MlflowClient", name: str) -> dict | None:
    from mlflow.exceptions import MlflowException

    try:
        return json.loads(client.get_registered_model(_lock_of(name)).tags.get(HOLDER, "{}"))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _shown(holder: dict) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', 'an unknown host')}"


def _lock_of(name: str) -> str:
    return f"{name}.promotion-lock"
