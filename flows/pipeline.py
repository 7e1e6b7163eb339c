"""The flows: `compress` one recipe, `compare` them all, `promote` one, `watch` the data of one.

The DAG is DVC's: a flow submits the stages of a lineage, each waiting for just those it needs.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.utilities.urls import url_for

from flows.dag import code
from flows.dag.fleet import Fleet
from flows.dag.graph import Stage, known_recipe, lineage, load_graph, recipes, stale
from flows.dag.process import StagesFailed, stop_all, stopped
from flows.dag.ran import Ran, stages_table
from flows.dag.recipe_run import UI, Parent, parent_run
from flows.dag.remote import remote_of
from flows.dag.sources import changed, changed_on_disk, nothing_new
from flows.dag.stage import run_stage
from flows.promotion.decision import Decision, NotPromoted, Verdict, roll_back, serve_command, try_to_promote
from flows.promotion.forms import choose
from flows.promotion.gate import PromoteParams
from flows.registry.names import registered_model, task_name
from flows.registry.reports import REPORTS, forms, numbers, read_report, table
from flows.registry.versions import reach_store, refuse_other_task, register
from stillhouse.errors import InputError
from tasks.evaluation.forms import FINISHED
from tasks.stage.outside import refuse_outputs
from tasks.stage.params import PARAMS, load, read_yaml
from tasks.tracking.provenance import git_tags
from tasks.tracking.store import EXPERIMENT, shown_uri, tracking_uri

ANSWER_EVERY = 5  # seconds between two looks for a person's answer


def run_name() -> str:
    """Recipe (or the flow's own name), task and commit."""
    what = flow_run.parameters.get("recipe") or flow_run.flow_name
    commit = git_tags().get("git_commit")
    return f"{what} · {task_name()} · {commit[:8] if commit else 'uncommitted'}"


@flow(name="compress", flow_run_name=run_name, persist_result=False)
def compress(recipe: str, again: Sequence[str] = (), pool: str = "") -> str:
    """Bring everything of one recipe up to date, and register what came out as the candidate of its task.

    Args:
        again: stages that run though they are up to date.
        pool: the work pool whose runners run the stages; without one they run here.

    Returns:
        What happened in the registry, in a line; in another, why that form of the model, where it has two.

    Raises:
        InputError: there is no such recipe, it has no such stages, or the pool cannot run them.
        StagesFailed: at least one stage did not end well.
    """
    root = Path.cwd()
    graph = load_graph(root)
    stages = lineage(graph, f"report@{known_recipe(recipe, recipes(graph))}")
    if unknown := sorted(set(again) - {stage.name for stage in stages}):
        raise InputError(
            f"again = {unknown}: choose among the recipe's stages, {', '.join(each.name for each in stages)}"
        )
    with parent_run(f"{recipe} · {task_name()}", "compress", {"recipe": recipe}) as parent:
        _refuse_other_task(parent)
        ran = run_stages(root, stages, parent.environment | {"STILLHOUSE_RECIPE": recipe}, again, pool)
        _log_outcome(parent, recipe)
        choice = choose(recipe)
        version = register(recipe, parent.run_id, choice.finished)
        outcome = f"candidate: {version.name} version {version.version}" + ("" if version.new else " (known already)")
        outcome += f"\n{choice.why}" if choice.why else ""
        parent.describe(f"{table(recipe)}\n\n{outcome}")
    shown = f"{table(recipe)}\n\n{outcome}\n\n{_links(parent.run_id, REPORTS / recipe)}\n\n{_stages(stages, ran)}"
    create_markdown_artifact(shown, key=f"{recipe}-result", description=f"{recipe} and its teacher")
    _show_picture(REPORTS / recipe / "report.png", f"{recipe}-picture")
    return outcome


@flow(name="compare", flow_run_name=run_name, persist_result=False)
def compare(pool: str = "") -> None:
    """Bring all recipes up to date, what they share once, and compare them.

    Args:
        pool: the work pool whose runners run the stages; without one they run here.

    Raises:
        InputError: the pool cannot run them.
        StagesFailed: at least one stage did not end well.
    """
    root = Path.cwd()
    graph = load_graph(root)
    folder = REPORTS / "compare"
    with parent_run(f"compare · {task_name()}", "compare", {}) as parent:
        stages = lineage(graph, "compare")
        ran = run_stages(root, stages, parent.environment, pool=pool)
        parent.run.log_artifact(folder)
        page = (folder / "report.md").read_text(encoding="utf-8")
        parent.describe(page)
    shown = f"{page}\n\n{_links(parent.run_id, folder)}\n\n{_stages(stages, ran)}"
    create_markdown_artifact(shown, key="compare-result")
    _show_picture(folder / "report.png", "compare-picture")


@flow(name="watch", flow_run_name=run_name, persist_result=False)
def watch(recipe: str) -> str:
    """Run a recipe again if what lies behind its data has changed since its last watched run.

    Returns:
        What happened, in a line.

    Raises:
        InputError: there is no such recipe, or a source cannot be looked at.
        ConnectionError: the hub cannot be reached.
        StagesFailed: at least one stage did not end well; the next look finds the same change.
    """
    root = Path.cwd()
    new, remember = changed(root, recipe)
    if not new:
        return nothing_new(recipe)
    _, remember_on_disk = changed_on_disk(root, recipe, lineage(load_graph(root), f"report@{recipe}"))
    outcome = compress(recipe, again=new)
    remember()
    remember_on_disk()
    return outcome


@flow(name="promote", flow_run_name=run_name, persist_result=False)
def promote(recipe: str = "", rollback: bool = False, ask: bool = False) -> str:
    """Judge a recipe's newest version at the gate, or give its task the previous champion back.

    Args:
        ask: a person has to say yes, even where promote.approval wants none.

    Raises:
        InputError: there is nothing to promote, or nothing to roll back to.
        NotPromoted: the version did not pass the gate, or a person said no, or none answered in time.
    """
    if rollback:
        return roll_back()
    if not recipe:
        raise InputError("recipe is missing: give its slug, or rollback")
    decision = try_to_promote(recipe, ask=ask)
    _show_decision(decision)
    if decision.waiting:
        # The gate judges this version again: there may be another champion by the time that a person answers.
        decision = try_to_promote(recipe, decision.version, _ask_a_person(decision))
        _show_decision(decision)
    if not decision.promoted:
        raise NotPromoted(decision)
    return serve_command(decision.model)


class Approval(RunInput):
    """What Prefect asks of a person, in its UI or by `resume_flow_run`."""

    approve: bool
    by: str
    reason: str


def _ask_a_person(decision: Decision) -> Verdict:
    hours = load("promote", PromoteParams).approval.hours
    lines = "\n".join(f"- {line}" for line in decision.checks)
    question = f"Promote **{decision.model} version {decision.version}** ({decision.shown})?\n\n{lines}"
    form = Approval.with_initial_data(description=question)
    try:
        answer = pause_flow_run(wait_for_input=form, timeout=round(hours * 3600), poll_interval=ANSWER_EVERY)
    except FlowPauseTimeout:
        return Verdict(False, "nobody", f"no answer within {hours:g} hours (promote.approval.hours)")
    return Verdict(answer.approve, answer.by, answer.reason)


def _show_decision(decision: Decision) -> None:
    lines = [f"- passed: {line}" for line in decision.checks] + [f"- failed: {line}" for line in decision.failures]
    lines += ["- waiting: a person has to say yes"] if decision.waiting else []
    create_markdown_artifact("\n".join(lines), key=f"{decision.recipe}-promotion")


def run_stages(
    root: Path, stages: Sequence[Stage], environment: dict[str, str], again: Sequence[str] = (), pool: str = ""
) -> dict[str, Ran]:
    """Run stages, each as soon as those it needs have ended well; with a DVC remote, pull what others have made.

    Args:
        stages: each after what it needs.
        environment: variables for the stages' processes.
        again: those that run though they are up to date; a stage after one of them runs if its inputs changed.
        pool: the work pool whose runners run them, but for `code`, which each place runs.

    Returns:
        How each was brought up to date that was not before.

    Raises:
        InputError: a source in params.yaml is what a stage writes, or the pool cannot run these stages.
        StagesFailed: at least one did not end well; all that did not need it have run.
    """
    # Stage `code` looks too, but not again where a link has been put elsewhere since.
    if (root / PARAMS).is_file():
        refuse_outputs(read_yaml(root / PARAMS), root)
    if again and pool:
        raise InputError(
            f"again = {list(again)}: run that without pool = {pool!r}: it reads anew what lies on this machine"
        )
    outdated = {stage.name for stage in stages} if again else stale(root, stages)
    remote = remote_of(root)
    fleet = Fleet(root, pool, remote) if pool and outdated else None
    futures: dict[str, PrefectFuture] = {}
    try:
        if fleet:
            needed = {need for stage in stages if stage.name in outdated for need in stage.needs}
            fleet.send(stage for stage in stages if stage.name in needed - outdated)
        for stage in stages:
            needs = [futures[need] for need in stage.needs if need in futures]
            fresh = stage.name not in outdated
            futures[stage.name] = run_stage.submit(
                stage,
                root,
                environment,
                remote,
                fresh=fresh,
                force=stage.name in again,
                fleet=None if stage.name == code.STAGE else fleet,
                wait_for=needs,
                return_state=False,
            )
        for future in futures.values():
            assert isinstance(future, PrefectConcurrentFuture)  # the task runner's are threads
            # With looks: of several such calls, each in a thread of its own, the main one alone hears of Ctrl-C.
            while not future.wrapped_future.done():
                future.wait(1.0)
                if stopped():
                    raise StagesFailed("stopped")
            future.wait()
        if remote:
            # After a failure too: what other stages made is of use to others.
            remote.finish()
    except BaseException:
        # Ctrl-C, or a cancelled run: threads would otherwise wait for hours of training.
        stop_all()
        if fleet:
            fleet.stop()
        if remote:
            remote.stop()
        raise
    states = {name: future.state for name, future in futures.items()}
    lines = [
        str(state.result(raise_on_failure=False))
        for state in states.values()
        if state.is_failed() or state.is_crashed()
    ]
    if lines:
        # Prefect leaves a task pending whose needs failed.
        skipped = [name for name, state in states.items() if state.is_pending()]
        if skipped:
            lines.append(f"not run, as they need what failed: {', '.join(skipped)}")
        raise StagesFailed("\n".join(lines))
    results = {name: state.result() for name, state in states.items()}
    return {name: done for name, done in results.items() if isinstance(done, Ran)}


def _refuse_other_task(parent: Parent) -> None:
    """Ask before the training what registering would ask at its end; where MLflow is away, that has to do."""
    if parent.run_id:
        refuse_other_task(reach_store()[0], registered_model())


def _log_outcome(parent: Parent, recipe: str) -> None:
    for finished in forms(recipe):
        latency = {"latency": read_report(recipe, "latency.json", finished)["batches"]}
        figures = numbers(read_report(recipe, "metrics.json", finished)) | numbers(latency)
        parent.run.log_metrics({f"{FINISHED}.{name}" if finished else name: value for name, value in figures.items()})
    for name in ("report.md", "report.png", "report.html"):
        parent.run.log_artifact(REPORTS / recipe / name)


def _show_picture(file: Path, key: str) -> None:
    # There may be no server to link to, so the artifact holds the picture itself.
    picture = base64.b64encode(file.read_bytes()).decode()
    create_image_artifact(f"data:image/png;base64,{picture}", key=key, description=str(file))


def _links(run_id: str, folder: Path) -> str:
    """Where else there is something to look at: Prefect's page of the flow run, MLflow's, the report's own."""
    page = url_for("flow-run", obj_id=flow_run.id)
    # Without a server of one's own, the one of this flow ends with it, and so does its page.
    prefect = f"[Prefect run {flow_run.name}]({page})\n\n" if page and PREFECT_API_URL.value() else ""
    return f"{prefect}{_mlflow_link(run_id)}\n\n{_page(folder)}"


def _stages(stages: Sequence[Stage], ran: Mapping[str, Ran]) -> str:
    return f"## Stages\n\n{stages_table(stages, ran)}"


def _page(folder: Path) -> str:
    """Where the page for a browser is: an artifact of Prefect's shows no HTML."""
    return f"To look at: `{folder / 'report.html'}`, which is an artifact of the MLflow run too"


def _mlflow_link(run_id: str) -> str:
    if not run_id:
        return "MLflow was away: the run is sent later"
    if not tracking_uri().startswith("http"):
        return f"MLflow run `{run_id}` in experiment `{EXPERIMENT}`, shown by `{UI}`"
    return f"[MLflow run {run_id}]({shown_uri()}/#/runs/{run_id})"
