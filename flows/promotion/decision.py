"""Make a recipe's version the champion of its task if it passes the gate, or give the task its previous champion back.

Every decision and its reasons are recorded in the registry. A version that does not pass moves no alias.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flows.promotion.bootstrap import compare
from flows.promotion.champion import rows_of
from flows.promotion.gate import Contender, PromoteParams, Rival, judge
from flows.promotion.lock import promotion_lock
from flows.registry.files import check
from flows.registry.names import registered_model
from flows.registry.versions import CANDIDATE, CHAMPION, reach_store, run_of, versions
from stillhouse.errors import InputError
from tasks.evaluation.forms import PLAIN, shown_name
from tasks.stage import params
from tasks.tracking.provenance import git_tags

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

HISTORY = "champions"  # the registered model's tag: versions that were champion, the present one last


@dataclass(frozen=True)
class Verdict:
    """What a person said of a version that passed the gate."""

    approved: bool
    by: str
    reason: str


@dataclass(frozen=True)
class Decision:
    """What the gate said of a version, and why."""

    model: str
    version: str
    recipe: str
    checks: tuple[str, ...]  # what passed
    failures: tuple[str, ...]
    waiting: bool = False  # nothing failed, but a person has to say yes
    form: str = PLAIN  # of the recipe's model

    @property
    def shown(self) -> str:
        """The version's model, in words."""
        return shown_name({"recipe": self.recipe, "form": self.form})

    @property
    def promoted(self) -> bool:
        return not self.failures and not self.waiting


class NotPromoted(Exception):
    """A version was not promoted; the message has a line for each reason."""

    def __init__(self, decision: Decision) -> None:
        super().__init__("\n".join(decision.failures))


def try_to_promote(recipe: str, version: str = "", verdict: Verdict | None = None, ask: bool = False) -> Decision:
    """Judge a recipe's newest version at the gate, record the decision, and move the aliases if it passed.

    Args:
        version: judge this one, even if a newer one is registered.
        verdict: what a person said of it.
        ask: a person has to say yes, even where promote.approval wants none.

    Raises:
        InputError: the recipe has no such version of this task, the champion cannot be scored on its rows, or the files
            of one of them are not what was registered.
    """
    limits = params.load("promote", PromoteParams)
    client, _ = reach_store()
    name = registered_model()
    with promotion_lock(client, name):
        found = versions(client, name)
        mine = _chosen(name, recipe, version, found)
        past, present = _champions(client, name)
        champion = next((each for each in found if str(each.version) == present), None)
        rival = _rival(client, mine, champion, limits) if champion else None
        checks, failures = judge(Contender(str(mine.version), mine.tags), rival, limits)
        waiting = False
        if verdict is not None:
            line = f"{verdict.by} says {'yes' if verdict.approved else 'no'}: {verdict.reason}"
            (checks if verdict.approved else failures).append(line)
        elif not failures and (limits.approval.required or ask):
            waiting = True
        form = mine.tags.get("form", PLAIN)  # the first versions have no such tag
        decision = Decision(name, str(mine.version), recipe, tuple(checks), tuple(failures), waiting, form)
        run_of(client, mine)
        if decision.promoted:
            check(client, mine)
        _record(client, mine, decision, limits, rival, verdict)
        if decision.promoted:
            # In this order: if the process dies in between, the alias names the new champion, and the same promotion
            # again does what is left.
            now = [*past, str(mine.version)]
            if present != str(mine.version):
                now = [*past, *([present] if present else []), str(mine.version)]
                client.set_registered_model_alias(name, CHAMPION, str(mine.version))
            client.set_registered_model_tag(name, HISTORY, json.dumps(now))
            _drop_candidate(client, name, mine)
    return decision


