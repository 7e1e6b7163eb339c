"""Flow runs on other machines, followed from here: their lines are printed, and their ends reported."""

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from logging import WARNING
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import Log, State
from prefect.states import Cancelled, Cancelling

from tasks.stage.secrets import hidden

EVERY = 2.0  # seconds between two looks
PAGE = 200  # what the server gives at a time
# Two processes log to one run, the worker's and its own, so a line may come to stand before others that were read.
OVERLAP = 20


@dataclass
class _Run:
    name: str
    log: Path
    ended: "Future[State]" = field(default_factory=Future)
    lines: int = 0
    seen: set[UUID] = field(default_factory=set)
    last: State | None = None  # the end, until what was said before it has arrived


class Followed:
    """The runs that one flow waits for. One thread asks for all of them: the server's work does not grow with them."""

    def __init__(self) -> None:
        self._runs: dict[UUID, _Run] = {}
        self._lock = threading.Lock()
        self._cancelled = False
        self._thread: threading.Thread | None = None

    def to_its_end(self, run_id: UUID, name: str, log: Path) -> State:
        """Print what a run says, and keep it, until it has ended; its last state.

        Args:
            name: before each line that is not the stage's own.
        """
        log.parent.mkdir(exist_ok=True)
        log.write_text("", encoding="utf-8")
        run = _Run(name, log)
        with self._lock:
            if not self._cancelled:
                self._runs[run_id] = run
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, daemon=True, name="fleet")
                self._thread.start()
        if self._cancelled:
            self._cancel(run_id, run)
        return run.ended.result()

    def cancel(self) -> None:
        """Cancel all of them, and any that comes later."""
        with self._lock:
            self._cancelled = True
            runs, self._runs = self._runs, {}
        for run_id, run in runs.items():
            self._cancel(run_id, run)

    def _cancel(self, run_id: UUID, run: _Run) -> None:
        try:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(run_id, Cancelling(message="its flow was stopped"))
            print(f"[{run.name}] cancelled where it runs or waits", flush=True)
        except httpx.HTTPError as away:
            print(f"[{run.name}] NOT cancelled ({type(away).__name__}): prefect flow-run cancel {run_id}", flush=True)
        if not run.ended.done():
            run.ended.set_result(Cancelled(message="its flow was stopped"))

    def _look(self) -> None:
        away = False
        while True:
            time.sleep(EVERY)
            with self._lock:
                runs = dict(self._runs)
                if not runs:
                    self._thread = None  # the next run starts another
                    return
            try:
                with get_client(sync_client=True) as client:
                    self._look_at(client, runs)
                away = False
            except httpx.HTTPError as fault:
                if not away:
                    print(f"Prefect is away ({type(fault).__name__}): runners go on, asking again", flush=True)
                away = True
            except BaseException as fault:
                # Who waits for them raises it too.
                with self._lock:
                    self._runs, self._thread = {}, None
                for run in runs.values():
                    if not run.ended.done():
                        run.ended.set_exception(fault)
                raise

    def _look_at(self, client: SyncPrefectClient, runs: dict[UUID, _Run]) -> None:
        ids = list(runs)
        for start in range(0, len(ids), PAGE):
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + PAGE]))
            for found in client.read_flow_runs(flow_run_filter=wanted, limit=PAGE):
                run = runs[found.id]
                if found.state and (found.state.is_running() or found.state.is_final() or run.lines):
                    self._print_new(client, found.id, run)
                if run.last:
                    with self._lock:
                        self._runs.pop(found.id, None)
                    if not run.ended.done():
                        run.ended.set_result(run.last)
                elif found.state and found.state.is_final():
                    run.last = found.state

    def _print_new(self, client: SyncPrefectClient, run_id: UUID, run: _Run) -> None:
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
        while True:
            page = client.read_logs(wanted, limit=PAGE, offset=max(run.lines - OVERLAP, 0))
            new = [line for line in page if line.id not in run.seen]
            run.seen |= {line.id for line in new}
            run.lines += len(new)
            shown = [text for text in (_shown(line, run.name) for line in new) if text]
            with run.log.open("a", encoding="utf-8") as file:
                for text in shown:
                    print(text, flush=True)
                    file.write(f"{text}\n")
            if len(page) < PAGE:
                return


def _shown(line: Log, name: str) -> str:
    """A line of the stage or of its runner as it is printed here; empty for what Prefect says of every run."""
    text = hidden(line.message.rstrip())
    if text.startswith(f"[{name}] "):
        return text
    if line.level < WARNING:
        return ""
    return f"[{name}] {line.name}: {' '.join(text.split())[:500]}"
