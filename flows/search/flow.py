"""The flow `search`: a chain under a budget, of the space that params.yaml states.

First what all trials share is brought up to date in the project. Then chains are proposed, a round of them at a time;
one whose file or time would exceed the budget is refused before anything is trained. The others train on few passes,
one in η goes on to more, and of those with all passes the best within the budget wins. It alone is evaluated, on test
where there is a test split, and registered. Over a pool its runners run the stages, and a round's trials train side by
side.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.dag.copies import wait_until_quiet
from flows.dag.fleet import Fleet
from flows.dag.graph import lineage, load_graph, recipes
from flows.dag.recipe_run import parent_run
from flows.dag.remote import remote_of
from flows.pipeline import run_name, run_stages
from flows.registry.names import task_name
from flows.search import workspace
from flows.search.budget import Budget, excess, fits, read_budget
from flows.search.changes import refuse_own, write_profile
from flows.search.foresight import Foresight, Timer, searched
from flows.search.report import Point, as_table, draw
from flows.search.rungs import described, first_rung, later_rungs, shown
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
    pool: str = "",
) -> str:
    """Find a chain under a budget, write its numbers as a profile, and register it as the candidate of its task.

    Args:
        bytes: of the ONNX file, at most: 5MB.
        latency: p50 of the smallest measured batch, at most: 1ms.
        kept: share of the teacher's metric, at least: 0.97 or 97%.
        profile: what the profile is called.
        pool: the work pool whose runners run the stages; without one they run here.

    Returns:
        What was found, in a few lines.

    Raises:
        InputError: a fault in the budget or the space, the pool cannot run the stages, or nothing meets the budget;
            the nearest is named.
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
    if pool:
        Fleet(root, pool, remote_of(root))  # which refuses what it cannot run before any of it has run
    run_on = partial(run_stages, pool=pool)
    with parent_run(f"search · {task_name()}", "search", {"budget": str(budget)}) as parent:
        run_on(root, lineage(load_graph(root), "export@teacher"), parent.environment)
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
            copies = [workspace.make(root, name, tree, 1 + each) for each in range(params.at_once if pool else 1)]
            runner = Runner(copies, tree, name, judge, parent, run_on)
            print(f"search {name}: {budget}; {trials.proposed} proposals of before", flush=True)
            first_rung(trials, runner, Foresight(task, root / TEACHER, evaluate.tokens, timer).costs, budget)
            results = later_rungs(trials, runner)
            workspace.remove_all_but_one(root, name)
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
            about = f"{proposal.recipe}, {shown(result)} on validation; asked: {budget}"
            runner.prepare(proposal, 1.0, copies[0])
            stages = runner.stages(f"report@{proposal.recipe}", copies[0])
            run_on(copies[0], stages, runner.environment(proposal, parent))
            write_profile(file, proposal.values, about)
            registered = _register(copies[0], proposal.recipe, parent.run_id)
    page = f"{registered}\n{about}"
    create_markdown_artifact(f"{page}\n\n{said}", key="search-result", description="The chain that was found")
    return page


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
        f"no chain of {len(results)} with all passes meets {budget}; the nearest is {described(proposals[nearest])}: "
        f"{shown(results[nearest])}: ask for less, or raise search.trials (what is done is kept)"
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
        points.append(Point(proposal.number, described(proposal), last is not None, **asdict(found)))
    return points


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
