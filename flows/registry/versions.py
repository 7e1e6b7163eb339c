"""The MLflow registry: one registered model per task, a version per distinct set of weights, recipes competing.

A version holds the checkpoint and the ONNX file (`flows.registry.files`), and in its tags all facts that the promotion
gate reads. Its run holds its results on each row that it was judged on, and the dvc.lock and params.yaml that it was
made with: a decision needs the registry alone, and a reproduction also the commit. Aliases: `candidate` is the version
registered last, `champion` the one in service.
"""

import hashlib
import json
import platform
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.registry.files import MODELS, upload, weights_digest
from flows.registry.names import registered_model
from flows.registry.reports import read_report, smallest_batch
from flows.registry.served import DATA, rows_here, served
from stillhouse.errors import InputError
from tasks.evaluation.rows import FILE, Rows, read_rows, write_rows
from tasks.stage.params import PARAMS
from tasks.tracking.provenance import LOCK, dvc_hashes, git_tags
from tasks.tracking.store import STORE, open_store, shown_uri, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

CANDIDATE, CHAMPION = "candidate", "champion"
MODEL = re.compile(r"models:/(?P<name>[\w.-]+)(@(?P<alias>[\w-]+)|/(?P<version>\d+))")
EVALUATION = re.compile(r"[0-9a-f]{16}")
# What may change a model's bytes while code, parameters and data stay the same.
LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "datasets", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Registered:
    """Where a recipe's model stands in the registry."""

    name: str
    version: str
    new: bool


def register(recipe: str, run_id: str = "") -> Registered:
    """Make a recipe's model the candidate of its task; weights that are known already make no new version.

    Args:
        run_id: the run that the version belongs to, else one is made.

    Raises:
        InputError: something of the recipe is missing, or a pickle is among it.
    """
    facts, rows = gather_facts(recipe), rows_here(recipe)
    client, experiment = reach_store()
    name = registered_model()
    _ensure_model(client, name)
    same = {key: facts[key] for key in ("recipe", "weights_sha256")}
    # A version without the digest of its files is never served: the model is stored again.
    digested = [each for each in versions(client, name) if "files_sha256" in each.tags]
    known = [each for each in digested if same.items() <= each.tags.items()]
    if known:
        found = known[0]
    else:
        if not run_id:
            run_id = client.create_run(experiment, run_name=f"register {recipe}", tags=facts).info.run_id
            client.set_terminated(run_id)
        source, digest = upload(client, recipe, run_id)
        # In the call that makes the version: one without its digest would never be served.
        tags = same | {"files_sha256": digest}
        found = client.create_model_version(name, source, run_id, tags=tags)
    run_id = run_of(found)
    store_rows(client, run_id, facts["evaluation"], rows)
    for file in (LOCK, PARAMS):
        if file.exists():
            client.log_artifact(run_id, str(file), "provenance")
    # After another evaluation, or one on other data, the same weights have other facts.
    for key, value in facts.items():
        client.set_model_version_tag(name, found.version, key, value)
    client.set_registered_model_alias(name, CANDIDATE, found.version)
    _marker(recipe).parent.mkdir(parents=True, exist_ok=True)
    _marker(recipe).write_text(json.dumps(_identity(facts)), encoding="utf-8")
    return Registered(name, str(found.version), new=not known)


def is_registered(recipe: str) -> bool:
    """Whether this model with this evaluation was registered from this folder; a local file says so, no server."""
    try:
        return json.loads(_marker(recipe).read_text(encoding="utf-8")) == _identity(gather_facts(recipe))
    except FileNotFoundError:
        return False


def gather_facts(recipe: str) -> dict[str, str]:
    """The facts of a version: where it comes from, and its scores, sizes and latency.

    Raises:
        InputError: the model or its reports are missing.
    """
    metrics, latency = read_report(recipe, "metrics.json"), read_report(recipe, "latency.json")
    digest = weights_digest(MODELS / recipe)
    data_md5 = dvc_hashes().get(DATA.as_posix(), "")
    facts: dict[str, Any] = {
        "recipe": recipe,
        "weights_sha256": digest,
        "data_md5": data_md5,
        "evaluation": evaluation_key(served(recipe).judged_by, data_md5),
        "libraries": json.dumps(libraries()),
        "hardware": latency["hardware"],
        "latency_p50_ms": latency["batches"][smallest_batch(latency)]["p50_ms"],
    }
    kept = ["kind", "task_metric", "split", "value", "kept", "examples", "checkpoint_bytes", "onnx_bytes"]
    kept += ["onnx_max_difference", "onnx_rounding"]
    facts |= {key: metrics[key] for key in kept}
    return {key: str(value) for key, value in facts.items()} | git_tags()


