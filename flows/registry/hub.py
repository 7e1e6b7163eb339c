"""A version on the Hugging Face hub: what would lie there, what lies there already, and the push.

A push is one commit: all of it, or nothing. It adds and replaces files, and takes none away.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stillhouse.errors import InputError
from tasks.exported.names import CARD, INFERENCE

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ITS_OWN = (".gitattributes",)  # what the hub itself puts into a new repository
LOOPBACK = ("localhost", "127.0.0.1", "::1")
PASSING = (408, 429, 500, 502, 503, 504)  # statuses


@dataclass(frozen=True)
class Standing:
    """What the hub has of a repository.

    Args:
        commit: its newest; None where there is no such repository.
        other: files that are there with other contents, or that are not ours.
        missing: files of ours that are not there.
    """

    commit: str | None
    other: tuple[str, ...]
    missing: tuple[str, ...]


def repository_files(version: Path, card: str, scratch: Path) -> dict[str, Path]:
    """Files of a repository by their path in it: the checkpoint, the exported folder as `onnx`, the card.

    Args:
        version: a fetched version's folder.
        scratch: where the card is written to.

    Raises:
        InputError: the version was registered before models were exported.
    """
    artifacts = version / "artifacts"
    if not (artifacts / "onnx" / INFERENCE).is_file():
        raise InputError(
            f"the version has no {INFERENCE}, as it was registered by an older release: delete it in MLflow, and "
            "register the model again (python -m flows.compress RECIPE)"
        )
    (scratch / CARD).write_text(card, encoding="utf-8")
    found = {file.name: file for file in sorted((artifacts / "checkpoint").iterdir())}
    found |= {f"onnx/{file.name}": file for file in sorted((artifacts / "onnx").iterdir()) if file.name != CARD}
    return found | {CARD: scratch / CARD}


def check_id(repository: str) -> None:
    """Raise unless it may be a repository's id: OWNER/NAME.

    Raises:
        InputError: it may not.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
        owner, _, name = repository.partition("/")
        if owner and name:
            return
    except HFValidationError:
        pass
    raise InputError(f"--to '{repository}' is no id of the hub: give OWNER/NAME, of letters, digits, '-', '_' and '.'")


def reach_hub() -> "HfApi":
    """The hub that HF_ENDPOINT names, with the user's token.

    Raises:
        InputError: there is no token, or it would be sent unencrypted.
    """
    from huggingface_hub import HfApi, constants, get_token

    endpoint = urlsplit(constants.ENDPOINT)
    if endpoint.scheme != "https" and endpoint.hostname not in LOOPBACK:
        raise InputError("HF_ENDPOINT is not https: the token would be sent for all to read")
    token = get_token()
    if not token:
        raise InputError("there is no token for the hub: set HF_TOKEN to one that may write, or log in (hf auth login)")
    return HfApi(token=token)


def standing(hub: "HfApi", repository: str, files: Mapping[str, Path]) -> Standing:
    """What lies in a repository, next to what would.

    Raises:
        InputError: the token may not read it.
        ConnectionError: the hub is away.
    """
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.hf_api import RepoFile

    with _in_a_line(repository):
        try:
            commit = hub.repo_info(repository).sha
        except RepositoryNotFoundError:
            return Standing(None, (), tuple(files))
        there = {each.path: each for each in hub.list_repo_tree(repository, recursive=True, revision=commit)
                 if isinstance(each, RepoFile) and each.path not in ITS_OWN}  # fmt: skip
    same = {path for path, file in there.items() if path in files and _digest(files[path], file) == _theirs(file)}
    return Standing(commit, tuple(sorted(set(there) - same)), tuple(sorted(set(files) - set(there))))


def push(hub: "HfApi", repository: str, files: Mapping[str, Path], found: Standing, message: str, public: bool) -> str:
    """Put the files there in one commit; give its hash.

    Args:
        found: what lies there: where that has changed since, nothing is pushed.
        public: whether a new repository is.

    Raises:
        InputError: the token may not, the card is refused, or somebody else has pushed meanwhile.
        ConnectionError: the hub is away.
    """
    from huggingface_hub import CommitOperationAdd

    operations = [CommitOperationAdd(path, file) for path, file in files.items()]
    with _in_a_line(repository):
        if found.commit is None:
            hub.create_repo(repository, private=not public)
        try:
            done = hub.create_commit(repository, operations, commit_message=message, parent_commit=found.commit)
        except ValueError as error:
            said = " ".join(str(error).split())[:300]
            if "metadata in README.md" not in said:
                raise InputError(
                    f"HF_ENDPOINT does not answer for '{repository}' as a hub does: see what it is"
                ) from None
            raise InputError(f"the hub refuses the card of '{repository}': {said}") from None
        except RuntimeError as error:
            # It wraps what went wrong with a file, and may name an address that holds a signature.
            raise ConnectionError(
                f"the upload to '{repository}' broke off ({type(error.__cause__).__name__})"
            ) from None
    return done.oid


@contextmanager
def _in_a_line(repository: str) -> Iterator[None]:
    """Say what the hub answers in a line, without its own text: that may hold what nobody else should see."""
    from httpx2 import TransportError
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in PASSING:
            raise ConnectionError(f"the hub answers with HTTP {status}") from None
        if status in (401, 403):
            raise InputError(f"the hub does not let this token write to '{repository}' (HTTP {status}): give it "
                             "the right to, or name another repository") from None  # fmt: skip
        if status in (409, 412):
            raise InputError(
                f"'{repository}' was changed meanwhile (HTTP {status}): look at it, and push again"
            ) from None
        raise InputError(f"the hub refuses '{repository}' (HTTP {status}): see whether the id is right") from None
    except TransportError as error:
        host = urlsplit(constants.ENDPOINT).hostname
        raise ConnectionError(f"the hub at {host} cannot be reached ({type(error).__name__})") from None


def _digest(ours: Path, theirs: object) -> str:
    """Of our file, the digest that the hub states of theirs: sha256 of large ones, else git's own of a blob."""
    if getattr(theirs, "lfs", None):
        with ours.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    data = ours.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _theirs(file: object) -> str:
    lfs = getattr(file, "lfs", None)
    return lfs.sha256 if lfs else getattr(file, "blob_id", "")
