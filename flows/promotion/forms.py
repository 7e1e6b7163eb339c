"""Which form of a recipe's model is registered: the plain student, or the finished one after its last links.

The finished one is smaller, so it wins unless it is worse: below the plain one on the same rows by more than the gate
allows a candidate to be below the champion (`promote.margin`, `promote.noise`), or against a limit of the gate that the
plain one keeps. That is a choice, so it is made on validation; the gate then compares on the split that scores are of.
"""

from dataclasses import dataclass

from flows.promotion.bootstrap import compare
from flows.promotion.gate import Contender, PromoteParams, judge, tolerance
from flows.registry.reports import TEACHER, forms, read_report
from flows.registry.served import validation_rows
from flows.registry.versions import gather_facts
from tasks.evaluation.forms import FINISHED, PLAIN
from tasks.stage.params import load

FILE = "metrics.json"


@dataclass(frozen=True)
class Choice:
    """A form, and why it is that one, in a line; empty where there is no other."""

    finished: bool
    why: str = ""


def choose(recipe: str) -> Choice:
    """The form of a recipe's model that is registered.

    Raises:
        InputError: a report of one of them is missing or damaged, or they were not scored on the same rows.
    """
    if True not in forms(recipe):
        return Choice(finished=False)
    limits = load("promote", PromoteParams)
    plain, ours = (_facts(recipe, finished) for finished in (False, True))
    if plain["weights_sha256"] == ours["weights_sha256"]:
        return Choice(finished=False, why=f"{PLAIN}: its last links leave it as it is")
    against_plain, against_ours = (judge(Contender(facts["form"], facts), None, limits)[1] for facts in (plain, ours))
    if against_ours and not against_plain:
        return Choice(finished=False, why=f"{PLAIN}: the finished one {'; '.join(against_ours)}")
    mine, theirs = (validation_rows(recipe, finished) for finished in (True, False))
    scores = compare(ours["task_metric"], mine, theirs, limits.noise.resamples, limits.noise.seed)
    allowed, why = tolerance(scores, limits)
    worse = scores.mine < scores.theirs - allowed
    # Where the plain one breaks a limit that the finished one keeps, no other could be promoted.
    finished = not worse or bool(against_plain and not against_ours)
    line = (
        f"{FINISHED if finished else PLAIN}: {ours['task_metric']} (validation) {scores.mine:.4f} finished, "
        f"{scores.theirs:.4f} plain, allowed {allowed:.4f} ({why}); {_megabytes(ours)} for {_megabytes(plain)}"
    )
    if finished and worse:
        line += f"; the plain one {'; '.join(against_plain)}"
    return Choice(finished, line)


def _facts(recipe: str, finished: bool) -> dict[str, str]:
    """The facts of a form, its score that of validation."""
    facts = gather_facts(recipe, finished)
    own, teachers = (read_report(*of).get("validation") for of in ((recipe, FILE, finished), (TEACHER, FILE)))
    if not (own and teachers):
        return facts
    kept = own["value"] / teachers["value"] if teachers["value"] > 0 else 0.0
    return facts | {"split": "validation", "kept": str(kept)}


def _megabytes(facts: dict[str, str]) -> str:
    return f"{int(facts['onnx_bytes']) / 1e6:.2f} MB"
