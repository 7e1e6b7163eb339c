"""The champion on the rows of a candidate: as kept in the registry, or scored here."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from flows.registry.files import fetch
from flows.registry.kinds import ServedKind, kind_of_checkpoint
from flows.registry.rows import Rows
from flows.registry.versions import evaluation_key, run_of, store_rows, stored_rows
from stillhouse.errors import InputError
from tasks.stage.params import PARAMS

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient


def rows_of(client: "MlflowClient", version: "ModelVersion", evaluation: str) -> Rows:
    """What a version did on each row of an evaluation; scored on the data that lie here if it never had that one.

    Args:
        evaluation: the key that `flows.registry.versions.evaluation_key` gave to data and numbers.

    Raises:
        InputError: the data or the numbers here are others, or the version cannot be scored on them.
    """
    run_id = run_of(version)
    kept = stored_rows(client, run_id, evaluation)
    if kept is not None:
        return kept
    with tempfile.TemporaryDirectory() as scratch:
        folder = fetch(client, version, Path(scratch)) / "artifacts"
        kind = kind_of_checkpoint(folder / "checkpoint")
        _check_here(kind, evaluation, f"{version.name} version {version.version}")
        print(f"scoring version {version.version} ({version.tags.get('recipe')}) on {kind.data} …", flush=True)
        try:
            rows = _score(kind, folder, Path(scratch) / "report")
        except InputError as error:
            raise InputError(
                f"version {version.version} cannot be scored on {kind.data}: {error}; "
                "if it is out of service, delete its alias 'champion' first"
            ) from None
    store_rows(client, run_id, evaluation, rows)
    return rows


def folder_md5(folder: Path) -> str:
    """The hash that DVC gives a folder: the md5 of its list of files and theirs."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    entries = [
        {"md5": hashlib.md5(file.read_bytes()).hexdigest(), "relpath": file.relative_to(folder).as_posix()}
        for file in files
    ]
    entries.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir"


def _check_here(kind: ServedKind, evaluation: str, what: str) -> None:
    data = Path(kind.data)
    if not data.is_dir():
        raise InputError(f"'{data}' is missing: run dvc pull {data} or dvc repro prepare, so that {what} can be scored")
    found = folder_md5(data)
    if evaluation_key(kind, found) != evaluation:
        raise InputError(
            f"'{data}' (md5 {found}) and {PARAMS} here are not what the candidate was evaluated on, so {what} cannot "
            "be compared with it: run dvc checkout, or compress the candidate again"
        )


def _score(kind: ServedKind, folder: Path, report: Path) -> Rows:
    # Imported here: it imports torch and transformers.
    from tasks.evaluation.judge import judge_of

    judge = judge_of(folder / "checkpoint", PARAMS)
    report.mkdir()
    judge.score(Path(kind.data), folder / "checkpoint", folder / "onnx").write(report)
    return kind.rows(report, Path(kind.data))
