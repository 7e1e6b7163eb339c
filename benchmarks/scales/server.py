"""A real Prefect server with SQLite under flow runs that come at a rate: how late it answers, what it costs.

A flow run here is what a client tells the server of one that does nothing: it is created, is pending, running and
completed, sends its log, and is looked up as a page of the server does. Nothing is executed.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.runners import server
from benchmarks.scales.book import Book, Figures, table

RATES, QUICK_RATES = [1, 10, 100], [60]  # flow runs a minute
SECONDS, QUICK_SECONDS = 90, 4  # of each rate; and of as many as clients can
CLIENTS, QUICK_CLIENTS = [1, 8], [2]  # that send one run after the other, with no pause
FLAT_OUT = 30  # seconds of it
LINES = 20  # of log a run


def tables(book: Book, work: Path, quick: bool) -> Iterator[str]:
    """Measure, and give the lines of the table."""
    seconds = QUICK_SECONDS if quick else SECONDS
    flat = QUICK_SECONDS if quick else FLAT_OUT
    found = {
        f"{rate} a minute": book.of(f"prefect {rate} a minute, {seconds} s", partial(_paced, rate, seconds, work))
        for rate in (QUICK_RATES if quick else RATES)
    }
    found |= {
        f"{clients} without a pause": book.of(
            f"prefect {clients} clients, {flat} s", partial(_flat_out, clients, flat, work)
        )
        for clients in (QUICK_CLIENTS if quick else CLIENTS)
    }
    rows = [
        [
            name,
            f"{each['runs']:,.0f}",
            f"{each['runs'] * 60 / each['seconds']:,.0f}",
            f"{each['p50'] * 1000:,.0f} ms",
            f"{each['p99'] * 1000:,.0f} ms",
            f"{each['failed']:,.0f} of {each['requests']:,.0f}",
            f"{each['cpu']:.0%}",
            f"{each['bytes'] / each['runs'] / 1024:,.0f} KiB",
        ]
        for name, each in found.items()
    ]
    header = [
        "clients",
        "flow runs",
        "a minute",
        "a request, median",
        "99th of 100",
        "failed",
        "of a core",
        "on disk a run",
    ]
    yield from table(header, rows)


class Sent:
    """Requests to the server, with what each took."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=address, timeout=60)
        self.lock = threading.Lock()
        self.took: list[float] = []
        self.failed = 0
        made = self.client.post("/flows/", json={"name": "measured"})
        made.raise_for_status()
        self.flow = made.json()["id"]

    def post(self, path: str, body: object) -> httpx.Response | None:
        """The answer; None, and counted, where the server gives none or an error."""
        began = time.perf_counter()
        try:
            answer = self.client.post(path, json=body)
        except httpx.HTTPError:
            answer = None
        with self.lock:
            self.took.append(time.perf_counter() - began)
            if answer is None or answer.is_error:
                self.failed += 1
                return None
        return answer

    def flow_run(self) -> None:
        """All that is told of one flow run."""
        made = self.post("/flow_runs/", {"flow_id": self.flow, "state": {"type": "PENDING"}})
        if made is None:
            return
        run = made.json()["id"]
        for state in ("RUNNING", "COMPLETED"):
            self.post(f"/flow_runs/{run}/set_state", {"state": {"type": state}})
        now = datetime.now(UTC).isoformat()
        line = {"name": "measured", "level": 20, "message": "x" * 80, "timestamp": now, "flow_run_id": run}
        self.post("/logs/", [line] * LINES)
        self.post("/flow_runs/filter", {"limit": 20, "sort": "START_TIME_DESC"})


def _paced(rate: int, seconds: int, work: Path) -> Figures:
    with _fresh(work) as (home, sent), ThreadPoolExecutor(32) as clients:
        watch = _Watch(home)
        count = max(1, rate * seconds // 60)
        began = time.monotonic()
        waiting = []
        for place in range(count):
            time.sleep(max(0.0, began + place * 60 / rate - time.monotonic()))
            waiting.append(clients.submit(sent.flow_run))
        for each in waiting:
            each.result()
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        return watch.figures(sent, count)


def _flat_out(number: int, seconds: int, work: Path) -> Figures:
    with _fresh(work) as (home, sent), ThreadPoolExecutor(number) as clients:
        watch = _Watch(home)
        end = time.monotonic() + seconds

        def work_on() -> int:
            count = 0
            while time.monotonic() < end:
                sent.flow_run()
                count += 1
            return count

        counts = [each.result() for each in [clients.submit(work_on) for _ in range(number)]]
        return watch.figures(sent, sum(counts))


@contextmanager
def _fresh(work: Path) -> Iterator[tuple[Path, Sent]]:
    """A new server and a connection to it."""
    with tempfile.TemporaryDirectory(dir=work) as name, server(Path(name)) as variables:
        sent = Sent(variables["PREFECT_API_URL"])
        for _ in range(3):
            sent.flow_run()  # what is done at the first request is not measured
        sent.took.clear()
        with closing(sent.client):
            yield Path(name), sent


class _Watch:
    """What the server's processes and its database grow by from now on."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.began = time.perf_counter()
        self.bytes, self.cpu = self._bytes(), self._cpu()

    def figures(self, sent: Sent, runs: int) -> Figures:
        seconds, cpu = time.perf_counter() - self.began, self._cpu() - self.cpu
        time.sleep(3)  # events are written a little later
        p50, p99 = np.percentile(sent.took, [50, 99])
        return {
            "runs": runs, "seconds": seconds, "requests": len(sent.took), "failed": sent.failed, "p50": float(p50),
            "p99": float(p99), "cpu": cpu / seconds, "bytes": self._bytes() - self.bytes,
        }  # fmt: skip

    def _bytes(self) -> int:
        return sum(file.stat().st_size for file in (self.home / "prefect").glob("prefect.db*"))

    def _cpu(self) -> float:
        """CPU seconds of all processes that this one started and that still run: the server's."""
        times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
        return sum(each.user + each.system for each in times)
