"""What is asked of the registry in the end: one version a model, right digests, aliases and records that agree."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from flows.promotion.decision import HISTORY
from flows.registry.files import check, weights_digest
from flows.registry.names import registered_model
from flows.registry.reports import checkpoint_of, evaluated
from flows.registry.versions import CANDIDATE, CHAMPION, stored_rows, versions
from stillhouse.errors import InputError
from tasks.evaluation.forms import FINISHED
from tasks.evaluation.rows import FILE, read_rows

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

SCORES = ("kind", "task_metric", "split", "value", "kept", "examples", "checkpoint_bytes", "onnx_bytes")


def faults(client: "MlflowClient", plain: Path, recipes: list[str]) -> list[str]:
    """What is wrong, a line each.

    Args:
        plain: the clone in which the recipes ran undisturbed.
    """
    name = registered_model(plain / "params.yaml")
    found = versions(client, name)
    by_recipe = {recipe: [each for each in found if each.tags.get("recipe") == recipe] for recipe in recipes}
    wrong = [
        f"{recipe}: {len(held)} versions ({', '.join(str(each.version) for each in held)}), not one"
        for recipe, held in by_recipe.items()
        if len(held) != 1
    ]
    wrong += [f"version {each.version} is of {each.tags.get('recipe')}" for each in found if _of_none(each, recipes)]
    for recipe, held in by_recipe.items():
        for version in held:
            wrong += [f"{recipe}, version {version.version}: {line}" for line in _of(client, version, plain, recipe)]
    return wrong + _of_promotion(client, name, found)


def _of_none(version: "ModelVersion", recipes: list[str]) -> bool:
    return version.tags.get("recipe") not in recipes


def _of(client: "MlflowClient", version: "ModelVersion", plain: Path, recipe: str) -> list[str]:
    """What a version has that the undisturbed run's model of its form has not."""
    wrong = []
    finished = version.tags.get("form") == FINISHED
    if version.tags.get("weights_sha256") != weights_digest(plain / checkpoint_of(recipe, finished)):
        wrong.append("its weights are others")
    try:
        check(client, version)
    except InputError as error:
        wrong.append(str(error))
    report = plain / evaluated(recipe, finished)
    metrics = json.loads((report / "metrics.json").read_text())
    wrong += [
        f"tag {key} = {version.tags.get(key)}, not {metrics[key]}"
        for key in SCORES
        if version.tags.get(key) != str(metrics[key])
    ]
    kept = stored_rows(client, version.run_id or "", version.tags.get("evaluation", ""))
    rows = read_rows(report / "details" / FILE, "")
    if kept is None or kept.keys() != rows.keys() or any((kept[key] != rows[key]).any() for key in rows):
        wrong.append("its rows are others, or missing")
    return wrong


def _of_promotion(client: "MlflowClient", name: str, found: "list[ModelVersion]") -> list[str]:
    model = client.get_registered_model(name)
    history = json.loads(model.tags.get(HISTORY, "[]"))
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    champion, candidate = aliases.get(CHAMPION), aliases.get(CANDIDATE)
    known = {str(each.version): each for each in found}
    wrong = [f"alias {alias} names version {number}, which is not there" for alias, number in aliases.items()
             if number not in known]  # fmt: skip
    if history[-1:] != [champion]:
        wrong.append(f"the champion is version {champion}, its record ends with {history[-1:]}")
    if unknown := sorted(set(history) - set(known)):
        wrong.append(f"versions {unknown} are in the record of champions, and not there")
    if champion == candidate:
        wrong.append(f"version {champion} is champion and candidate")
    for number, version in known.items():
        passed, told = version.tags.get("gate") == "passed", json.loads(version.tags.get("decision", "{}"))
        if passed != told.get("promoted", False):
            wrong.append(f"version {number}: gate is {version.tags.get('gate')}, the decision says otherwise")
        if passed and number not in history and "rolled_back" not in version.tags:
            wrong.append(f"version {number} passed the gate, and never was champion")
        if told and not _recorded(client, version, told):
            wrong.append(f"version {number}: its decision is not among its run's files")
    if champion in known and known[champion].tags.get("gate") != "passed":
        wrong.append(f"the champion, version {champion}, did not pass the gate")
    if locks := [each.name for each in client.search_registered_models() if each.name.endswith(".promotion-lock")]:
        wrong.append(f"left behind: {', '.join(locks)}")
    return wrong


def _recorded(client: "MlflowClient", version: "ModelVersion", told: dict) -> bool:
    """Whether the file of a decision is there, and whole."""
    path = f"promotion/{told['when']}-version-{version.version}.json"
    if not any(each.path == path for each in client.list_artifacts(version.run_id or "", "promotion")):
        return False
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(client.download_artifacts(version.run_id or "", path, scratch))
        kept = json.loads(file.read_text())
    return told.items() <= kept.items()
