"""The flow `search`: a chain under a budget, of the space that params.yaml states.

First what all trials share is brought up to date in the project. Then chains are proposed one after the other; one
whose file or time would exceed the budget is refused before anything is trained. The others train on few passes, one
in η goes on to more, and of those with all passes the best within the budget wins. It alone is evaluated, on test
where there is a test split, and registered.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.dag.copies import wait_until_quiet
from flows.dag.graph import lineage, load_graph, recipes
from flows.dag.recipe_run import parent_run
from flows.pipeline import run_name, run_stages
from flows.registry.names import task_name
from flows.search import workspace
from flows.search.budget import Budget, excess, fits, read_budget
from flows.search.changes import refuse_own, write_profile
from flows.search.foresight import Foresight, Timer, searched
from flows.search.halving import promoted, share_of
from flows.search.report import Point, as_table, draw
from flows.search.space import SearchParams, check_space
from flows.search.study import Outcome, Proposal, Trials
from flows.search.trial import Judge, Result, Runner
from stillhouse.encoders.checkpoint import load_tokenizer
from stillhouse.errors import InputError
from tasks.kinds.find import load_task
from tasks.profile import PROFILES
from tasks.stage import program
from tasks.stage.params import PARAMS, EvaluateParams, TrainParams, load, read_yaml
from tasks.stage.workspace import content_digest
from tasks.tracking.store import SEARCHES

REPORT = Path("reports") / "search"
TEACHER = Path("models") / "teacher"


@flow(name="search", flow_run_name=run_name, persist_result=False)
def search(
    bytes: str | int | None = None,
    latency: str | None = None,
    kept: str | float | None = None,
    profile: str = "found",
) -> str:
    """Find a chain under a budget, write its numbers as a profile, and register it as the candidate of its task.

    Args:
        bytes: of the ONNX file, at most: 5MB.
        latency: p50 of the smallest measured batch, at most: 1ms.
        kept: share of the teacher's metric, at least: 0.97 or 97%.
        profile: what the profile is called.

    Returns:
        What was found, in a few lines.

    Raises:
        InputError: a fault in the budget or the space, or nothing meets the budget; the nearest is named.
        StagesFailed: a stage of a trial did not end well.
        ConnectionError: the study's database, or MLflow, cannot be reached.
    """
    budget = read_budget(*(None if each is None else str(each) for each in (bytes, latency, kept)))
    root, tree = Path.cwd(), json.loads(json.dumps(read_yaml(PARAMS)))
    params = load("search", SearchParams)
    there = recipes(load_graph(root))
    check_space(params, tree, there, searched(there))
    file = PROFILES / f"{profile}.yaml"
    if Path(profile).name != profile:
        raise InputError(f"profile = {profile!r} is no name of a file in {PROFILES}: give one such as found")
    refuse_own(file)
    with parent_run(f"search · {task_name()}", "search", {"budget": str(budget)}) as parent:
        run_stages(root, lineage(load_graph(root), "export@teacher"), parent.environment)
        name = _name(root, tree, budget)
        folder = root / SEARCHES / name
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise InputError(f"search '{name}' runs in another process: wait for it, or stop it") from None
        with lock:
            trials = Trials(name, folder, params, tree)
            task, train, evaluate = (
                load_task(root / "data" / "task"),
                load("train", TrainParams),
                load("evaluate", EvaluateParams),
            )
            vocabulary = len(load_tokenizer(TEACHER))
            timer = Timer(
                root / "models" / "onnx" / "teacher",
                evaluate,
                vocabulary,
                task.kind.pair,
                root / SEARCHES / "times.json",
            )
            judge = Judge(task, train, evaluate.metric, root / TEACHER, timer)
            wait_until_quiet(folder)
            copy = workspace.make(root, name, tree)
            runner = Runner(copy, tree, name, judge, parent, run_stages)
            print(f"search {name}: {budget}; {len(trials.finished)} proposals of before", flush=True)
            first_rung(trials, runner, Foresight(task, root / TEACHER, evaluate.tokens, timer), budget)
            results = later_rungs(trials, runner)
            refused = {_why(outcome) for _, outcome in trials.finished} - {""}
            counts = {why: sum(_why(outcome) == why for _, outcome in trials.finished) for why in sorted(refused)}
            said = ", ".join(f"{why}: {count}" for why, count in counts.items()) or "nothing refused"
            print(said, flush=True)
            parent.run.log_metrics({why.replace(" ", "_"): float(count) for why, count in counts.items()})
            points = _points(trials, results)
            REPORT.mkdir(parents=True, exist_ok=True)
            draw(points, judge.teacher, evaluate.metric, budget, REPORT / "search.png")
            (REPORT / "search.md").write_text(as_table(points, evaluate.metric) + f"\n\n{said}\n", encoding="utf-8")
            parent.run.log_artifact(REPORT)
            proposal, result = winner(trials, results, budget)
            about = f"{proposal.recipe}, {_shown(result)} on validation; asked: {budget}"
            runner.prepare(proposal, 1.0)
            environment = runner.environment(proposal, parent)
            run_stages(copy, runner.stages(f"report@{proposal.recipe}"), environment)
            write_profile(file, proposal.values, about)
            registered = _register(copy, proposal.recipe, parent.run_id)
    page = f"{registered}\n{about}"
    create_markdown_artifact(f"{page}\n\n{said}", key="search-result", description="The chain that was found")
    return page


def first_rung(trials: Trials, runner: Runner, foresight: Foresight, budget: Budget) -> None:
    """Propose chains until enough were trained on the first rung.

    Raises:
        InputError: all that were proposed are too large or too slow.
    """
    params = trials.params
    share = share_of(0, params.rungs, params.reduction)

    def trained() -> int:
        return sum(outcome.value is not None and outcome.same_as is None for _, outcome in trials.finished)

    while trained() < params.trials and len(trials.finished) < params.proposals:
        proposal = trials.propose()
        if earlier := trials.earlier(proposal):
            number, outcome = earlier
            trials.tell(proposal, Outcome(**asdict(outcome) | {"same_as": number}))
            continue
        try:
            costs = foresight.costs(proposal.recipe, runner.foreseen(proposal))
        except InputError as error:
            print(f"trial {proposal.number}: {_described(proposal)}: refused: {error}", flush=True)
            trials.tell(proposal, Outcome(dict.fromkeys(excess(budget, 1, 1), 1.0), refused=str(error)))
            continue
        over = excess(budget, costs.onnx_bytes, costs.ms)
        if not fits(over):
            trials.tell(proposal, Outcome(over, costs.onnx_bytes, costs.ms, costs.flops))
            continue
        foreseen = f"{costs.onnx_bytes / 1e6:.2f} MB, {costs.ms:.2f} ms foreseen"
        print(f"trial {proposal.number}: {_described(proposal)}: {foreseen}", flush=True)
        result = runner.train(proposal, 0, share)
        print(f"trial {proposal.number}: {_shown(result)} after {share:.0%} of the passes", flush=True)
        trials.tell(
            proposal, Outcome(over, result.onnx_bytes, result.ms, costs.flops, value=result.value, kept=result.kept)
        )
    if not trained():
        raise InputError(_nearest_shape(trials, budget))


def later_rungs(trials: Trials, runner: Runner) -> dict[int, Result]:
    """Train those that go on with more passes, rung after rung; what the last rung found, by the proposal's number."""
    params = trials.params
    proposals = {proposal.number: proposal for proposal, _ in trials.finished}
    results = {
        proposal.number: Result(outcome.value, outcome.kept or 0.0, outcome.onnx_bytes or 0, outcome.ms or 0.0)
        for proposal, outcome in trials.finished
        if outcome.value is not None and outcome.same_as is None
    }
    for rung in range(1, params.rungs):
        chosen = promoted({number: (each.value, each.onnx_bytes) for number, each in results.items()}, params.reduction)
        known, results = trials.on_rung(rung), {}
        share = share_of(rung, params.rungs, params.reduction)
        for number in chosen:
            if number in known:
                results[number] = Result(**known[number])
                continue
            results[number] = runner.train(proposals[number], rung, share)
            trials.keep(rung, number, asdict(results[number]))
            print(f"trial {number}: {_shown(results[number])} after {share:.0%} of the passes", flush=True)
    return results


