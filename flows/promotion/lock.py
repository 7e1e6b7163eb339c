"""One promotion at a time, on this machine and on all others that use the same registry.

MLflow compares nothing before it sets a tag or an alias, but a registered model's name is there once: making one that
is called after the lock is what only one can do, whatever the store is. A file lock on this machine comes first. It
ends with its process, so who holds it knows that a lock in the registry that was made under it is a dead one's.
"""

import fcntl
import hashlib
import json
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
        InputError: somebody else has held it for too long.
    """
    deadline = time.monotonic() + PATIENCE
    with _on_this_machine(name, deadline) as place:
        holder = {"place": place, "host": socket.gethostname(), "pid": os.getpid()}
        _take(client, name, holder, deadline)
        try:
            yield
        finally:
            client.delete_registered_model(_lock_of(name))


def unlock(client: "MlflowClient", name: str) -> bool:
    """Remove a lock whose holder is gone; whether there was one."""
    if (holder := _holder(client, name)) is None:
        return False
    print(f"unlocked: {name} was held by {_shown(holder)}", flush=True)
    client.delete_registered_model(_lock_of(name))
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
            client.delete_registered_model(_lock_of(name))
            continue
        _wait(name, _shown(other), deadline, quiet=waited)
        waited = True


@contextmanager
def _on_this_machine(name: str, deadline: float) -> Iterator[str]:
    """The file lock; gives what names the file, for no other machine (or container) has it."""
    digest = hashlib.sha256(f"{tracking_uri()} {name}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"stillhouse-{os.getuid()}-{digest}.lock"
    # In a folder that all users write to: never through a link of somebody else's.
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+", encoding="utf-8") as file:
        waited = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _wait(name, "another process of this machine", deadline, quiet=waited)
                waited = True
        place = file.read()
        if not place:
            place = uuid.uuid4().hex
            file.write(place)
            file.flush()
        yield place


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
