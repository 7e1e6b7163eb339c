"""The flow `stage`: a runner runs one stage of a flow that runs elsewhere, on the code and numbers of that flow.

It happens in a copy of the runner's clone, below `.fleet`, so that nothing of the clone changes. What the stage needs
comes from the DVC remote, and what it makes goes there.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from prefect import flow
from prefect.states import Completed, Failed, State
from ruamel.yaml import YAML

from flows.dag import code, copies
from flows.dag.fetched import fetch
from flows.dag.gpu import gpu_slot
from flows.dag.graph import Stage, lineage, load_graph, locked, stale
from flows.dag.process import StageFailed, bring_up_to_date
from flows.dag.ran import Ran, place
from flows.dag.remote import remote_of
from flows.dag.unfinished import Unfinished
from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.params import PARAMS, read_yaml
from tasks.stage.secrets import hidden
from tasks.stage.workspace import cache_dir
from tasks.tracking.provenance import LOCK, changed_code, commit_of
from tasks.tracking.store import FLEET

MAY_PASS = "MayPass"  # the name of the state of a run that failed, where another try may end well


@flow(name="stage", flow_run_name="{name}", log_prints=True, persist_result=False)
def stage(name: str, commit: str, params: str, inputs: dict[str, Any], environment: dict[str, str]) -> State:
    """Run one stage for a flow elsewhere, unless the remote has its result; the result is then in the remote.

    Args:
        commit: of the code, which has to be this clone's.
        params: the text of params.yaml.
        inputs: what dvc.lock says of the stages that it reads from.
        environment: variables for the stage's process.

    Returns:
        Completed, or Failed with the reason; `MayPass` where another try may end well.
    """
    root = Path.cwd()
    where = place(root)
    print(f"[{name}] runs on {where}", flush=True)
    try:
        _refuse_other_code(root, commit)
        with _copy(root, commit, params, inputs) as folder:
            # DVC names stages as seen from where it is.
            os.chdir(folder)
            try:
                ran = _make(folder, name, inputs, environment, root / cache_dir())
            finally:
                os.chdir(root)
    except InputError as refused:
        return Failed(message=f"{where}: {refused}")
    except StageFailed as failed:
        reason = f"{where}: {failed.reason} (exit {failed.code})"
        return Failed(name=MAY_PASS, message=reason) if failed.transient else Failed(message=reason)
    except ConnectionError as away:
        return Failed(name=MAY_PASS, message=f"{where}: {away}")
    return Completed(message=f"{where} ({ran.seconds:.1f} s)") if ran else Completed(name="UpToDate", message=where)


def _make(folder: Path, name: str, inputs: dict[str, Any], environment: dict[str, str], cache: Path) -> Ran | None:
    """Bring the result of a stage into the remote; None where it was there."""
    remote = remote_of(folder)
    if not remote:
        raise InputError("DVC has no default remote here: dvc remote add --default NAME URL")
    (wanted,) = [each for each in lineage(load_graph(folder), name) if each.name == name]
    stale(folder, [wanted])  # which brings stage `code` up to date
    _pull(folder, wanted, inputs)
    ran, unfinished = None, Unfinished(folder, name, cache)
    if fetch(folder, name):
        print(f"[{name}] its result is known already", flush=True)
    else:
        unfinished.bring()
        slot = partial(gpu_slot, name) if wanted.gpu else nullcontext
        with unfinished.sent() as listed:
            variables = environment | {"STILLHOUSE_CACHE": str(cache)} | listed
            ran = bring_up_to_date(folder, wanted, variables, None, slot)
    # Also what this clone has made before, while the remote was away.
    remote.send()
    unfinished.clear()
    return ran


def _pull(folder: Path, wanted: Stage, inputs: dict[str, Any]) -> None:
    """Check out what a stage reads of other stages."""
    needs = [need for need in wanted.needs if need != code.STAGE]
    if unknown := [need for need in needs if need not in inputs]:
        raise InputError(f"stage '{wanted.name}' reads what {', '.join(unknown)} writes, and nobody says what that is")
    if not needs:
        return
    # It is our copy: nothing in it is anybody's work.
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "pull", "--force", *needs]
    done = subprocess.run(command, cwd=folder, env=program.environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        faults = [line for line in hidden(done.stdout + done.stderr).splitlines() if line.startswith("ERROR: ")]
        raise ConnectionError(f"what it reads cannot be pulled: {(faults or ['no message'])[-1]}")


def _refuse_other_code(root: Path, commit: str) -> None:
    here = commit_of(root)
    if here != commit:
        raise InputError(
            f"this runner's clone is at {here[:8] or 'no commit'}, the flow at {commit[:8]}: "
            f"git checkout {commit[:8]} there"
        )
    if changed := changed_code(root):
        raise InputError(f"this runner's clone differs from its commit ({', '.join(changed)}): git restore there")


@contextmanager
def _copy(root: Path, commit: str, params: str, inputs: dict[str, Any]) -> Iterator[Path]:
    """A copy of the clone for one run at a time, at this commit, with these parameters and inputs."""
    for number in range(1000):
        place = root / FLEET / str(number)
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / ".lock", fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        with lock:
            # What a killed run has left works with other numbers.
            copies.wait_until_quiet(place)
            folder, of = place / "project", place / "commit"
            if folder.exists() and (not of.exists() or of.read_text(encoding="utf-8") != commit):
                shutil.rmtree(folder)
            of.write_text(commit, encoding="utf-8")
            folder.mkdir(exist_ok=True)
            (folder / PARAMS).write_text(params, encoding="utf-8")
            copies.fill(root, folder, read_yaml(folder / PARAMS), kept=[PARAMS, LOCK])
            known = locked(folder, [code.STAGE]) if (folder / LOCK).exists() else {}
            with (folder / LOCK).open("w", encoding="utf-8") as file:
                YAML(typ="safe").dump({"schema": "2.0", "stages": known | inputs}, file)
            yield folder
        return
    raise AssertionError("a thousand runs at a time")
