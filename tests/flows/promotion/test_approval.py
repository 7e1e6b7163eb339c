"""A flow that waits for a person, on a real Prefect server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.promotion.decision import try_to_promote
from flows.registry.versions import register
from tasks.tracking.store import open_store
from tests.flows.conftest import fill_project, train_again

NAME = "stillhouse-docstrings"
ROOT = Path(__file__).parents[3]
# Promotes, asking, and answers from another thread as a person would from another machine.
ASKED = """
import sys, threading, time
from flows.dag.prefect import prefect_flow
from pathlib import Path
with prefect_flow(Path.cwd()):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    import flows.pipeline as pipeline
    pipeline.ANSWER_EVERY = 1
    def answer():
        client = get_client(sync_client=True)
        while True:
            paused = [run for run in client.read_flow_runs() if run.state.is_paused()]
            if paused:
                break
            time.sleep(0.3)
        said = {"approve": sys.argv[1] == "yes", "by": "ada", "reason": "because"}
        client.resume_flow_run(paused[0].id, run_input=said)
    if sys.argv[1] != "nothing":
        threading.Thread(target=answer, daemon=True).start()
    try:
        print(pipeline.promote("tinybert", ask=True))
    except pipeline.NotPromoted as refused:
        print("refused:", refused)
"""


@pytest.mark.slow
def test_a_flow_asks_and_promotes_on_yes_alone(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill_project(made, tmp_path / "project")
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    register("hinton")
    try_to_promote("hinton")
    train_again(root, "tinybert", 0.97)
    register("tinybert")
    client, _ = open_store()
    text = (root / "params.yaml").read_text()
    for answer, shown, gate, champion in (
        ("nothing", "refused: nobody says no: no answer within 0.001 hours", "failed", "1"),
        ("no", "refused: ada says no: because", "failed", "1"),
        ("yes", "python -m flows.serve models:/stillhouse-docstrings@champion", "passed", "2"),
    ):
        hours = "0.001" if answer == "nothing" else "1.0"
        (root / "params.yaml").write_text(text.replace('"hours": 1.0', f'"hours": {hours}'))
        done = subprocess.run(
            [sys.executable, "-c", ASKED, answer],
            env=os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path / "prefect")},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0 and shown in done.stdout, done.stdout + done.stderr
        assert client.get_model_version(NAME, "2").tags["gate"] == gate
        assert str(client.get_model_version_by_alias(NAME, "champion").version) == champion
