"""The MLflow registry: one registered model per task, a version per distinct set of weights, recipes competing.

A version holds the checkpoint and what was exported of it (`flows.registry.files`), and in its tags all facts that the
promotion gate reads. Its description is its card. Its run holds the card with its metadata, its results on each row
that it was judged on, and the dvc.lock and params.yaml that it was made with: a decision needs the registry alone, and
a reproduction also the commit. Aliases: `candidate` is the version registered last, `champion` the one in service.
"""

import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flows.registry.card import version_card
from flows.registry.files import check, upload, weights_digest
from flows.registry.linked import link
from flows.registry.names import GIVEN, registered_model, task_origin, task_word
from flows.registry.reports import checkpoint_of, read_report, smallest_batch
from flows.registry.served import DATA, rows_here, served
from stillhouse.errors import InputError
from tasks.evaluation.forms import FINISHED, PLAIN
from tasks.evaluation.rows import FILE, Rows, read_rows, write_rows
from tasks.exported.names import CARD
from tasks.stage.params import PARAMS
from tasks.tracking.provenance import LOCK, dvc_hashes, git_tags
from tasks.tracking.store import STORE, open_store, own_uri, shown_uri, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

CANDIDATE, CHAMPION = "candidate", "champion"
ORIGIN = "task_origin"  # the registered model's tag
FACT = "evaluation"  # a tag that a version has with all its facts, which it gets after it was made
MODEL = re.compile(r"models:/(?P<name>[\w.-]+)(@(?P<alias>[\w-]+)|/(?P<version>\d{1,18}))")
T = TypeVar("T")
EVALUATION = re.compile(r"[0-9a-f]{16}")
# What may change a model's bytes while code, parameters and data stay the same.
LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "datasets", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Registered:
    """Where a recipe's model stands in the registry."""

    name: str
    version: str
    new: bool


def register(recipe: str, run_id: str = "", finished: bool = False) -> Registered:
    """Make a form of a recipe's model the candidate of its task; weights that are known already make no new version.

    Args:
        run_id: the run that the version belongs to, else one is made.
        finished: the student after its last links, not the plain one.

    Raises:
        InputError: something of the recipe is missing, or a pickle is among it.
    """
    facts, rows = gather_facts(recipe, finished), rows_here(recipe, finished)
    card, description = version_card(recipe, facts, finished)
    client, experiment = reach_store()
    name = registered_model()
    refuse_other_task(client, name)
    _ensure_model(client, name)
    same = {key: facts[key] for key in ("recipe", "weights_sha256")}
    # One whose run or files are gone, or not what they were, is never served: the model is stored again.
    faults = {each.version: _fault_of(client, each) for each in _with_tags(client, name, same)}
    found = _one_version(client, name, same, faults)
    new = found is None
    if found is None:
        for fault in filter(None, faults.values()):
            print(f"{fault}: the model is stored again", flush=True)
        if not run_id:
            run_id = client.create_run(experiment, run_name=f"register {recipe}", tags=facts).info.run_id
            client.set_terminated(run_id)
        source, digest = upload(client, recipe, run_id, finished)
        # In the call that makes the version: one without its digest would never be served.
        tags = same | {"files_sha256": digest}
        made = client.create_model_version(name, source, run_id, tags=tags)
        # Another runner may have made one meanwhile; and a call whose answer was lost was made twice.
        found = _one_version(client, name, same, faults) or made
        new = found.version == made.version
    run_id = run_of(client, found)
    store_rows(client, run_id, facts["evaluation"], rows)
    client.log_text(run_id, card, f"evaluation/{facts['evaluation']}/{CARD}")
    for file in (LOCK, PARAMS):
        if file.exists():
            client.log_artifact(run_id, str(file), "provenance")
    # After another evaluation, or one on other data, the same weights have other facts.
    for key, value in facts.items():
        client.set_model_version_tag(name, found.version, key, value)
    client.update_model_version(name, found.version, description)
    link(client, found, run_id, facts)
    client.set_registered_model_alias(name, CANDIDATE, found.version)
    _write_marker(recipe, _identity(facts) | {"name": name, "version": str(found.version)})
    return Registered(name, str(found.version), new)


