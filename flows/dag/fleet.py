"""The runners of a Prefect work pool, for one flow: its stages are flow runs of the deployment `stage` in that pool.

Which worker takes a run, and when, is Prefect's affair. A run carries the commit, params.yaml and what dvc.lock says
of its inputs; all else travels by the DVC remote. Here each run is followed to its end, and its result is checked out,
so that dvc.lock is as if the stage had run here.
"""

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterTags,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL

from flows.dag import code
from flows.dag.fetched import fetch, key_of
from flows.dag.followed import Followed
from flows.dag.gone import mark_the_gone
from flows.dag.graph import Stage, locked, stale
from flows.dag.prefect import GPU_STAGES, STAGES
from flows.dag.process import StageFailed, bring_up_to_date, log_of, turn
from flows.dag.ran import Ran, of_runner
from flows.dag.remote import Remote
from flows.dag.runner import MAY_PASS
from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.params import PARAMS
from tasks.stage.secrets import hidden
from tasks.tracking.provenance import changed_code, commit_of

FLOW = "stage"  # of which the pool has a deployment
ENDING = re.compile(r"(.*?)(?: \(exit (-?\d+)\))?", re.DOTALL)  # of a run that failed: why, and the stage's exit code


class Fleet:
    """The runners of one work pool, for one flow.

    Args:
        pool: the work pool's name.
        remote: what the runners share results by.

    Raises:
        InputError: there is no server, no remote, no such pool, no deployment in it, or code that is not committed.
        ConnectionError: Prefect cannot be reached.
    """

    def __init__(self, root: Path, pool: str, remote: Remote | None) -> None:
        if not PREFECT_API_URL.value():
            raise InputError(f"pool = {pool!r}: workers need a Prefect server: make up, and export what it prints")
        if remote is None:
            raise InputError(
                f"pool = {pool!r}: runners share results by DVC's default remote, and there is none: "
                "dvc remote add --default NAME URL"
            )
        if not (commit := commit_of(root)):
            raise InputError(f"pool = {pool!r}: runners run a commit, and {root} is in no git repository with one")
        if changed := changed_code(root):
            raise InputError(f"pool = {pool!r}: runners run a commit, and {', '.join(changed)} differs: git commit")
        self.root, self.pool, self.commit, self.remote = root, pool, commit, remote
        self._sending = threading.Lock()
        self._unsent = True  # the local cache may hold what the remote lacks
        with get_client(sync_client=True) as client:
            try:
                self._deployment = _deployment(client, pool)
                mark_the_gone(client)
            except httpx.HTTPError as away:
                raise ConnectionError(f"Prefect: {away}") from away
        self._followed = Followed()

    def send(self, stages: Iterable[Stage]) -> None:
        """Have the remote hold what these stages, which are up to date here, have made.

        Raises:
            ConnectionError: it cannot.
        """
        names = [stage.name for stage in stages if stage.name != code.STAGE]
        if not names:
            return
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "push", *names]
        done = subprocess.run(
            command, cwd=self.root, env=program.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = hidden(done.stdout + done.stderr).strip() or "no message"
            raise ConnectionError(f"remote: what runners need cannot be pushed: {said.splitlines()[-1]}")

    def bring_up_to_date(self, stage: Stage, environment: dict[str, str]) -> Ran | None:
        """Have a runner run a stage, whose needs are met, unless the remote has its result; and check that out.

        Args:
            environment: variables for the stage's process.

        Returns:
            How that was done; None where nothing was to do.

        Raises:
            StageFailed: it did not end well.
        """
        with turn(self.root, stage.name):
            if not stale(self.root, [stage]):
                return None
            there = None
            if self._fetch(stage):
                self._unsent = True
            else:
                self._send(stage)
                there = self._run(stage, environment)
        # Beside the flow, where its result is by now: DVC checks it out and writes dvc.lock.
        here = bring_up_to_date(self.root, stage, environment)
        return there or here

    def stop(self) -> None:
        """Cancel what runners run for this flow; their stages write a last checkpoint."""
        self._followed.cancel()

    def _send(self, stage: Stage) -> None:
        """What was found in the local cache may be an input of a stage elsewhere."""
        with self._sending:
            if not self._unsent:
                return
            try:
                self.remote.send()
            except ConnectionError as away:
                raise self._failed(stage, str(away), transient=True) from None
            self._unsent = False

    def _fetch(self, stage: Stage) -> bool:
        try:
            return fetch(self.root, stage.name)
        except ConnectionError as away:
            raise self._failed(stage, str(away), transient=True) from None

    def _run(self, stage: Stage, environment: dict[str, str]) -> Ran | None:
        """Have a runner run a stage; None where it found the result made by then."""
        order = {
            "name": stage.name,
            "commit": self.commit,
            "params": (self.root / PARAMS).read_text(encoding="utf-8") if (self.root / PARAMS).exists() else "{}\n",
            "inputs": locked(self.root, [need for need in stage.needs if need != code.STAGE]),
        }
        try:
            run = self._ask_for(stage, order, environment)
        except httpx.HTTPError as away:
            raise self._failed(stage, f"Prefect: {type(away).__name__}: {away}", transient=True) from None
        state = self._followed.to_its_end(run.id, stage.name, self.root / _log(stage))
        if state.type == StateType.COMPLETED:
            if self._fetch(stage):
                return of_runner(state.message)
            why = "is it the same remote, and has the stage a dependency, without which DVC keeps no result?"
            raise self._failed(stage, f"it ran, but the remote has no result of it: {why}")
        # A crash is the death of a runner: another may do better.
        may_pass = state.name == MAY_PASS or state.type == StateType.CRASHED
        reason, exit_code = ENDING.fullmatch(state.message or str(state.name)).groups()  # type: ignore[union-attr]
        raise self._failed(stage, reason, may_pass, int(exit_code or program.EXIT_FAULT))

    def _ask_for(self, stage: Stage, order: dict[str, Any], environment: dict[str, str]) -> FlowRun:
        """The flow run that runs a stage: one that was asked for elsewhere and makes the same, or a new one."""
        # Parameters that the stage does not read may differ: two trials of a search share what they have in common.
        same = {"name": stage.name, "commit": self.commit, "key": key_of(self.root, stage.name)}
        digest = hashlib.sha256(json.dumps(same if same["key"] else order, sort_keys=True).encode()).hexdigest()[:16]
        with get_client(sync_client=True) as client:
            before = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[digest])))
        for run in before:
            if run.state and not run.state.is_final() and run.state.type != StateType.CANCELLING:
                print(f"[{stage.name}] was asked for elsewhere: waiting for that", flush=True)
                return run
        queue = GPU_STAGES if stage.gpu else STAGES
        print(f"[{stage.name}] asked for in pool '{self.pool}', queue '{queue}'", flush=True)
        asked = run_deployment(
            self._deployment,
            parameters=order | {"environment": environment},
            timeout=0,
            flow_run_name=stage.name,
            tags=[digest],
            # Two that ask at the same moment get the same run.
            idempotency_key=f"{digest}-{len(before)}",
            work_queue_name=queue,
        )
        assert isinstance(asked, FlowRun)  # not from a coroutine
        return asked

    def _failed(
        self, stage: Stage, reason: str, transient: bool = False, exit_code: int = program.EXIT_FAULT
    ) -> StageFailed:
        return StageFailed(stage.name, exit_code, " ".join(reason.split()), _log(stage), transient)


def _log(stage: Stage) -> Path:
    """Where the lines of its runner are kept; DVC's own here have another."""
    return log_of(f"{stage.name}.runner")


def _deployment(client: SyncPrefectClient, pool: str) -> Any:
    """The id of the pool's deployment of the flow `stage`."""
    pools = [each.name for each in client.read_work_pools()]
    if pool not in pools:
        known = ", ".join(pools) or "no pool"
        raise InputError(f"pool = {pool!r} is not on this Prefect server, which has {known}: prefect work-pool create")
    found = client.read_deployments(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )
    if not found:
        raise InputError(
            f"pool = {pool!r} has no deployment of the flow '{FLOW}': give one in prefect.yaml this pool, "
            "and prefect --no-prompt deploy --all"
        )
    return found[0].id
