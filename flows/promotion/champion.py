"""The champion on the rows of a candidate: as kept in the registry, or scored here."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from flows.registry.files import fetch
from flows.registry.served import DATA
from flows.registry.versions import evaluation_key, run_of, store_rows, stored_rows
from stillhouse.errors import InputError
from tasks.evaluation.rows import Rows
from tasks.stage.params import PARAMS

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient


def rows_of(client: "MlflowClient", version: "ModelVersion", candidate: "ModelVersion") -> Rows:
    """What a version did on each row that a candidate was judged on; scored here if it never had that evaluation.

    Raises:
        InputError: the data or the numbers here are not the candidate's, or the version cannot be scored on them.
    """
    evaluation = candidate.tags.get("evaluation", "")
    with nullcontext() if version is candidate else _may_be_out_of_service():
        run_id = run_of(client, version)
    kept = stored_rows(client, run_id, evaluation)
    if kept is not None:
        return kept
    what = f"version {version.version}"
    kinds = [each.tags.get("kind") for each in (version, candidate)]
    # Versions from before there was such a tag: their checkpoint says it when it is scored.
    if None not in kinds and kinds[0] != kinds[1]:
        with _may_be_out_of_service():
            raise InputError(
                f"{what} is a model of {kinds[0]}, the candidate one of {kinds[1]}: they cannot be compared"
            )
    data_md5 = _data_here(candidate, f"{version.name} {what}")
    with tempfile.TemporaryDirectory() as scratch, _may_be_out_of_service():
        folder = fetch(client, version, Path(scratch)) / "artifacts"
        print(f"scoring {what} ({version.tags.get('recipe')}) on {DATA} …", flush=True)
        # It imports torch and transformers.
        from tasks.kinds.judging import judge_checkpoint

        try:
            judged = judge_checkpoint(DATA, folder / "checkpoint", folder / "onnx", PARAMS)
        except InputError as error:
            raise InputError(f"{what} cannot be scored on {DATA}: {error}") from None
        rows = judged.rows
    numbers = judged.served["judged_by"]
    if evaluation_key(numbers, data_md5) != evaluation:
        stated = ", ".join(f"{name} = {number}" for name, number in numbers.items())
        raise InputError(
            f"{PARAMS} here ({stated}) is not what the candidate was evaluated with, so {version.name} {what} "
            "cannot be compared with it: restore it, or compress the candidate again"
        )
    store_rows(client, run_id, evaluation, rows)
    return rows


@contextmanager
def _may_be_out_of_service() -> Iterator[None]:
    """Say of a champion that stands in the way how it is taken out of it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{error}; if it is out of service, delete its alias 'champion' first") from None


def folder_md5(folder: Path) -> str:
    """The hash that DVC gives a folder: the md5 of its list of files and theirs."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    entries = [
        {"md5": hashlib.md5(file.read_bytes()).hexdigest(), "relpath": file.relative_to(folder).as_posix()}
        for file in files
    ]
    entries.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir"


def _data_here(candidate: "ModelVersion", what: str) -> str:
    """The hash of the data that lie here, which must be the candidate's."""
    if not DATA.is_dir():
        raise InputError(f"'{DATA}' is missing: run dvc pull {DATA} or dvc repro prepare, so that {what} can be scored")
    found, wanted = folder_md5(DATA), candidate.tags.get("data_md5")
    if found != wanted:
        raise InputError(
            f"'{DATA}' (md5 {found}) here is not what the candidate was evaluated on (md5 {wanted}), so {what} "
            "cannot be compared with it: run dvc checkout, or compress the candidate again"
        )
    return found