def is_registered(recipe: str, finished: bool = False) -> bool:
    """Whether this form with this evaluation was registered from this folder, and its version is still there.

    Raises:
        ConnectionError: a local file says that it was, and MLflow, which knows whether it still is, cannot be reached.
    """
    try:
        marker = json.loads(_marker(recipe).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # Of an older release, which was killed while it wrote: registering again finds the version.
        return False
    name, version = marker.pop("name", ""), marker.pop("version", "")
    if name != registered_model() or marker != _identity(gather_facts(recipe, finished)):
        return False
    client, _ = reach_store()
    found = known_to(lambda: client.get_model_version(name, version))
    return found is not None and not _fault_of(client, found)


def refuse_other_task(client: "MlflowClient", name: str) -> None:
    """Raise where a registered model's versions are of another task, which happens to have the same name.

    Raises:
        InputError: they are, and params.yaml does not say by `data.name` that the two are one.
    """
    model = known_to(lambda: client.get_registered_model(name))
    theirs, ours = model.tags.get(ORIGIN) if model else None, task_origin()
    if theirs is not None and ours not in (theirs, GIVEN):
        raise InputError(
            f"{name} in the registry is the task of {theirs}, the one here is of {ours}: give it another name "
            f"(data.name), or, if the two are one task, say so (data.name: {task_word()})"
        )


def gather_facts(recipe: str, finished: bool = False) -> dict[str, str]:
    """The facts of a version: where it comes from, and its scores, sizes and latency.

    Raises:
        InputError: the model or its reports are missing.
    """
    metrics, latency = (read_report(recipe, name, finished) for name in ("metrics.json", "latency.json"))
    digest = weights_digest(checkpoint_of(recipe, finished))
    data_md5 = dvc_hashes().get(DATA.as_posix(), "")
    facts: dict[str, Any] = {
        "recipe": recipe,
        "form": FINISHED if finished else PLAIN,
        "weights_sha256": digest,
        "data_md5": data_md5,
        "evaluation": evaluation_key(served(recipe, finished).judged_by, data_md5),
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


def stored_card(client: "MlflowClient", version: "ModelVersion") -> str:
    """A version's card, with its metadata.

    Raises:
        InputError: it has none; or its key, which is a tag, is none of ours.
    """
    what, evaluation = f"{version.name} version {version.version}", version.tags.get(FACT, "")
    if not EVALUATION.fullmatch(evaluation):
        raise InputError(f"{what}: evaluation = {evaluation!r} is no digest: register the version again")
    run_id, folder = run_of(client, version), f"evaluation/{evaluation}"
    if not any(each.path == f"{folder}/{CARD}" for each in client.list_artifacts(run_id, folder)):
        recipe = version.tags.get("recipe", "RECIPE")
        raise InputError(f"{what} has no card: register it again (python -m flows.compress {recipe})")
    with tempfile.TemporaryDirectory() as scratch:
        return Path(client.download_artifacts(run_id, f"{folder}/{CARD}", scratch)).read_text(encoding="utf-8")


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


def known_to(ask: Callable[[], T]) -> T | None:
    """What the registry answers; None where it has no such thing, or has it no more."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def find_version(client: "MlflowClient", model: str) -> "ModelVersion":
    """What `models:/NAME@ALIAS` or `models:/NAME/VERSION` names.

    Raises:
        InputError: it is no such name, or there is none.
    """
    named = MODEL.fullmatch(model)
    if named is None:
        raise InputError(f"model = {model[:200]!r}: give models:/NAME@champion, or models:/NAME/VERSION")
    if named["alias"]:
        found = known_to(lambda: client.get_model_version_by_alias(named["name"], named["alias"]))
    else:
        found = known_to(lambda: client.get_model_version(named["name"], named["version"]))
    if found is None:
        raise InputError(f"model = {model!r} is not in the registry at {shown_uri()}: compress and promote it")
    return found


def run_of(client: "MlflowClient", version: "ModelVersion") -> str:
    """The run that a version's results and files belong to.

    Raises:
        InputError: it has none, so this project did not register it; or somebody has deleted it.
    """
    what = f"{version.name} version {version.version}"
    again = "register its recipe (python -m flows.compress RECIPE)"
    run_id = version.run_id
    if not run_id:
        raise InputError(f"{what} has no run, so nothing is known of it: {again}")
    if known_to(lambda: client.get_run(run_id)) is None:
        raise InputError(f"{what}: MLflow has its run {run_id} no more, and so none of its results: {again}")
    return run_id


def versions(client: "MlflowClient", name: str) -> list["ModelVersion"]:
    """All versions of a registered model, the newest first."""
    found = client.search_model_versions(f"name = '{name}'", max_results=10_000)
    return sorted(found, key=lambda each: int(each.version), reverse=True)


def _with_tags(client: "MlflowClient", name: str, tags: Mapping[str, str]) -> list["ModelVersion"]:
    return [each for each in versions(client, name) if tags.items() <= each.tags.items()]


def _one_version(
    client: "MlflowClient", name: str, same: Mapping[str, str], faults: Mapping[str, str]
) -> "ModelVersion | None":
    """The version that these weights have; others, which nobody came to give their facts to, are deleted.

    Every process chooses the same one: of those with facts the newest, else the oldest.
    """
    sound = [each for each in _with_tags(client, name, same) if not faults.get(each.version)]
    whole = [each for each in sound if FACT in each.tags]
    chosen = next(iter(whole or sound[::-1]), None)
    for each in sound:
        if chosen is not None and each.version != chosen.version and FACT not in each.tags:
            known_to(partial(client.delete_model_version, name, each.version))
    return chosen


def _ensure_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={ORIGIN: task_origin()})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        # One from before they had this tag.
        if ORIGIN not in client.get_registered_model(name).tags:
            client.set_registered_model_tag(name, ORIGIN, task_origin())


def _fault_of(client: "MlflowClient", version: "ModelVersion") -> str:
    """Why a version can be neither judged nor served: its run or its files; empty where it can."""
    run = known_to(lambda: client.get_run(version.run_id or ""))
    if run is None or run.info.lifecycle_stage != "active":
        return f"{version.name} version {version.version}: its run was deleted"
    try:
        check(client, version)
    except InputError as error:
        return str(error)
    return ""


def _identity(facts: dict[str, str]) -> dict[str, str]:
    # Without the commit, which changes with any file, and the libraries, which alone make no other model.
    left_out = ("git_", "libraries")
    return {key: value for key, value in facts.items() if not key.startswith(left_out)} | {"store": _store_digest()}


def _store_digest() -> str:
    # A URI may hold a password; that of this project's own store changes with the place of its folder.
    uri = tracking_uri()
    return hashlib.sha256(b"mlruns" if uri == own_uri() else uri.encode()).hexdigest()


def _write_marker(recipe: str, marker: dict[str, str]) -> None:
    file = _marker(recipe)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Another flow of this folder may write it at the same moment.
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        part.write_text(json.dumps(marker), encoding="utf-8")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _marker(recipe: str) -> Path:
    return STORE / "registered" / f"{recipe}.json"