def roll_back() -> str:
    """Make the previous champion of the task the champion again; what happened, in a line.

    Raises:
        InputError: there is no previous one, or its files are not what was registered.
    """
    client, _ = reach_store()
    name = registered_model()
    with promotion_lock(client, name):
        found = {str(each.version): each for each in versions(client, name)}
        past, left = _champions(client, name) if found else ([], None)
        # Versions may have been deleted since.
        while past and past[-1] not in found:
            past.pop()
        if not past:
            raise InputError(f"{name} has no previous champion: there is nothing to roll back to")
        back = past[-1]
        check(client, found[back])
        when = _now()
        # The alias last: whatever moves is recorded already, and if the process dies before, nothing was rolled back.
        # In tags of the versions: their runs may have been deleted.
        if left is not None and left in found:
            client.set_model_version_tag(name, left, "rolled_back", f"{when}, to version {back}")
        client.set_model_version_tag(name, back, "restored", f"{when}, from version {left or 'none'}")
        client.set_registered_model_tag(name, HISTORY, json.dumps(past))
        client.set_registered_model_alias(name, CHAMPION, back)
    return f"rolled back: {name} version {back} is the champion again ({f'version {left}' if left else 'none'} was)"


def serve_command(model: str) -> str:
    """The command that serves a model's champion on this machine."""
    return f"python -m flows.serve models:/{model}@{CHAMPION}"


def _chosen(name: str, recipe: str, version: str, found: "list[ModelVersion]") -> "ModelVersion":
    mine = [each for each in found if each.tags.get("recipe") == recipe]
    if not mine:
        there = ", ".join(sorted({each.tags.get("recipe", "?") for each in found})) or "none"
        raise InputError(f"recipe '{recipe}' has no version of {name} (recipes that have: {there}): compress it first")
    chosen = next((each for each in mine if version in ("", str(each.version))), None)
    if chosen is None:
        raise InputError(f"version = {version!r} is none of recipe '{recipe}' of {name}: choose one in the registry")
    return chosen


def _rival(client: "MlflowClient", mine: "ModelVersion", champion: "ModelVersion", limits: PromoteParams) -> Rival:
    """The champion's score and the candidate's, on the rows that the candidate was evaluated on."""
    noise = limits.noise
    scores = compare(
        mine.tags.get("task_metric", ""),
        rows_of(client, mine, mine),
        rows_of(client, champion, mine),
        noise.resamples,
        noise.seed,
    )
    return Rival(str(champion.version), champion.tags.get("recipe", "?"), scores)


def _record(
    client: "MlflowClient",
    version: "ModelVersion",
    decision: Decision,
    limits: PromoteParams,
    rival: Rival | None,
    verdict: Verdict | None,
) -> None:
    """Keep the decision: an artifact of the version's run, its tag `decision`, and tags that people read."""
    when = _now()
    record: dict[str, Any] = {
        "when": when,
        "promoted": decision.promoted,
        "waiting": decision.waiting,
        "passed": list(decision.checks),
        "failed": list(decision.failures),
        "limits": limits.model_dump(),
        "champion_before": asdict(rival) if rival else None,
        "approval": asdict(verdict) if verdict else None,
    } | git_tags()
    facts = {key: value for key, value in version.tags.items() if key != "decision"}
    client.log_dict(
        run_of(client, version), record | {"facts": facts}, f"promotion/{when}-version-{version.version}.json"
    )
    outcome = "passed" if decision.promoted else "waiting" if decision.waiting else "failed"
    for key, value in {
        "gate": outcome,
        "gate_time": when,
        "gate_reasons": "\n".join(decision.failures or decision.checks),
        "decision": json.dumps(record),
    }.items():
        client.set_model_version_tag(decision.model, str(version.version), key, value)


def _now() -> str:
    # Basic format: it goes into file names.
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def _champions(client: "MlflowClient", name: str) -> tuple[list[str], str | None]:
    """Versions that were champion, in order, and the one that is; somebody may have moved the alias by hand."""
    model = client.get_registered_model(name)
    history = json.loads(model.tags.get(HISTORY, "[]"))
    present = model.aliases.get(CHAMPION)
    if present is not None and history[-1:] == [str(present)]:
        history.pop()
    return history, None if present is None else str(present)


def _drop_candidate(client: "MlflowClient", name: str, version: "ModelVersion") -> None:
    """A champion is no candidate any more."""
    if str(client.get_registered_model(name).aliases.get(CANDIDATE)) == str(version.version):
        client.delete_registered_model_alias(name, CANDIDATE)