def winner(trials: Trials, results: Mapping[int, Result], budget: Budget) -> tuple[Proposal, Result]:
    """Of those with all passes and within the budget, the best on validation; of equal ones the smaller.

    Raises:
        InputError: none is within the budget; the nearest is named.
    """
    proposals = {proposal.number: proposal for proposal, _ in trials.finished}

    def rank(number: int) -> tuple[float, float, int]:
        return -results[number].value, results[number].onnx_bytes, number

    small = [number for number, each in results.items() if fits(excess(budget, each.onnx_bytes, each.ms))]
    good = [number for number in small if budget.kept is None or results[number].kept >= budget.kept]
    if good:
        best = min(good, key=rank)
        return proposals[best], results[best]
    nearest = min(small or results, key=rank)
    raise InputError(
        f"no chain of {len(results)} with all passes meets {budget}; the nearest is {_described(proposals[nearest])}: "
        f"{_shown(results[nearest])}: ask for less, or raise search.trials (what is done is kept)"
    )


def _name(root: Path, tree: Mapping[str, Any], budget: Budget) -> str:
    """What decides the trials, in eight digits: the same search goes on, any other begins anew."""
    lasting = {key: value for key, value in tree.items() if key != "promote"}
    # How many there are, and what the winner must keep, changes none of those before.
    lasting["search"] = {key: value for key, value in tree["search"].items() if key not in ("trials", "proposals")}
    asked = [budget.onnx_bytes, budget.ms, content_digest(root / "code")]
    return hashlib.sha256(json.dumps([lasting, asked], sort_keys=True).encode()).hexdigest()[:8]