def evaluation_key(judged_by: Mapping[str, Any], data_md5: str) -> str:
    """A key for what a model is judged on: the data, and the numbers of params.yaml that decide its score."""
    text = json.dumps({"data_md5": data_md5, **judged_by}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def store_rows(client: "MlflowClient", run_id: str, evaluation: str, rows: Rows) -> None:
    """Keep a version's results on each row of an evaluation."""
    with tempfile.TemporaryDirectory() as scratch:
        write_rows(rows, Path(scratch) / FILE)
        client.log_artifact(run_id, str(Path(scratch) / FILE), f"evaluation/{evaluation}")


def stored_rows(client: "MlflowClient", run_id: str, evaluation: str) -> Rows | None:
    """A version's results on each row of an evaluation; None where it was not evaluated like that.

    Raises:
        InputError: the key, which is a tag, is none of ours; or the rows are damaged.
    """
    if not EVALUATION.fullmatch(evaluation):
        raise InputError(f"evaluation = {evaluation!r} is no digest: register the version again")
    folder = f"evaluation/{evaluation}"
    if not any(each.path == f"{folder}/{FILE}" for each in client.list_artifacts(run_id, folder)):
        return None
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(client.download_artifacts(run_id, f"{folder}/{FILE}", scratch))
        return read_rows(file, "register the version again (python -m flows.compress RECIPE)")


def libraries() -> dict[str, str]:
    """The installed versions of Python and of the libraries that compute a model."""
    return {"python": platform.python_version()} | {name: installed(name) for name in LIBRARIES}


def reach_store() -> tuple["MlflowClient", str]:
    """A client, and the id of the experiment.

    Raises:
        ConnectionError: MLflow cannot be reached.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return open_store()
    except (MlflowException, SQLAlchemyError, OSError) as error:
        # The type alone: the text of an error may hold a URI with a password in it.
        raise ConnectionError(f"MLflow at {shown_uri()} cannot be reached ({type(error).__name__})") from None


def find_version(client: "MlflowClient", model: str) -> "ModelVersion":
    """What `models:/NAME@ALIAS` or `models:/NAME/VERSION` names.

    Raises:
        InputError: it is no such name, or there is none.
    """
    from mlflow.exceptions import MlflowException

    named = MODEL.fullmatch(model)
    if named is None:
        raise InputError(f"model = {model!r}: give models:/NAME@champion, or models:/NAME/VERSION")
    try:
        if named["alias"]:
            return client.get_model_version_by_alias(named["name"], named["alias"])
        return client.get_model_version(named["name"], named["version"])
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise InputError(
            f"model = {model!r} is not in the registry at {shown_uri()}: compress and promote it"
        ) from None


def run_of(version: "ModelVersion") -> str:
    """The run that a version's artifacts belong to.

    Raises:
        InputError: it has none, so it was not registered by this project.
    """
    if not version.run_id:
        raise InputError(
            f"{version.name} version {version.version} has no run, so nothing is known of it: delete it, and register "
            "its recipe (python -m flows.compress RECIPE)"
        )
    return version.run_id


def versions(client: "MlflowClient", name: str) -> list["ModelVersion"]:
    """All versions of a registered model, the newest first."""
    found = client.search_model_versions(f"name = '{name}'", max_results=10_000)
    return sorted(found, key=lambda each: int(each.version), reverse=True)


def _ensure_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _identity(facts: dict[str, str]) -> dict[str, str]:
    # Without the commit, which changes with any file, and the libraries, which alone make no other model.
    left_out = ("git_", "libraries")
    return {key: value for key, value in facts.items() if not key.startswith(left_out)} | {"store": _store_digest()}


def _store_digest() -> str:
    # A URI may hold a password.
    return hashlib.sha256(tracking_uri().encode()).hexdigest()


def _marker(recipe: str) -> Path:
    return STORE / "registered" / f"{recipe}.json"
