"""A whole search on the real pipeline at the smallest size: killed, and gone on with."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from tests.clones import clone, environment, run

DEPTHS = {"hinton.distill.student.layers": [1, 2, 3]}
SPACE = DEPTHS | {"hinton.distill.alpha": {"low": 0.1, "high": 0.9, "step": 0.1}}
SEARCH = [sys.executable, "-m", "flows.search", "--bytes", "66MB", "--kept", "0.01"]


def project(folder: Path, space: dict) -> Path:
    """A clone at the smallest size, whose searches train two chains of hinton, the better of them with all passes."""
    clone(folder, epochs=1, narrow=True)
    yaml = YAML()
    params = folder / "params.yaml"
    tree = yaml.load(params)
    tree["search"] |= {"trials": 2, "rungs": 2, "reduction": 2, "startup": 2, "space": {"hinton": space}}
    tree["data"]["test_share"] = 0.3
    yaml.dump(tree, params)
    return folder


def outcomes(folder: Path) -> list[dict]:
    """What the database says of all proposals, in their order; of those whose round has not ended too."""
    (file,) = folder.glob(".search/*/study.db")
    with sqlite3.connect(file) as base:
        rows = base.execute(
            "select a.value_json from trial_user_attributes a join trials t using (trial_id) "
            "where t.state in ('COMPLETE', 'RUNNING') and a.key in ('proposal', 'outcome') "
            "order by t.number, a.key desc"
        ).fetchall()
    return [json.loads(text) for (text,) in rows]


def kill_in_a_trial(folder: Path) -> None:
    """Start the search, and kill it while its second chain trains; the stage that runs goes on, as after any kill."""
    log = folder / "killed.log"
    with log.open("w") as stream:
        flow = subprocess.Popen(SEARCH, cwd=folder, env=environment(), stdout=stream, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 500
        while log.read_text().count("[hinton] >") < 2:
            assert flow.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.05)
        servers = [each for each in psutil.Process(flow.pid).children() if "uvicorn" in " ".join(each.cmdline())]
        flow.send_signal(signal.SIGKILL)
        flow.wait()
        for server in servers:  # Prefect's own, which would outlive the test
            server.terminate()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_search_goes_on_and_its_winner_is_registered(tmp_path: Path) -> None:
    one = project(tmp_path / "one", SPACE)
    kill_in_a_trial(one)
    (finished, *_) = [each for each in outcomes(one) if each.get("value") is not None]
    params = (one / "params.yaml").read_bytes()
    said = run(one, *SEARCH)
    assert next(each for each in outcomes(one) if each.get("value") is not None) == finished
    trained = [each for each in outcomes(one) if each.get("value") is not None and each["same_as"] is None]
    assert len(trained) == 2
    assert "refused by size: " in said or all(each["over"]["bytes"] <= 0 for each in trained)

    assert (one / "params.yaml").read_bytes() == params and not (one / "models" / "hinton").exists()
    assert (one / "reports/search/search.png").is_file() and (one / "reports/search/search.md").is_file()
    assert "candidate: stillhouse-docstrings version 1" in said and "accuracy (test)" in said
    # Only the winner was evaluated, so only it has seen the test split.
    (evaluated,) = one.glob(".search/*/project/reports/evaluated/hinton/metrics.json")
    assert json.loads(evaluated.read_text())["split"] == "test"
    run(one, sys.executable, "-m", "tasks.profile", "found")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_no_chain_meets_is_said_with_the_nearest_and_nothing_is_trained(tmp_path: Path) -> None:
    folder = project(tmp_path, DEPTHS)
    words = [sys.executable, "-m", "flows.search", "--bytes", "100KB"]
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout[-2000:] + done.stderr[-2000:]
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "meets 0.1 MB, so nothing was trained; the nearest is hinton (distill.student.layers 1" in line
    assert "[hinton]" not in done.stdout and not list(folder.glob("profiles/found.yaml"))
