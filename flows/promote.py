"""`python -m flows.promote SLUG`: make a recipe's candidate the champion of its task, if it passes the gate.

What was decided, and why, is recorded whether it passes or not; a gate that stays shut moves no alias. `--rollback`
gives the task its previous champion back.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.gate import Contender, PromoteParams, judge
from flows.registry import CANDIDATE, CHAMPION, model_of, reach_store, versions
from stillhouse.errors import InputError
from tasks import params, program
from tasks.provenance import git_tags

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

HISTORY = "champions"  # the registered model's tag: versions that were champion, the present one last


@dataclass(frozen=True)
class Decision:
    """What the gate said of a version, and why."""

    model: str
    version: str
    recipe: str
    promoted: bool
    checks: tuple[str, ...]  # what passed
    failures: tuple[str, ...]


class NotPromoted(Exception):
    """The gate stays shut; the message has a line for each reason."""

    def __init__(self, decision: Decision) -> None:
        super().__init__("\n".join(decision.failures))


def main() -> None:
    """Promote a recipe's newest version, or roll back."""
    parser = argparse.ArgumentParser(prog="python -m flows.promote", description=main.__doc__)
    parser.add_argument(
        "recipe", nargs="?", help="its newest version is put to the gate; to roll back: one of the task's"
    )
    parser.add_argument("--rollback", action="store_true", help="give the task its previous champion back")
    arguments = parser.parse_args()
    if arguments.rollback:
        print(roll_back(arguments.recipe or ""))
        return
    if not arguments.recipe:
        raise InputError("recipe is missing: give its slug, or --rollback")
    decision = try_to_promote(arguments.recipe)
    print("\n".join(f"passed: {line}" for line in decision.checks))
    if decision.failures:
        print("\n".join(f"failed: {line}" for line in decision.failures))
        print(f"not promoted: {decision.model} version {decision.version} ({decision.recipe}); no alias was moved")
        raise SystemExit(1)
    print(f"promoted: {decision.model} version {decision.version} ({decision.recipe}) is the champion")
    print(f"serve it: {serve_command(decision.model)}")


def try_to_promote(recipe: str) -> Decision:
    """Put a recipe's newest version to the gate, record the decision, and move the aliases if it passed.

    Raises:
        InputError: the recipe has no version of this task.
    """
    limits = params.load("promote", PromoteParams)
    client, _ = reach_store()
    name = model_of(client, recipe)
    found = versions(client, name)
    mine = [each for each in found if each.tags.get("recipe") == recipe]
    if not mine:
        there = sorted({each.tags.get("recipe", "?") for each in found}) or "none"
        raise InputError(f"recipe '{recipe}' has no version of {name} (recipes that have: {there}): compress it first")
    version = mine[0]
    history = _history(client, name)
    champion = next((each for each in found if history and str(each.version) == history[-1]), None)
    checks, failures = judge(
        _contender(version), _contender(champion) if champion else None, [_contender(each) for each in found], limits
    )
    decision = Decision(name, str(version.version), recipe, not failures, tuple(checks), tuple(failures))
    _record(client, version, decision, limits, champion)
    if decision.promoted and (champion is None or champion.version != version.version):
        client.set_registered_model_tag(name, HISTORY, json.dumps([*history, str(version.version)]))
        client.set_registered_model_alias(name, CHAMPION, version.version)
        _drop_candidate(client, name, version)
    return decision


def roll_back(recipe: str = "") -> str:
    """Make the previous champion of the task the champion again; what happened, in a line.

    Args:
        recipe: one of the task's; none is needed where there is but one task.

    Raises:
        InputError: there is no previous one.
    """
    client, _ = reach_store()
    name = model_of(client, recipe)
    history = _history(client, name) if versions(client, name) else []
    if len(history) < 2:
        raise InputError(f"{name} has no previous champion: there is nothing to roll back to")
    left, back = history[-1], history[-2]
    client.set_registered_model_alias(name, CHAMPION, back)
    client.set_registered_model_tag(name, HISTORY, json.dumps(history[:-1]))
    when = _now()
    client.set_model_version_tag(name, left, "rolled_back", f"{when}, to version {back}")
    run_id = client.get_model_version(name, left).run_id
    assert run_id, "register gives every version a run"
    client.log_dict(run_id, {"rolled_back": left, "champion": back, "when": when}, f"promotion/{when}-rollback.json")
    return f"rolled back: {name} version {back} is the champion again (version {left} was)"


def serve_command(model: str) -> str:
    """The command that serves a model's champion on this machine."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    # A tracking URI of one's own is in the environment already, and may hold a password.
    setting = "" if uri else "MLFLOW_TRACKING_URI=sqlite:///mlruns/mlflow.db "
    return f"{setting}mlflow models serve -m models:/{model}@{CHAMPION} --env-manager local"


def _contender(version: "ModelVersion") -> Contender:
    return Contender(str(version.version), version.tags)


def _record(
    client: "MlflowClient",
    version: "ModelVersion",
    decision: Decision,
    limits: PromoteParams,
    champion: "ModelVersion | None",
) -> None:
    when = _now()
    record: dict[str, Any] = {
        "when": when,
        "promoted": decision.promoted,
        "passed": list(decision.checks),
        "failed": list(decision.failures),
        "limits": limits.model_dump(),
        "champion_before": str(champion.version) if champion else None,
        "facts": dict(version.tags),
    } | git_tags()
    assert version.run_id, "register gives every version a run"
    client.log_dict(version.run_id, record, f"promotion/{when}-version-{version.version}.json")
    outcome = "passed" if decision.promoted else "failed"
    for key, value in {
        "gate": outcome,
        "gate_time": when,
        "gate_reasons": "\n".join(decision.failures or decision.checks),
    }.items():
        client.set_model_version_tag(decision.model, version.version, key, value)


def _now() -> str:
    # Basic format: it goes into file names.
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _history(client: "MlflowClient", name: str) -> list[str]:
    model = client.get_registered_model(name)
    history = json.loads(model.tags.get(HISTORY, "[]"))
    # Somebody may have moved the alias by hand: it says what is in service.
    present = model.aliases.get(CHAMPION)
    return history if present is None or history[-1:] == [str(present)] else [*history, str(present)]


def _drop_candidate(client: "MlflowClient", name: str, version: "ModelVersion") -> None:
    """A champion is no candidate any more."""
    if str(client.get_registered_model(name).aliases.get(CANDIDATE)) == str(version.version):
        client.delete_registered_model_alias(name, CANDIDATE)


if __name__ == "__main__":
    program.run(main)