def _why(outcome: Outcome) -> str:
    """Why a proposal was not trained; empty where it was."""
    if outcome.same_as is not None or outcome.value is not None:
        return ""
    if outcome.refused:
        return "refused by the recipe"
    return "refused by size" if outcome.over.get("bytes", 0) > 0 else "refused by time"


def _points(trials: Trials, results: Mapping[int, Result]) -> list[Point]:
    points = []
    for proposal, outcome in trials.finished:
        if outcome.value is None or outcome.same_as is not None:
            continue
        last = results.get(proposal.number)
        found = last or Result(outcome.value, outcome.kept or 0.0, outcome.onnx_bytes or 0, outcome.ms or 0.0)
        points.append(Point(proposal.number, _described(proposal), last is not None, **asdict(found)))
    return points


def _nearest_shape(trials: Trials, budget: Budget) -> str:
    built = [
        (max(outcome.over.values(), default=0.0), proposal.number)
        for proposal, outcome in trials.finished
        if outcome.flops
    ]
    tried = f"none of {len(trials.finished)} chains of search.space meets {budget}, so nothing was trained"
    if not built:
        return f"{tried}: {trials.finished[-1][1].refused}"
    proposal, outcome = trials.finished[min(built)[1]]
    assert outcome.onnx_bytes is not None and outcome.ms is not None
    return (
        f"{tried}; the nearest is {_described(proposal)}: {outcome.onnx_bytes / 1e6:.2f} MB, {outcome.ms:.2f} ms: "
        "ask for less, or widen search.space"
    )


def _described(proposal: Proposal) -> str:
    values = ", ".join(f"{name.removeprefix(proposal.recipe + '.')} {value}" for name, value in proposal.values.items())
    return f"{proposal.recipe} ({values})"


def _shown(result: Result) -> str:
    return f"{result.kept:.2%} kept, {result.onnx_bytes / 1e6:.2f} MB, {result.ms:.2f} ms"


def _register(copy: Path, recipe: str, run_id: str) -> str:
    """Register the model in the copy of the project, from there; what came out and which version that is."""
    command = [sys.executable, "-m", "flows.search.registration", recipe, *(["--run", run_id] if run_id else [])]
    done = subprocess.run(command, cwd=copy, env=program.environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1].removeprefix("error: ")
        if done.returncode == program.EXIT_TRANSIENT:
            raise ConnectionError(said)
        raise InputError(f"the chain was found, and could not be registered: {said}")
    return done.stdout.strip()
