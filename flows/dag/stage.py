"""The one Prefect task: run one DVC stage. DVC owns caching; Prefect owns order and retries."""

import logging
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State

from flows.dag.fleet import Fleet
from flows.dag.gpu import gpu_slot
from flows.dag.graph import Stage
from flows.dag.process import StageFailed, bring_up_to_date
from flows.dag.remote import Remote


class _OneLine(logging.Filter):
    """Drops the traceback of a failed stage: its log says why, and our own frames add nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], StageFailed):
            record.exc_info = None
        return True


for _name in ("prefect.task_runs", "prefect.flow_runs"):
    logging.getLogger(_name).addFilter(_OneLine())


def _may_pass(_task: Any, _task_run: Any, state: State) -> bool:
    """Whether to retry: only what can pass the second time, never a bad parameter."""
    return isinstance(state.data, StageFailed) and state.data.transient


@task(
    task_run_name="{stage.name}",
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=_may_pass,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def run_stage(
    stage: Stage,
    root: Path,
    environment: dict[str, str],
    remote: Remote | None = None,
    fresh: bool = False,
    force: bool = False,
    fleet: Fleet | None = None,
) -> State:
    """Bring one stage up to date.

    Args:
        stage: its needs are met.
        root: the project's folder.
        environment: variables for the stage's process.
        remote: where its outputs may be already, and where they go.
        fresh: known to be up to date: costs nothing.
        force: run it though it is up to date.
        fleet: whose runners run it; None to run it here.

    Raises:
        StageFailed: it did not end well.
    """
    if fresh:
        return Completed(name="UpToDate", message="nothing to do")
    try:
        if fleet:
            done = fleet.bring_up_to_date(stage, environment)
        else:
            slot = partial(gpu_slot, stage.name) if stage.gpu else nullcontext
            done = bring_up_to_date(root, stage, environment, remote, slot, force)
    except StageFailed as failed:
        print(f"[{stage.name}] {failed.reason}{' (may pass later)' if failed.transient else ''}", flush=True)
        raise
    # The message is what Prefect's page shows, the data what the flow reads.
    return Completed(data=done, message=str(done)) if done else Completed(name="UpToDate", message="nothing to do")
